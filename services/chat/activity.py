"""What a message changes for those who don't look at its conversation: the order of their lists, counts, previews.

Nothing of it is done by the send: what was stored is noted, and once a second the senders' own read marks are moved,
each conversation's activity is copied to its members' rows and each member is told the new summary, however many
messages came.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from protocols.chat import ConversationSummaryDto
from protocols.errors import Failure
from protocols.events import Event
from services.chat.summaries import READ_MARKS_MEMBERS_MAX, Summaries
from services.outbox import Outbox, entry
from stores.conversations import Conversations, Mark
from stores.messages import Message
from stores.mongo import Document
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
    """`marks` is the outbox of the members' rows."""

    def __init__(self, conversations: Conversations, summaries: Summaries, marks: Outbox, topics: Topics) -> None:
        self._conversations, self._summaries = conversations, summaries
        self._marks, self._topics = marks, topics
        self._noted: dict[str, Noted] = {}

    def note(self, messages: Sequence[Message]) -> None:
        for message in messages:
            noted = self._noted.setdefault(message.conversation_id, Noted())
            noted.at = message.created_at
            noted.marks[message.sender_id] = max(message.seq, noted.marks.get(message.sender_id, 0))

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
                await self._copy(noted)
                await self.tell(list(noted))
            except Failure as failure:
                log.warning("activity of %d conversations is not copied yet: %s", len(noted), failure)
                self._put_back(noted)
                return

    def _put_back(self, noted: Mapping[str, Noted]) -> None:
        """For the next flush. What was noted since is newer."""
        for conversation_id, each in noted.items():
            newer = self._noted.setdefault(conversation_id, each)
            newer.at = newer.at or each.at
            newer.marks = each.marks | newer.marks

    async def _copy(self, noted: Mapping[str, Noted]) -> None:
        """The marks, with an event each where others see them; then everyone's order."""
        active = {conversation_id: each for conversation_id, each in noted.items() if each.at is not None}
        found = await self._conversations.get_many(list(active)) if active else {}
        small = {c.conversation_id for c in found.values() if c.member_count <= READ_MARKS_MEMBERS_MAX}
        marks = [
            Mark(c, user_id, seq, mark_moved(c, user_id) if c in small else None)
            for c, each in active.items()
            for user_id, seq in each.marks.items()
        ]
        at = {c: each.at for c, each in active.items() if each.at is not None}
        await self._marks.send(*await self._conversations.copy_activity(at, marks))

    async def tell(self, conversation_ids: Sequence[str]) -> None:
        """Every member's `user:` topic gets the summaries as they are now."""
        seen = await self._summaries.for_members(conversation_ids)
        await self._topics.publish([(f"user:{user_id}", [updated(s) for s in each]) for user_id, each in seen.items()])


def mark_moved(conversation_id: str, user_id: str) -> Document:
    """What a member's row has in its outbox when its mark moves."""
    return entry(f"conv:{conversation_id}", "MessageRead", user_id)


def updated(summary: ConversationSummaryDto) -> Event:
    return Event("ConversationUpdated", orjson.dumps(summary), key=summary["conversationId"], version=summary["rev"])
