"""MongoDB: the connection, the collections with their indexes and shard keys, and what its errors mean.

A shard key begins its collection's unique indexes and stands in its hot queries.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError
from pymongo.monitoring import CommandListener

from protocols.errors import Failure, unavailable

Document = dict[str, Any]
Client = AsyncIOMotorClient[Document]
Database = AsyncIOMotorDatabase[Document]

SERVER_SELECTION_MS = 3_000
SOCKET_TIMEOUT_MS = 10_000
POOL_MAX = 32  # each holds a thread of the driver while it works

# Each is sharded hashed: most of the keys are UUIDv7, which grow.
SHARD_KEYS: dict[str, str] = {
    "profiles": "_id",
    "conversations": "_id",
    "conversation_members": "conversationId",
    "direct_pairs": "_id",
    "messages": "conversationId",
}

INDEXES: dict[str, list[IndexModel]] = {
    # Names are unique in PostgreSQL; a unique index that the shard key doesn't begin can't be sharded.
    "profiles": [IndexModel([("username", ASCENDING)], name="username")],
    "conversations": [IndexModel([("outbox.at", ASCENDING)], sparse=True)],
    "conversation_members": [
        IndexModel([("conversationId", ASCENDING), ("userId", ASCENDING)], unique=True),
        IndexModel([("userId", ASCENDING), ("lastActivityAt", DESCENDING), ("conversationId", DESCENDING)]),
        IndexModel([("outbox.at", ASCENDING)], sparse=True),
    ],
    "messages": [
        IndexModel([("conversationId", ASCENDING), ("seq", ASCENDING)], unique=True),
        IndexModel(
            [("conversationId", ASCENDING), ("senderId", ASCENDING), ("clientMessageId", ASCENDING)], unique=True
        ),
        IndexModel([("conversationId", ASCENDING), ("senderId", ASCENDING), ("seq", DESCENDING)]),
        IndexModel([("createdAt", ASCENDING), ("conversationId", ASCENDING), ("seq", ASCENDING)]),
    ],
}


def open_mongo(url: str, *listeners: CommandListener) -> Client:
    """`listeners` are told of every command."""
    return AsyncIOMotorClient(
        url,
        event_listeners=listeners,
        serverSelectionTimeoutMS=SERVER_SELECTION_MS,
        connectTimeoutMS=SERVER_SELECTION_MS,
        socketTimeoutMS=SOCKET_TIMEOUT_MS,
        maxPoolSize=POOL_MAX,
        waitQueueTimeoutMS=SOCKET_TIMEOUT_MS,
        tz_aware=True,
        retryWrites=True,
    )


async def ensure_indexes(database: Database) -> None:
    """Make what is not there yet; safe to run again and by several at once."""
    for collection, indexes in INDEXES.items():
        await database[collection].create_indexes(indexes)


def is_away(error: PyMongoError) -> bool:
    return isinstance(error, ConnectionFailure | ExecutionTimeout) or error.has_error_label("RetryableWriteError")


def away() -> Failure:
    return unavailable("document store")


@contextmanager
def reaching() -> Iterator[None]:
    """Around the calls of an adapter: a server that can't be reached is a Failure (unavailable)."""
    try:
        yield
    except PyMongoError as error:
        if is_away(error):
            raise away() from error
        raise


def ping_mongo(database: Database) -> Callable[[], Awaitable[str | None]]:
    async def look() -> str | None:
        await database.command("ping")
        return None

    return look
