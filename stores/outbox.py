"""The `outbox` array of a collection's documents."""

from collections.abc import Sequence
from datetime import datetime

from stores.mongo import Database, Document, reaching


class OutboxStore:
    def __init__(self, database: Database, collection: str, shard_key: str) -> None:
        self._collection, self._shard_key = database[collection], shard_key

    async def pull(self, document: Document, keys: Sequence[str]) -> None:
        one = {"_id": document["_id"], self._shard_key: document[self._shard_key]}
        with reaching():
            await self._collection.update_one(one, {"$pull": {"outbox": {"key": {"$in": list(keys)}}}})

    async def waiting(self, before: datetime, most: int) -> list[Document]:
        """Documents with an entry from before then, by the sparse index on `outbox.at`."""
        with reaching():
            found = await self._collection.find({"outbox.at": {"$lt": before}}).limit(most).to_list(None)
        return [dict(document) for document in found]
