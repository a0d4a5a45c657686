"""What a member sees of conversations: previews, counts, marks. A fixed number of queries, however many they are."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from protocols.chat import ChatMessageDto, ConversationSummaryDto, ReadMarkDto
from protocols.contracts import PersonDto
from protocols.times import iso
from services.chat.publishing import message_dto
from services.profiles import Profiles
from stores.conversations import Conversation, Conversations, Member
from stores.messages import Message, Messages

READ_MARKS_MEMBERS_MAX = 50  # in larger groups receipts are counts


class Summaries:
    def __init__(self, conversations: Conversations, messages: Messages, profiles: Profiles) -> None:
        self._conversations, self._messages, self._profiles = conversations, messages, profiles

    async def of(self, rows: Sequence[Member]) -> list[ConversationSummaryDto]:
        """The summaries of one member's rows, in their order. Three waves: documents and newest messages; members of
        the small ones; people."""
        if not rows:
            return []
        user_id, ids = rows[0].user_id, [row.conversation_id for row in rows]
        conversations, newest, own = await asyncio.gather(
            self._conversations.get_many(ids), self._messages.newest_of(ids), self._messages.newest_by(user_id, ids)
        )
        small = [c.conversation_id for c in conversations.values() if c.member_count <= READ_MARKS_MEMBERS_MAX]
        members = await self._conversations.members_of_many(small)
        shared = [Shared.of(conversations[c], newest.get(c), members.get(c)) for c in ids]
        peers = {peer for each in shared if (peer := _peer(each.conversation, each.members, user_id))}
        persons = await self._profiles.persons(peers)
        own_seqs = [own[c].seq if c in own else 0 for c in ids]
        return [summary(each, row, own_seq, persons) for each, row, own_seq in zip(shared, rows, own_seqs, strict=True)]

    async def for_members(self, conversation_ids: Sequence[str]) -> dict[str, list[ConversationSummaryDto]]:
        """Each small conversation as each of its members sees it, by user id. A fixed number of queries, too."""
        conversations, newest = await asyncio.gather(
            self._conversations.get_many(conversation_ids), self._messages.newest_of(conversation_ids)
        )
        small = [c.conversation_id for c in conversations.values() if c.member_count <= READ_MARKS_MEMBERS_MAX]
        members = await self._conversations.members_of_many(small)
        direct = (m.user_id for c in small if conversations[c].type == "direct" for m in members.get(c, ()))
        persons = await self._profiles.persons(direct)
        seen: dict[str, list[ConversationSummaryDto]] = {}
        for conversation_id, rows in members.items():
            last = newest.get(conversation_id)
            shared = Shared.of(conversations[conversation_id], last, rows)
            for row in rows:
                # Sends move the row's mark: this process's did before it calls this, another's may be about to.
                own_seq = last.seq if last is not None and last.sender_id == row.user_id else 0
                seen.setdefault(row.user_id, []).append(summary(shared, row, own_seq, persons))
        return seen


@dataclass(frozen=True, slots=True)
class Shared:
    """What all members see alike of a conversation, made once for all of them."""

    conversation: Conversation
    last: Message | None
    last_message: ChatMessageDto | None
    members: Sequence[Member]
    read_marks: list[ReadMarkDto] | None

    @classmethod
    def of(cls, conversation: Conversation, last: Message | None, members: Sequence[Member] | None) -> Self:
        marks = None
        if members is not None:
            marks = [ReadMarkDto(userId=m.user_id, lastReadSeq=m.last_read_seq) for m in members]
        return cls(conversation, last, None if last is None else message_dto(last), members or (), marks)


def unread(last_seq: int, member: Member, own_seq: int) -> int:
    return max(0, last_seq - max(member.last_read_seq, member.joined_seq, own_seq))


def summary(shared: Shared, member: Member, own_seq: int, persons: Mapping[str, PersonDto]) -> ConversationSummaryDto:
    """`own_seq`: the newest message that the member sent."""
    conversation, last = shared.conversation, shared.last
    last_seq = 0 if last is None else last.seq
    peer = _peer(conversation, shared.members, member.user_id)
    return {
        "conversationId": conversation.conversation_id,
        "type": conversation.type,
        "title": conversation.title,
        "avatarUrl": conversation.avatar_url,
        "peer": None if peer is None else persons.get(peer),
        "role": member.role,
        "memberCount": conversation.member_count,
        "lastSeq": last_seq,
        "lastMessage": shared.last_message,
        "lastReadSeq": max(member.last_read_seq, own_seq),
        "unreadCount": unread(last_seq, member, own_seq),
        "mentionCount": 0,
        "muted": member.muted,
        "request": False,
        "readMarks": shared.read_marks,
        "rev": last_seq + member.rev + conversation.rev,
        "createdAt": iso(conversation.created_at),
        "updatedAt": iso(conversation.updated_at if last is None else last.created_at),
    }


def _peer(conversation: Conversation, members: Sequence[Member], user_id: str) -> str | None:
    if conversation.type != "direct":
        return None
    return next((member.user_id for member in members if member.user_id != user_id), None)
