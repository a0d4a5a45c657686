"""The servers that every other test uses, by the drivers that the product uses."""

import time
from pathlib import Path

import aiopg
import pytest
import redis.asyncio
from blockbuster import BlockingError
from motor.motor_asyncio import AsyncIOMotorClient

from tests.backing import Backing

ROOT = Path(__file__).parents[2]


async def test_mongodb_has_transactions(backing: Backing) -> None:
    client = AsyncIOMotorClient(backing.mongodb_url)
    collection = client.get_default_database()["backing"]
    async with await client.start_session() as session, session.start_transaction():
        await collection.insert_one({"_id": 1}, session=session)
    assert client.get_default_database().name == "wechat"
    assert await collection.count_documents({}) == 1
    client.close()


async def test_postgresql_has_the_database_and_its_extensions(backing: Backing) -> None:
    async with aiopg.connect(backing.database_url) as connection, connection.cursor() as cursor:
        await cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm; SELECT current_database(), similarity('a', 'a')")
        assert await cursor.fetchone() == ("wechat", 1.0)


async def test_valkey_keeps_an_append_only_file(backing: Backing) -> None:
    client = redis.asyncio.from_url(backing.redis_url)
    assert (await client.info("persistence"))["aof_enabled"] == 1
    await client.aclose()


@pytest.mark.parametrize("name", ["FFMPEG", "FFPROBE"])
def test_the_environment_names_ffmpeg(backing: Backing, name: str) -> None:
    assert Path(backing.env[name]).is_file()


async def test_a_blocking_call_of_the_product_is_an_error() -> None:
    blocking = compile("time.sleep(0.001)", str(ROOT / "services" / "example.py"), "exec")
    with pytest.raises(BlockingError):
        exec(blocking, {"time": time})
