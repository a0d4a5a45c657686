"""Messages in MongoDB. The unique index (conversationId, seq) decides who gets a number; (conversationId, senderId,
clientMessageId) who said something already. A write is answered when a majority has journalled it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import BulkWriteError, PyMongoError
from pymongo.read_concern import ReadConcern

from protocols.chat import MessageKind
from stores.mongo import Database, Document, is_away, reaching

DUPLICATE_KEY = 11000
DURABLE = ("majority", "linearizable")  # the second costs up to 100 ms: it waits for the journal


@dataclass(frozen=True, slots=True)
class Message:
    message_id: str
    conversation_id: str
    seq: int
    kind: MessageKind
    sender_id: str
    client_message_id: str
    text: str | None
    reply_to: str | None
    rev: int
    created_at: datetime


class Outcome(Enum):
    """What became of one message of an append."""

    STORED = auto()
    SEQ_TAKEN = auto()
    REPEATED = auto()
    UNKNOWN = auto()  # the answer didn't come: it may be stored or not
    NOT_TRIED = auto()  # behind one that stopped an ordered run


class Messages:
    """Each method is one round trip; all but `append` raise Failure (unavailable)."""

    def __init__(self, database: Database) -> None:
        self._messages = database["messages"]
        self._durable = [self._messages.with_options(read_concern=ReadConcern(each)) for each in DURABLE]

    async def append(self, messages: Sequence[Message], ordered: bool) -> list[Outcome]:
        """Store as numbered. Ordered: up to the first that can't be; else each by itself."""
        outcomes = [Outcome.STORED] * len(messages)
        try:
            await self._messages.insert_many(map(_document, messages), ordered=ordered)
        except BulkWriteError as error:
            details = error.details
            if details.get("writeConcernErrors"):
                return [Outcome.UNKNOWN] * len(messages)
            for fault in details["writeErrors"]:
                if fault["code"] != DUPLICATE_KEY:
                    raise
                outcomes[fault["index"]] = Outcome.SEQ_TAKEN if "seq" in fault["keyPattern"] else Outcome.REPEATED
                if ordered:
                    outcomes[fault["index"] + 1 :] = [Outcome.NOT_TRIED] * (len(messages) - fault["index"] - 1)
        except PyMongoError as error:
            if not is_away(error):
                raise
            return [Outcome.UNKNOWN] * len(messages)
        return outcomes

    async def newest_seq(self, conversation_id: str) -> int:
        with reaching():
            newest = await self._messages.find_one(
                {"conversationId": conversation_id}, {"_id": 0, "seq": 1}, sort=[("seq", DESCENDING)]
            )
        return 0 if newest is None else int(newest["seq"])

    async def newest_of(self, conversation_ids: Iterable[str]) -> dict[str, Message]:
        """The newest message of each conversation that has one: an index seek each, in one query."""
        match = {"conversationId": {"$in": list(conversation_ids)}}
        return await self._newest(match, {"conversationId": -1, "seq": -1})

    async def newest_by(self, sender_id: str, conversation_ids: Iterable[str]) -> dict[str, Message]:
        """The newest message that one person sent to each conversation, as cheaply."""
        match = {"conversationId": {"$in": list(conversation_ids)}, "senderId": sender_id}
        return await self._newest(match, {"conversationId": 1, "senderId": 1, "seq": -1})

    async def _newest(self, match: Document, order: Document) -> dict[str, Message]:
        """Only `$first` in the very order of an index (or its reverse) makes MongoDB skip from group to group."""
        pipeline = [
            {"$match": match},
            {"$sort": order},
            {"$group": {"_id": "$conversationId", "newest": {"$first": "$$ROOT"}}},
        ]
        with reaching():
            found = await self._messages.aggregate(pipeline).to_list(None)
        return {group["_id"]: _message(group["newest"]) for group in found}

    async def after(self, conversation_id: str, seq: int, most: int) -> list[Message]:
        """Ascending, above `seq`."""
        query = {"conversationId": conversation_id, "seq": {"$gt": seq}}
        with reaching():
            found = await self._messages.find(query).sort("seq", ASCENDING).limit(most).to_list(None)
        return [_message(document) for document in found]

    async def before(self, conversation_id: str, seq: int | None, most: int) -> list[Message]:
        """Ascending: the `most` that stand right below `seq` (None: the newest)."""
        query: Document = {"conversationId": conversation_id}
        if seq is not None:
            query["seq"] = {"$lt": seq}
        with reaching():
            found = await self._messages.find(query).sort("seq", DESCENDING).limit(most).to_list(None)
        return [_message(document) for document in reversed(found)]

    async def touched_since(self, moment: datetime) -> list[str]:
        """The conversations that got a message since then, by the index on `createdAt`."""
        pipeline: list[Document] = [
            {"$match": {"createdAt": {"$gte": moment}}},
            {"$group": {"_id": "$conversationId"}},
        ]
        with reaching():
            found = await self._messages.aggregate(pipeline).to_list(None)
        return [group["_id"] for group in found]

    async def get(self, conversation_id: str, message_id: str) -> Message | None:
        with reaching():
            found = await self._messages.find_one({"_id": message_id, "conversationId": conversation_id})
        return None if found is None else _message(found)

    async def known(
        self, conversation_id: str, client_ids: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], Message]:
        """Those of (sender, clientMessageId) that are stored, and durable: a primary may show what it will lose. One
        round trip where all are; else a second one, which waits until all that the primary has is durable."""
        either = [{"senderId": sender, "clientMessageId": client_id} for sender, client_id in client_ids]
        found: list[Document] = []
        for messages in self._durable:
            with reaching():
                found = await messages.find({"conversationId": conversation_id, "$or": either}).to_list(None)
            if len(found) == len(set(client_ids)):
                break
        return {(m["senderId"], m["clientMessageId"]): _message(m) for m in found}


def _document(message: Message) -> Document:
    return {
        "_id": message.message_id,
        "conversationId": message.conversation_id,
        "seq": message.seq,
        "kind": message.kind,
        "senderId": message.sender_id,
        "clientMessageId": message.client_message_id,
        "text": message.text,
        "replyTo": message.reply_to,
        "rev": message.rev,
        "createdAt": message.created_at,
    }


def _message(document: Mapping[str, Any]) -> Message:
    return Message(
        message_id=document["_id"],
        conversation_id=document["conversationId"],
        seq=document["seq"],
        kind=document["kind"],
        sender_id=document["senderId"],
        client_message_id=document["clientMessageId"],
        text=document["text"],
        reply_to=document["replyTo"],
        rev=document["rev"],
        created_at=document["createdAt"],
    )
