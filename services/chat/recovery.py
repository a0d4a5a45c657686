"""After a crash: what a process stored and did not publish any more is published by another.

Every process renews a lease each second. Who finds one that is three seconds old, at its own start, too, sweeps: each
conversation that got a message since 15 s before that lease was last renewed offers its newest message to its topic,
which names what is missing. After Redis was away each process sweeps from when it last reached it.
"""

import asyncio
import logging
from datetime import UTC, datetime

from protocols.errors import Failure
from services.chat.publishing import Publisher
from stores.leases import Leases
from stores.messages import Messages

log = logging.getLogger(__name__)

RENEW_S = 1.0
STALE_MS = 3_000
# What a process stored up to this long before it was last seen may be unpublished: the longest insert, and clocks.
WINDOW_MS = 15_000
CONVERSATIONS_AT_ONCE = 200


class Recovery:
    def __init__(self, leases: Leases, messages: Messages, publisher: Publisher, process_id: str) -> None:
        self._leases, self._messages, self._publisher = leases, messages, publisher
        self._process_id = process_id
        self._reached_ms: int | None = None  # Redis's clock when it was last reached
        self._away = False

    async def run(self) -> None:
        try:
            while True:
                await self.look()
                await asyncio.sleep(RENEW_S)
        finally:
            try:
                await self._publisher.retry()
                await self._leases.leave(self._process_id)
            except Failure:
                pass  # then others sweep after this process, in vain

    async def look(self) -> None:
        """Renew the own lease; sweep after the dead, and after an absence of Redis."""
        try:
            now_ms, stale = await self._leases.renew(self._process_id, STALE_MS)
            if self._away and self._reached_ms is not None:
                await self.sweep(self._reached_ms - WINDOW_MS)
            self._reached_ms, self._away = now_ms, False
            await self._publisher.retry()  # Redis may have missed a message without being away for long
            for lease in stale:
                log.warning("process %s is gone: sweeping after it", lease.process_id)
                await self.sweep(lease.seen_ms - WINDOW_MS)
                await self._leases.remove(lease)
        except Failure as failure:
            if not self._away:
                log.warning("leases can't be renewed or swept: %s", failure)
            self._away = True

    async def sweep(self, since_ms: int) -> None:
        """Publish what was stored since and stands above its topic's last seq. Raises Failure (unavailable)."""
        touched = await self._messages.touched_since(datetime.fromtimestamp(since_ms / 1000, UTC))
        for i in range(0, len(touched), CONVERSATIONS_AT_ONCE):
            newest = await self._messages.newest_of(touched[i : i + CONVERSATIONS_AT_ONCE])
            await self._publisher.offer({conversation_id: [message] for conversation_id, message in newest.items()})
