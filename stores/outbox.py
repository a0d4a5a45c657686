"""The `outbox` array of a collection's documents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import UpdateOne

from stores.mongo import Database, Document, reaching


class OutboxStore:
    def __init__(self, database: Database, collection: str, shard_key: str) -> None:
        self._collection, self._shard_key = database[collection], shard_key

    async def pull(self, entries: Sequence[tuple[Document, Document]]) -> None:
        """Remove each (document, entry); one bulk call for all."""
        keys: dict[str, list[str]] = {}
        shards: dict[str, Any] = {}
        for document, entry in entries:
            keys.setdefault(document["_id"], []).append(entry["key"])
            shards[document["_id"]] = document[self._shard_key]
        pulls = [
            UpdateOne({"_id": one, self._shard_key: shards[one]}, {"$pull": {"outbox": {"key": {"$in": each}}}})
            for one, each in keys.items()
        ]
        with reaching():
            await self._collection.bulk_write(pulls, ordered=False)

    async def waiting(self, before: datetime, most: int) -> list[Document]:
        """Documents with an entry from before then, by the sparse index on `outbox.at`."""
        with reaching():
            found = await self._collection.find({"outbox.at": {"$lt": before}}).limit(most).to_list(None)
        return [dict(document) for document in found]
