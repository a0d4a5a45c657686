"""History, read marks, typing."""

import asyncio
from dataclasses import dataclass

import orjson

from protocols.chat import ChatMessageDto, HistoryQuery, ReadStateDto, TypingIndicatorDto
from protocols.cursors import bad_cursor, read_cursor_pair, write_cursor
from protocols.errors import malformed, not_found
from protocols.events import Event
from protocols.identity import Viewer
from services.chat.activity import Activity, mark_moved
from services.chat.publishing import message_dto
from services.chat.roster import Rosters
from services.chat.summaries import READ_MARKS_MEMBERS_MAX, unread
from services.outbox import Outbox
from services.positions import Positions
from stores.conversations import Conversations
from stores.messages import Messages
from stores.mongo import Document
from stores.topics import Topics


@dataclass(frozen=True, slots=True)
class History:
    """A page, ascending by seq; `following` goes on in the direction that was asked for."""

    messages: list[ChatMessageDto]
    following: str | None
    last_seq: int
    positions: dict[str, str]


class Reading:
    def __init__(
        self,
        conversations: Conversations,
        messages: Messages,
        rosters: Rosters,
        outbox: Outbox,
        activity: Activity,
        topics: Topics,
        positions: Positions,
    ) -> None:
        self._conversations, self._messages, self._rosters = conversations, messages, rosters
        self._outbox, self._activity, self._topics = outbox, activity, topics
        self._positions = positions

    async def history(self, viewer: Viewer, conversation_id: str, query: HistoryQuery) -> History:
        """Raises Failure: conversation_not_found, malformed."""
        await self._rosters.member(conversation_id, viewer.user_id)
        positions = await self._positions.before_read(f"conv:{conversation_id}")
        downwards, seq = direction(query)
        if downwards:
            page = await self._messages.before(conversation_id, seq, query.limit + 1)
            more, page = len(page) > query.limit, page[-query.limit :]
            following = write_cursor("before", page[0].seq) if more else None
        else:
            page = await self._messages.after(conversation_id, seq or 0, query.limit + 1)
            more, page = len(page) > query.limit, page[: query.limit]
            following = write_cursor("after", page[-1].seq) if more else None
        last_seq = await self._messages.newest_seq(conversation_id)
        # What this process knew may have been old: whoever was removed before the newest message gets nothing.
        await self._rosters.member(conversation_id, viewer.user_id, as_of=last_seq)
        return History([message_dto(message) for message in page], following, last_seq, positions)

    async def read(self, viewer: Viewer, conversation_id: str, seq: int) -> ReadStateDto:
        """Move the viewer's mark forward to `seq`, to the newest message at most."""
        member = await self._conversations.member(conversation_id, viewer.user_id)
        if member is None:
            raise not_found("conversation")
        last_seq, own, conversation = await asyncio.gather(
            self._messages.newest_seq(conversation_id),
            self._messages.newest_by(viewer.user_id, [conversation_id]),
            self._conversations.get(conversation_id),
        )
        small = conversation is not None and conversation.member_count <= READ_MARKS_MEMBERS_MAX
        own_seq = own[conversation_id].seq if conversation_id in own else 0
        mark = min(seq, last_seq)
        if mark > member.last_read_seq:
            told = mark_moved(conversation_id, viewer.user_id) if small else None
            moved = await self._conversations.read_up_to(conversation_id, viewer.user_id, mark, told)
            if moved is not None:
                await self._outbox.send(moved)
                self._activity.note_read(conversation_id)
            else:  # another device was faster, or went further
                member = await self._conversations.member(conversation_id, viewer.user_id) or member
        mark = max(mark, member.last_read_seq, own_seq)
        return ReadStateDto(lastReadSeq=mark, unreadCount=unread(last_seq, member, mark), mentionCount=0)

    async def typing(self, viewer: Viewer, conversation_id: str, started: bool) -> None:
        await self._rosters.member(conversation_id, viewer.user_id)
        who = TypingIndicatorDto(conversationId=conversation_id, userId=viewer.user_id)
        kind = "TypingStarted" if started else "TypingStopped"
        await self._topics.publish([(f"conv:{conversation_id}", [Event(kind, orjson.dumps(who), viewer.user_id)])])


def direction(query: HistoryQuery) -> tuple[bool, int | None]:
    """(downwards?, from which seq)."""
    if sum(given is not None for given in (query.before, query.after, query.cursor)) > 1:
        raise malformed("Give one of before, after and cursor.")
    if query.cursor is not None:
        way, seq = read_cursor_pair(query.cursor, str, int)
        if way not in ("before", "after"):
            raise bad_cursor()
        return way == "before", seq
    return query.after is None, query.after if query.after is not None else query.before


def render_member(row: Document, told: Document) -> Event:
    """The event of an entry in a member row's outbox: the mark as it is now."""
    data = {"conversationId": row["conversationId"], "userId": row["userId"], "lastReadSeq": row["lastReadSeq"]}
    return Event(told["type"], orjson.dumps(data), told["actorId"], key=row["userId"], version=row["rev"])
