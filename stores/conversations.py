"""Conversations and their members in MongoDB.

A conversation's document holds what all see alike; each member has a row of its own (conversation_members), since an
array of a thousand members would cost the server milliseconds a message. A direct conversation of two people is one:
`direct_pairs` has their ids as its key.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateMany, UpdateOne
from pymongo.errors import DuplicateKeyError, OperationFailure

from protocols.chat import ConversationType, Role
from protocols.errors import conflict
from stores.mongo import Client, Database, Document, reaching

MEMBERS_A_LIST = 1_000
CREATE_ATTEMPTS = 8  # over two seconds in all
CREATE_PAUSE_S = 0.01  # doubles


@dataclass(frozen=True, slots=True)
class Conversation:
    conversation_id: str
    type: ConversationType
    title: str | None
    avatar_url: str | None
    member_count: int
    rev: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Member:
    conversation_id: str
    user_id: str
    role: Role
    joined_seq: int  # where this member's unread count starts
    joined_at: datetime
    last_read_seq: int
    rev: int
    last_activity_at: datetime
    muted: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """A member's mark that moves forward, and what its row's outbox gets."""

    conversation_id: str
    user_id: str
    seq: int
    entry: Document | None


class Conversations:
    """Each method names its round trips; all raise Failure (unavailable) where MongoDB can't be reached."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._conversations = database["conversations"]
        self._members = database["conversation_members"]
        self._pairs = database["direct_pairs"]

    async def create(self, conversation: Conversation, members: Sequence[Member], pair: str | None) -> str | None:
        """One transaction. `pair` is the key of a direct conversation; where the two have one already, its id comes
        back and nothing is written."""
        for attempt in range(CREATE_ATTEMPTS):
            if attempt:  # two make it at once: the other one's transaction needs a moment to end
                await asyncio.sleep(CREATE_PAUSE_S * 2**attempt * random.uniform(0.5, 1.0))
            with reaching():
                known = await self._pairs.find_one({"_id": pair}) if pair is not None else None
                if known is not None:
                    return str(known["conversationId"])
                try:
                    async with await self._client.start_session() as session, session.start_transaction():
                        if pair is not None:
                            row = {"_id": pair, "conversationId": conversation.conversation_id}
                            await self._pairs.insert_one(row, session=session)
                        await self._conversations.insert_one(_conversation_document(conversation), session=session)
                        await self._members.insert_many(map(_member_document, members), session=session)
                    return None
                except DuplicateKeyError:
                    continue
                except OperationFailure as error:
                    if not error.has_error_label("TransientTransactionError"):
                        raise
        raise conflict("The conversation is being made; try again.", "conversation_busy", retry_after=1)

    async def get(self, conversation_id: str) -> Conversation | None:
        with reaching():
            found = await self._conversations.find_one({"_id": conversation_id})
        return None if found is None else _conversation(found)

    async def get_many(self, conversation_ids: Sequence[str]) -> dict[str, Conversation]:
        with reaching():
            found = await self._conversations.find({"_id": {"$in": list(conversation_ids)}}).to_list(None)
        return {c["_id"]: _conversation(c) for c in found}

    async def member(self, conversation_id: str, user_id: str) -> Member | None:
        with reaching():
            row = await self._members.find_one({"conversationId": conversation_id, "userId": user_id})
        return None if row is None else _member(row)

    async def memberships(self, user_id: str, conversation_ids: Sequence[str]) -> set[str]:
        """Which of the conversations the user is in; one query."""
        query = {"conversationId": {"$in": list(conversation_ids)}, "userId": user_id}
        with reaching():
            rows = await self._members.find(query, {"_id": 0, "conversationId": 1}).to_list(None)
        return {row["conversationId"] for row in rows}

    async def members(self, conversation_id: str, after: str = "", most: int = MEMBERS_A_LIST) -> list[Member]:
        """By user id, above `after`; one query."""
        query = {"conversationId": conversation_id, "userId": {"$gt": after}}
        with reaching():
            rows = await self._members.find(query).sort("userId", ASCENDING).limit(most).to_list(None)
        return [_member(row) for row in rows]

    async def members_of_many(self, conversation_ids: Sequence[str]) -> dict[str, list[Member]]:
        """All members of conversations that are known to be small; one query."""
        with reaching():
            rows = await self._members.find({"conversationId": {"$in": list(conversation_ids)}}).to_list(None)
        members: dict[str, list[Member]] = {}
        for row in rows:
            members.setdefault(row["conversationId"], []).append(_member(row))
        return members

    async def page_of(self, user_id: str, before: tuple[datetime, str] | None, most: int) -> list[Member]:
        """The user's rows, newest activity first, below (time, conversation id); one query."""
        query: Document = {"userId": user_id}
        if before is not None:
            at, conversation_id = before
            query["$or"] = [
                {"lastActivityAt": {"$lt": at}},
                {"lastActivityAt": at, "conversationId": {"$lt": conversation_id}},
            ]
        order = [("lastActivityAt", DESCENDING), ("conversationId", DESCENDING)]
        with reaching():
            rows = await self._members.find(query).sort(order).limit(most).to_list(None)
        return [_member(row) for row in rows]

    async def read_up_to(self, conversation_id: str, user_id: str, seq: int, entry: Document | None) -> Document | None:
        """Move the member's mark forward, with `entry` in the row's outbox; None where it stands there or further.
        One find-and-modify, which answers the row with its whole outbox."""
        moved: Document = {"$set": {"lastReadSeq": seq}, "$inc": {"rev": 1}}
        if entry is not None:
            moved["$push"] = {"outbox": entry}
        with reaching():
            return await self._members.find_one_and_update(
                {"conversationId": conversation_id, "userId": user_id, "lastReadSeq": {"$lt": seq}},
                moved,
                return_document=ReturnDocument.AFTER,
            )

    async def copy_activity(self, at: Mapping[str, datetime], marks: Sequence[Mark]) -> list[Document]:
        """Copy conversations' activity to all their rows, and move senders' own marks forward, all in one bulk call;
        a second one answers the rows of these marks that have something in their outbox."""
        writes: list[Any] = [
            UpdateMany({"conversationId": conversation_id}, {"$max": {"lastActivityAt": moment}})
            for conversation_id, moment in at.items()
        ]
        for mark in marks:
            moved: Document = {"$set": {"lastReadSeq": mark.seq}, "$inc": {"rev": 1}}
            if mark.entry is not None:
                moved["$push"] = {"outbox": mark.entry}
            one = {"conversationId": mark.conversation_id, "userId": mark.user_id}
            writes.append(UpdateOne({**one, "lastReadSeq": {"$lt": mark.seq}}, moved))
        telling = [mark for mark in marks if mark.entry is not None]
        rows: Document = {
            "conversationId": {"$in": list({mark.conversation_id for mark in telling})},
            "_id": {"$in": [row_id(mark.conversation_id, mark.user_id) for mark in telling]},
            "outbox.0": {"$exists": True},
        }
        with reaching():
            if writes:
                await self._members.bulk_write(writes, ordered=False)
            if not telling:
                return []
            found = await self._members.find(rows).to_list(None)
        return [dict(row) for row in found]


def row_id(conversation_id: str, user_id: str) -> str:
    return f"{conversation_id}:{user_id}"


def _conversation(document: Mapping[str, Any]) -> Conversation:
    return Conversation(
        conversation_id=document["_id"],
        type=document["type"],
        title=document["title"],
        avatar_url=document["avatarUrl"],
        member_count=document["memberCount"],
        rev=document["rev"],
        created_at=document["createdAt"],
        updated_at=document["updatedAt"],
    )


def _conversation_document(conversation: Conversation) -> Document:
    return {
        "_id": conversation.conversation_id,
        "type": conversation.type,
        "title": conversation.title,
        "avatarUrl": conversation.avatar_url,
        "memberCount": conversation.member_count,
        "rev": conversation.rev,
        "createdAt": conversation.created_at,
        "updatedAt": conversation.updated_at,
    }


def _member(row: Mapping[str, Any]) -> Member:
    return Member(
        conversation_id=row["conversationId"],
        user_id=row["userId"],
        role=row["role"],
        joined_seq=row["joinedSeq"],
        joined_at=row["joinedAt"],
        last_read_seq=row["lastReadSeq"],
        rev=row["rev"],
        last_activity_at=row["lastActivityAt"],
        muted=row["muted"],
    )


def _member_document(member: Member) -> Document:
    return {
        "_id": row_id(member.conversation_id, member.user_id),
        "conversationId": member.conversation_id,
        "userId": member.user_id,
        "role": member.role,
        "joinedSeq": member.joined_seq,
        "joinedAt": member.joined_at,
        "lastReadSeq": member.last_read_seq,
        "rev": member.rev,
        "lastActivityAt": member.last_activity_at,
        "muted": member.muted,
    }
