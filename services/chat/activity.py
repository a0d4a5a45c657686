"""What a message changes for those who don't look at its conversation: the order of their lists, counts, previews.

Nothing of it is done by the send: what was stored is noted, and once a second each conversation's activity is copied to
its members' rows and each member is told the new summary, however many messages came.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from protocols.chat import ConversationSummaryDto
from protocols.errors import Failure
from protocols.events import Event
from services.chat.summaries import Summaries
from stores.conversations import Conversations
from stores.messages import Message
from stores.topics import Topics

log = logging.getLogger(__name__)

FLUSH_S = 1.0
CONVERSATIONS_A_FLUSH = 200


@dataclass(slots=True)
class Noted:
    """`at`: the newest message's time; `marks`: each sender's newest own seq."""

    at: datetime | None = None
    marks: dict[str, int] = field(default_factory=dict)


class Activity:
    def __init__(self, conversations: Conversations, summaries: Summaries, topics: Topics) -> None:
        self._conversations, self._summaries, self._topics = conversations, summaries, topics
        self._noted: dict[str, Noted] = {}

    def note(self, messages: Sequence[Message]) -> None:
        for message in messages:
            noted = self._noted.setdefault(message.conversation_id, Noted())
            noted.at = message.created_at
            noted.marks[message.sender_id] = message.seq

    def note_read(self, conversation_id: str) -> None:
        """A mark moved: the reader's other devices shall see it."""
        self._noted.setdefault(conversation_id, Noted())

    async def run(self) -> None:
        """Flush once a second, and what is left at the end."""
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        while self._noted:
            noted = {c: self._noted.pop(c) for c in list(self._noted)[:CONVERSATIONS_A_FLUSH]}
            try:
                await asyncio.gather(
                    *(
                        self._conversations.activity(conversation_id, each.at, each.marks)
                        for conversation_id, each in noted.items()
                        if each.at is not None
                    )
                )
                await self.tell(list(noted))
            except Failure as failure:
                log.warning("activity of %d conversations is not copied: %s", len(noted), failure)

    async def tell(self, conversation_ids: Sequence[str]) -> None:
        """Every member's `user:` topic gets the summaries as they are now."""
        seen = await self._summaries.for_members(conversation_ids)
        await self._topics.publish([(f"user:{user_id}", [updated(s) for s in each]) for user_id, each in seen.items()])


def updated(summary: ConversationSummaryDto) -> Event:
    return Event("ConversationUpdated", summary.wire(), key=summary.conversation_id, version=summary.rev)
