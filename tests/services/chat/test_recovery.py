"""After a crash: what one process stored and did not publish is published by another."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from deploy.local import valkey
from deploy.local.process import Server
from protocols.ids import new_id
from protocols.times import now
from services.chat.recovery import STALE_MS, Recovery
from services.chat.sending import Draft, numbered
from stores.leases import KEY, Leases
from stores.messages import Outcome
from tests.backing import Backing
from tests.chat import Chat, beginning, chat


@pytest.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[Server]:
    server = await asyncio.to_thread(valkey.start, tmp_path / "valkey")
    yield server
    await asyncio.to_thread(server.stop)


@pytest.fixture
async def process(migrated: Backing, redis_server: Server) -> AsyncIterator[Chat]:
    """On a Redis of its own: leases of other tests' processes would be swept, too."""
    async with chat(migrated, redis_url=redis_server.url) as made:
        yield made


def recovery(process: Chat, name: str = "mine") -> Recovery:
    return Recovery(Leases(process.redis), process.messages, process.publisher, name)


async def dies(process: Chat, seconds_ago: float, name: str = "dead") -> None:
    """A process that was last seen so long ago."""
    clock, _ = await process.redis.time()
    await process.redis.zadd(KEY, {name: (clock - seconds_ago) * 1000})


async def stored_in_silence(process: Chat, count: int, seconds_ago: float = 0.0) -> tuple[str, str]:
    """A conversation whose last messages no topic knows of, and the position before them."""
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    await process.send(ann, conversation_id, "told")
    await process.quiet()
    position = await process.position(f"conv:{conversation_id}")
    at = now() - timedelta(seconds=seconds_ago)
    drafts = [Draft(conversation_id, ann.user_id, new_id(), f"silent {i}") for i in range(count)]
    messages = [replace(numbered(draft, 2 + i), created_at=at) for i, draft in enumerate(drafts)]
    assert await process.messages.append(messages, ordered=True) == [Outcome.STORED] * count
    return conversation_id, position


async def told(process: Chat, conversation_id: str, position: str) -> list[int]:
    return [
        orjson.loads(entry.data)["seq"]
        for entry in await process.log(f"conv:{conversation_id}", position, "MessageReceived")
    ]


async def test_what_a_dead_process_stored_is_published_in_order(process: Chat) -> None:
    conversation_id, position = await stored_in_silence(process, 5)
    await dies(process, 4)
    await recovery(process).look()
    assert await told(process, conversation_id, position) == [2, 3, 4, 5, 6]
    assert await process.redis.zscore(KEY, "dead") is None


async def test_a_process_that_was_seen_just_now_is_left_alone(process: Chat) -> None:
    conversation_id, position = await stored_in_silence(process, 1)
    await dies(process, 1)
    await recovery(process).look()
    assert await told(process, conversation_id, position) == []
    assert await process.redis.zscore(KEY, "dead") is not None


async def test_all_that_was_down_for_a_minute_is_swept_by_who_starts_first(process: Chat) -> None:
    conversation_id, position = await stored_in_silence(process, 3, seconds_ago=61)
    await dies(process, 60)
    await recovery(process).look()
    assert await told(process, conversation_id, position) == [2, 3, 4]


async def test_nothing_is_told_twice_by_two_that_sweep_at_once(process: Chat) -> None:
    conversation_id, position = await stored_in_silence(process, 4)
    await dies(process, 10)
    await asyncio.gather(*(recovery(process, f"p{i}").look() for i in range(4)))
    await recovery(process, "late").sweep(0)
    assert await told(process, conversation_id, position) == [2, 3, 4, 5]


async def test_a_lease_that_was_renewed_meanwhile_is_not_removed(process: Chat) -> None:
    await dies(process, 10, "stopped")
    leases = Leases(process.redis)
    _, [stale] = await leases.renew("mine", STALE_MS)
    await leases.renew("stopped", STALE_MS)
    await leases.remove(stale)
    assert await process.redis.zscore(KEY, "stopped") is not None


async def test_after_redis_was_away_a_process_sweeps_by_itself(
    migrated: Backing, tmp_path: Path, process: Chat, redis_server: Server
) -> None:
    mine = recovery(process)
    await mine.look()
    conversation_id, position = await stored_in_silence(process, 2)
    await asyncio.to_thread(redis_server.kill)
    await mine.look()
    again = await asyncio.to_thread(valkey.start, tmp_path / "valkey")
    try:
        # The restart began a new epoch. One that was made by a position, and so knew the newest seq, has nothing to
        # fill; so that the sweep is seen, the topic is put back to before the silence.
        topic = f"conv:{conversation_id}"
        await process.topics.look([topic], {topic: 1})
        await mine.look()
        position = await process.position(topic)
        assert await told(process, conversation_id, beginning(position)) == [2, 3]
    finally:
        await asyncio.to_thread(again.stop)


async def test_a_process_that_ends_well_leaves_no_lease(process: Chat) -> None:
    mine = asyncio.create_task(recovery(process, "well").run())
    async with asyncio.timeout(5):
        while await process.redis.zscore(KEY, "well") is None:
            await asyncio.sleep(0.01)
    mine.cancel()
    await asyncio.gather(mine, return_exceptions=True)
    assert await process.redis.zscore(KEY, "well") is None
