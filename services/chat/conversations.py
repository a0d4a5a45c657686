"""Conversations: make, find, list."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from protocols.chat import ConversationSummaryDto, CreateConversationBody, MemberDto
from protocols.cursors import bad_cursor, read_cursor, read_cursor_pair, write_cursor
from protocols.errors import Failure, invalid_field, not_found
from protocols.identity import Viewer
from protocols.ids import is_id, new_id
from protocols.times import iso, now
from services.chat.activity import Activity
from services.chat.roster import Rosters
from services.chat.summaries import Summaries
from services.positions import Positions
from services.profiles import Profiles
from stores.conversations import Conversation, Member
from stores.conversations import Conversations as ConversationStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Created:
    """`made`: now, not before."""

    summary: ConversationSummaryDto
    positions: dict[str, str]
    made: bool


class Conversations:
    def __init__(
        self,
        store: ConversationStore,
        rosters: Rosters,
        summaries: Summaries,
        activity: Activity,
        profiles: Profiles,
        positions: Positions,
    ) -> None:
        self._store, self._rosters, self._summaries = store, rosters, summaries
        self._activity, self._profiles = activity, profiles
        self._positions = positions

    async def create(self, viewer: Viewer, body: CreateConversationBody) -> Created:
        """The conversation and whether it was made now: a direct one of two people is one, however often created.
        Raises Failure (invalid) where somebody named doesn't exist."""
        others = [user_id for user_id in dict.fromkeys(body.member_ids) if user_id != viewer.user_id]
        if not others:
            raise invalid_field("memberIds", "must name somebody else")
        known = await self._profiles.persons(others)
        if any(user_id not in known for user_id in others):
            raise invalid_field("memberIds", "names somebody who does not exist")
        conversation, members = _new(viewer.user_id, others, body)
        pair = ":".join(sorted([viewer.user_id, others[0]])) if body.type == "direct" else None
        there = await self._store.create(conversation, members, pair)
        if there is None:
            try:
                await self._activity.tell([conversation.conversation_id])
            except Failure as failure:
                log.warning("nobody was told of a new conversation: %s", failure)
        summary, positions = await self.get(viewer, there or conversation.conversation_id)
        return Created(summary, positions, made=there is None)

    async def get(self, viewer: Viewer, conversation_id: str) -> tuple[ConversationSummaryDto, dict[str, str]]:
        """The summary, and the position of its topic. Raises Failure (conversation_not_found)."""
        await self._rosters.member(conversation_id, viewer.user_id)
        positions = await self._positions.before_read(f"conv:{conversation_id}")
        row = await self._store.member(conversation_id, viewer.user_id)
        if row is None:
            raise not_found("conversation")
        return (await self._summaries.of([row]))[0], positions

    async def page(
        self, viewer: Viewer, cursor: str | None, limit: int
    ) -> tuple[list[ConversationSummaryDto], str | None, dict[str, str]]:
        """Newest activity first, the next page's cursor, and the position of the viewer's topic."""
        before = None
        if cursor is not None:
            at, conversation_id = read_cursor_pair(cursor, datetime, str)
            if not is_id(conversation_id):
                raise bad_cursor()
            before = (at, conversation_id)
        positions = await self._positions.before_read(f"user:{viewer.user_id}")
        rows = await self._store.page_of(viewer.user_id, before, limit + 1)
        more = len(rows) > limit
        rows = rows[:limit]
        following = write_cursor(rows[-1].last_activity_at, rows[-1].conversation_id) if more else None
        return await self._summaries.of(rows), following, positions

    async def members(
        self, viewer: Viewer, conversation_id: str, cursor: str | None, limit: int
    ) -> tuple[list[MemberDto], str | None]:
        await self._rosters.member(conversation_id, viewer.user_id)
        after = read_cursor(cursor, str) if cursor is not None else ""
        if after and not is_id(after):
            raise bad_cursor()
        rows = await self._store.members(conversation_id, after, limit + 1)
        more = len(rows) > limit
        rows = rows[:limit]
        persons = await self._profiles.persons(row.user_id for row in rows)
        members = [
            MemberDto(userId=row.user_id, role=row.role, joinedAt=iso(row.joined_at), person=persons[row.user_id])
            for row in rows
            if row.user_id in persons  # else an account whose profile is still to be made
        ]
        return members, write_cursor(rows[-1].user_id) if more else None


def _new(owner_id: str, others: Sequence[str], body: CreateConversationBody) -> tuple[Conversation, list[Member]]:
    at, conversation_id = now(), new_id()
    conversation = Conversation(
        conversation_id=conversation_id,
        type=body.type,
        title=body.title,
        avatar_url=None,
        member_count=1 + len(others),
        rev=1,
        created_at=at,
        updated_at=at,
    )
    members = [
        Member(
            conversation_id=conversation_id,
            user_id=user_id,
            role="owner" if user_id == owner_id and body.type == "group" else "member",
            joined_seq=0,
            joined_at=at,
            last_read_seq=0,
            rev=1,
            last_activity_at=at,
            muted=False,
        )
        for user_id in [owner_id, *others]
    ]
    return conversation, members
