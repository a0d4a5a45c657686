"""Changes that publish: what a document has in its outbox goes out in order, then is pulled.

The entry stands in the document by the same update as the change. Whoever changed it publishes everything that stands
there; what a crash left behind is found by the sweep. Repeats are refused by the topics (by version or by key).
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from protocols.errors import Failure
from protocols.events import Event
from protocols.ids import new_id
from protocols.times import now
from stores.mongo import Document
from stores.outbox import OutboxStore
from stores.topics import Topics

log = logging.getLogger(__name__)

SWEEP_S = 2.0
SWEPT_AT_ONCE = 200

Render = Callable[[Document, Document], Event]  # (document, entry) -> its event


def entry(to: str, kind: str, actor_id: str) -> Document:
    """A new entry for a document's outbox: `to` is the topic."""
    return {"key": new_id(), "to": to, "type": kind, "actorId": actor_id, "at": now()}


class Outbox:
    """One collection's outbox; `render` makes an entry's event of the document as it is now."""

    def __init__(self, store: OutboxStore, topics: Topics, render: Render) -> None:
        self._store, self._topics, self._render = store, topics, render

    async def send(self, *documents: Document) -> None:
        """Publish all entries of the documents (which hold them whole), then pull them; two round trips. What can't
        go out now stays for the sweep, so nothing is raised."""
        try:
            entries = [(document, each) for document in documents for each in document.get("outbox", ())]
            if entries:
                await self._topics.publish([(told["to"], [self._render(document, told)]) for document, told in entries])
                await self._store.pull(entries)
        except Failure as failure:
            log.warning("an outbox waits: %s", failure)

    async def run(self) -> None:
        """Sweep what stands for longer than a sender would need."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.send(*await self._store.waiting(now() - timedelta(seconds=SWEEP_S), SWEPT_AT_ONCE))
            except Failure as failure:
                log.warning("the outbox can't be swept: %s", failure)
