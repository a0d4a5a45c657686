"""What a member sees of conversations: previews, counts, marks. A fixed number of queries, however many they are."""

import asyncio
from collections.abc import Mapping, Sequence

from protocols.chat import ConversationSummaryDto, ReadMarkDto
from protocols.contracts import PersonDto
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
        peers = {peer for row in rows if (peer := _peer(conversations[row.conversation_id], members, user_id))}
        persons = await self._profiles.persons(peers)
        return [
            summary(
                conversations[row.conversation_id],
                row,
                newest.get(row.conversation_id),
                own[row.conversation_id].seq if row.conversation_id in own else 0,
                members.get(row.conversation_id),
                persons,
            )
            for row in rows
        ]

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
            for row in rows:
                # Sends move the row's mark, this process's before it calls this; another's may be about to.
                own_seq = last.seq if last is not None and last.sender_id == row.user_id else 0
                one = summary(conversations[conversation_id], row, last, own_seq, rows, persons)
                seen.setdefault(row.user_id, []).append(one)
        return seen


def unread(last_seq: int, member: Member, own_seq: int) -> int:
    return max(0, last_seq - max(member.last_read_seq, member.joined_seq, own_seq))


def summary(
    conversation: Conversation,
    member: Member,
    last: Message | None,
    own_seq: int,
    members: Sequence[Member] | None,
    persons: Mapping[str, PersonDto],
) -> ConversationSummaryDto:
    last_seq = last.seq if last is not None else 0
    peer = _peer(conversation, {conversation.conversation_id: members or ()}, member.user_id)
    return ConversationSummaryDto.model_construct(
        conversation_id=conversation.conversation_id,
        type=conversation.type,
        title=conversation.title,
        avatar_url=conversation.avatar_url,
        peer=persons.get(peer) if peer is not None else None,
        role=member.role,
        member_count=conversation.member_count,
        last_seq=last_seq,
        last_message=message_dto(last) if last is not None else None,
        last_read_seq=max(member.last_read_seq, own_seq),
        unread_count=unread(last_seq, member, own_seq),
        mention_count=0,
        muted=member.muted,
        request=False,
        read_marks=None
        if members is None
        else [ReadMarkDto.model_construct(user_id=m.user_id, last_read_seq=m.last_read_seq) for m in members],
        rev=last_seq + member.rev + conversation.rev,
        created_at=conversation.created_at,
        updated_at=last.created_at if last is not None else conversation.updated_at,
    )


def _peer(conversation: Conversation, members: Mapping[str, Sequence[Member]], user_id: str) -> str | None:
    if conversation.type != "direct":
        return None
    rows = members.get(conversation.conversation_id, ())
    return next((row.user_id for row in rows if row.user_id != user_id), None)
