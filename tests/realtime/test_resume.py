"""Following with a position: what was missed, then live, without a seam; or a word that it can't be."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import valkey
from protocols.errors import Failure
from protocols.positions import Position
from realtime import hub, resume
from realtime.resume import CHUNK_ENTRIES
from stores.topics import Kept
from tests.backing import Backing
from tests.realtime.rig import Follower, Lines, Node, logged, node
from tests.web import free_port


@pytest.fixture
async def one(backing: Backing, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    monkeypatch.setattr(hub, "IDLE_S", 0.05)
    async with node(backing.redis_url) as made:
        yield made


@pytest.fixture
def topic() -> str:
    return f"conv:{secrets.token_hex(8)}"


async def filled(one: Node, topic: str, count: int) -> Position:
    """The position before `count` events that are in the log."""
    start = await one.position(topic)
    for n in range(1, count + 1, 50):
        await one.publish(topic, *(logged(i) for i in range(n, min(n + 50, count + 1))))
    return start


def answer(follower: Follower) -> list[str]:
    """Position and `recovered` of the last answer."""
    return follower.of("subscribed")[-1][2:]


async def test_without_a_position_one_joins_now_and_recovered_is_not_said(one: Node, topic: str) -> None:
    start = await filled(one, topic, 3)
    follower = Follower()
    await one.follow(follower, topic)
    assert answer(follower) == [f"{start.epoch}:3", "-"]
    await one.publish(topic, logged(4))
    await follower.saw(1)
    assert follower.offsets == [4]


async def test_what_was_missed_comes_after_the_answer_and_before_what_is_live(one: Node, topic: str) -> None:
    start = await filled(one, topic, 5)
    follower = Follower()
    await one.follow(follower, topic, replace(start, offset=2))
    assert answer(follower) == [f"{start.epoch}:5", "true"] and follower.offsets == []
    await one.publish(topic, logged(6))
    await follower.saw(4)
    assert follower.offsets == [3, 4, 5, 6]


@pytest.mark.parametrize("offset", [0, 5])
async def test_the_first_and_the_newest_position_are_recovered(one: Node, topic: str, offset: int) -> None:
    start = await filled(one, topic, 5)
    follower = Follower()
    await one.follow(follower, topic, replace(start, offset=offset))
    assert answer(follower)[1] == "true"
    await one.publish(topic, logged(6))
    await follower.saw(6 - offset)
    assert follower.offsets == list(range(offset + 1, 7))


@pytest.mark.parametrize(("epoch", "offset"), [("zzzzzzzz", 0), ("zzzzzzzz", 5), (None, 6), (None, 10**15 - 1)])
async def test_a_position_that_never_existed_is_not_recovered_and_live_events_come(
    one: Node, topic: str, epoch: str | None, offset: int
) -> None:
    start = await filled(one, topic, 5)
    follower = Follower()
    await one.follow(follower, topic, Position(epoch or start.epoch, offset))
    assert answer(follower) == [f"{start.epoch}:5", "false"]
    await one.publish(topic, logged(6))
    await follower.saw(1)
    assert follower.offsets == [6]


async def test_what_was_trimmed_is_not_recovered_in_part(backing: Backing, topic: str) -> None:
    async with node(backing.redis_url, Kept(entries=3)) as one:
        start = await filled(one, topic, 10)
        told = []
        for offset in (6, 7):
            follower = Follower()
            await one.follow(follower, topic, replace(start, offset=offset))
            await one.publish(topic, logged(11 + len(told)))
            await follower.until(lambda follower=follower: follower.offsets and follower.offsets[-1] == 11 + len(told))
            told.append((answer(follower)[1], follower.offsets))
        assert told == [("false", [11]), ("false", [12])]
        follower = Follower()
        await one.follow(follower, topic, replace(start, offset=9))
        await follower.saw(3)
        assert (answer(follower)[1], follower.offsets) == ("true", [10, 11, 12])


async def test_a_position_ahead_of_the_hub_makes_it_fill_first(one: Node, topic: str) -> None:
    slow, ahead = Follower(), Follower()
    await one.follow(slow, topic)
    one.air.drops = lambda: True  # this hub hears of nothing; the follower comes from another process
    start = replace(await filled(one, topic, 4), offset=3)
    await one.follow(ahead, topic, start)
    await ahead.saw(1)
    assert answer(ahead) == [f"{start.epoch}:4", "true"] and ahead.offsets == [4]
    assert slow.offsets == [1, 2, 3, 4] and slow.of("lost") == []


async def test_another_process_resumes_what_one_gave_out(backing: Backing, one: Node, topic: str) -> None:
    follower = Follower()
    await one.follow(follower, topic)
    await one.publish(topic, logged(1), logged(2))
    await follower.saw(2)
    last = follower.of("event")[0][2]
    async with node(backing.redis_url) as other:
        again = Follower()
        await other.follow(again, topic, Position(last[:8], int(last[9:])))
        await one.publish(topic, logged(3))
        await again.saw(2)
        assert answer(again)[1] == "true" and again.offsets == [2, 3]


# Pace


async def test_a_catch_up_waits_for_its_client_before_each_chunk(one: Node, topic: str) -> None:
    start = await filled(one, topic, 3 * CHUNK_ENTRIES)
    follower, passed = Follower(), asyncio.Semaphore(0)
    follower.connection.drain = passed.acquire  # type: ignore[assignment]
    await one.follow(follower, topic, start)
    for chunk in range(1, 4):
        assert len(follower.offsets) == (chunk - 1) * CHUNK_ENTRIES
        passed.release()
        await follower.saw(chunk * CHUNK_ENTRIES)
        assert len(follower.paper.writes) == 1 + chunk  # one write a chunk
    await one.publish(topic, logged(601))
    await follower.saw(3 * CHUNK_ENTRIES + 1)
    assert follower.offsets == list(range(1, 3 * CHUNK_ENTRIES + 2))


async def test_a_slow_catch_up_holds_nobody_else_back(one: Node, topic: str) -> None:
    start = await filled(one, topic, 10)
    slow, quick = Follower(), Follower()
    slow.room.clear()
    await one.follow(slow, topic, start)
    await one.follow(quick, topic, start)
    await one.publish(topic, logged(11))
    await quick.saw(11)
    assert slow.offsets == []
    slow.room.set()
    await slow.saw(11)
    assert slow.offsets == quick.offsets == list(range(1, 12))


async def test_topics_catch_up_in_turn(one: Node, topic: str) -> None:
    names = [topic, topic + "b"]
    starts = [await filled(one, name, 2 * CHUNK_ENTRIES) for name in names]
    follower = Follower()
    follower.room.clear()
    for name, start in zip(names, starts, strict=True):
        await one.follow(follower, name, start)
    follower.room.set()
    await follower.saw(4 * CHUNK_ENTRIES)
    runs = [line[1] for i, line in enumerate(follower.of("event")) if i % CHUNK_ENTRIES == 0]
    assert runs == names * 2


async def test_a_new_subscribe_makes_the_old_catch_up_void(one: Node, topic: str) -> None:
    start = await filled(one, topic, 10)
    follower = Follower()
    follower.room.clear()
    await one.follow(follower, topic, start)
    await one.follow(follower, topic, replace(start, offset=7))
    follower.room.set()
    await follower.saw(3)
    await one.publish(topic, logged(11))
    await follower.saw(4)
    assert follower.offsets == [8, 9, 10, 11]


async def test_a_read_on_its_way_is_void_for_a_subscribe_that_came_later(one: Node, topic: str) -> None:
    start = await filled(one, topic, 10)
    follower = Follower()
    follower.room.clear()
    await one.follow(follower, topic, start)
    one.resume._reads.clear()
    one.topics.read_gate.clear()
    follower.room.set()
    await one.topics.answered.wait()
    await one.follow(follower, topic)
    one.topics.read_gate.set()
    await one.publish(topic, logged(11))
    await follower.saw(1)
    assert follower.offsets == [11]


async def test_an_unsubscribe_ends_the_catch_up(one: Node, topic: str) -> None:
    start = await filled(one, topic, 10)
    follower = Follower()
    follower.room.clear()
    await one.follow(follower, topic, start)
    assert one.resume.leave(follower.connection, topic)
    follower.room.set()
    await one.closed()
    assert follower.offsets == []


async def test_trimmed_below_a_catch_up_is_told_to_that_one_alone(backing: Backing, topic: str) -> None:
    async with node(backing.redis_url, Kept(entries=CHUNK_ENTRIES + 50)) as one:
        start = await filled(one, topic, CHUNK_ENTRIES + 50)
        slow, live = Follower(), Follower()
        passed = asyncio.Semaphore(1)
        slow.connection.drain = passed.acquire  # type: ignore[assignment]
        await one.follow(slow, topic, start)
        await one.follow(live, topic)
        await slow.saw(CHUNK_ENTRIES)
        end = CHUNK_ENTRIES + 50
        for n in range(end + 1, 2 * end + 50, 50):
            await one.publish(topic, *(logged(i) for i in range(n, n + 50)))
        await live.saw(end)
        passed.release()
        await slow.until(lambda: slow.of("lost"))
        assert slow.of("lost") == [["lost", topic, live.of("event")[-1][2]]] and live.of("lost") == []
        await one.publish(topic, logged(0))
        await slow.saw(CHUNK_ENTRIES + 1)
        assert slow.offsets[:CHUNK_ENTRIES] == list(range(1, CHUNK_ENTRIES + 1))
        assert slow.offsets[-1] == live.offsets[-1] + (0 if live.offsets[-1] == slow.offsets[-1] else 1)


async def test_a_topic_removed_during_a_catch_up_is_told_as_lost(one: Node, topic: str) -> None:
    start = await filled(one, topic, 10)
    follower, live = Follower(), Follower()
    follower.room.clear()
    await one.follow(follower, topic, start)
    await one.follow(live, topic)
    await one.topics.remove(topic)
    await live.until(lambda: live.of("lost"))
    follower.room.set()
    await follower.until(lambda: follower.of("lost"))
    assert follower.of("lost") == live.of("lost") and follower.offsets == []
    await one.publish(topic, logged(1))
    await follower.saw(1)
    assert follower.offsets == [1]


# Shared reads


async def test_one_read_and_one_framing_serve_all_who_come_back_at_once(one: Node, topic: str) -> None:
    start = await filled(one, topic, CHUNK_ENTRIES + 10)
    framing = Lines()
    followers = [Follower(framing=framing) for _ in range(50)]
    await asyncio.gather(*(one.follow(follower, topic, start) for follower in followers))
    for follower in followers:
        await follower.saw(CHUNK_ENTRIES + 10)
        assert follower.offsets == list(range(1, CHUNK_ENTRIES + 11))
    assert one.topics.reads == 2  # a chunk each
    assert framing.made == CHUNK_ENTRIES + 10


async def test_answers_that_nobody_can_ask_for_any_more_are_let_go(
    one: Node, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "SHARED_S", 0.0)
    start = await filled(one, topic, 20)
    for offset in range(20):
        follower = Follower()
        await one.follow(follower, topic, replace(start, offset=offset))
        await follower.saw(20 - offset)
    assert len(one.resume._reads) <= 2


# Ends


async def test_an_end_undoes_all_and_leaves_no_channel(one: Node, topic: str) -> None:
    start = await filled(one, topic, 10)
    follower = Follower()
    follower.room.clear()
    for name in (topic, topic + "b"):
        await one.follow(follower, name)
    await one.follow(follower, topic, start)
    one.resume.end(follower.connection)
    one.resume.end(follower.connection)  # it may be said twice
    await one.closed()
    assert follower.connection.topics == {} and follower.offsets == []


async def test_an_end_before_the_first_step_of_a_catch_up_leaves_no_channel(one: Node, topic: str) -> None:
    start = await filled(one, topic, 10)
    follower = Follower()
    await one.follow(follower, topic, start)
    one.resume.end(follower.connection)  # in the turn in which it began
    await one.closed()
    assert one.resume._behind == {} and follower.offsets == []


async def test_a_subscribe_that_ends_too_late_is_not_begun(one: Node, topic: str) -> None:
    follower = Follower()
    [item] = await one.resume.follow([(topic, None)])
    one.resume.end(follower.connection)
    assert not isinstance(item, Failure)
    one.resume.begin(follower.connection, [item])
    await one.closed()
    assert follower.connection.topics == {}


async def test_a_subscribe_that_is_given_up_leaves_no_channel(one: Node, topic: str) -> None:
    start = await filled(one, topic, 10)
    one.topics.read_gate.clear()
    asking = asyncio.create_task(one.resume.follow([(topic, start), (topic + "b", None)]))
    await one.topics.answered.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    one.topics.read_gate.set()
    await one.closed()


async def test_a_client_that_goes_away_during_a_catch_up_leaves_no_channel(one: Node, topic: str) -> None:
    start = await filled(one, topic, 10)
    follower = Follower()

    async def drain() -> None:
        raise ConnectionResetError

    follower.connection.drain = drain
    await one.follow(follower, topic, start)
    one.resume.leave(follower.connection, topic)
    await one.closed()
    assert one.resume._behind == {}


async def test_without_redis_a_catch_up_is_ended_and_the_topic_can_be_asked_for_again(tmp_path: Path) -> None:
    port = free_port()
    server = valkey.start(tmp_path, port=port)
    async with node(server.url) as one:
        start = await filled(one, "conv:1", 10)
        follower, live = Follower(), Follower()
        follower.room.clear()
        await one.follow(live, "conv:1")
        await one.follow(follower, "conv:1", start)
        one.resume._reads.clear()
        server.kill()
        follower.room.set()
        await follower.until(lambda: follower.of("unsubscribed"))
        assert follower.of("unsubscribed") == [["unsubscribed", "conv:1", "unavailable"]]
        assert follower.connection.topics == {} and follower.offsets == []
        [refused] = await one.resume.follow([("conv:2", None)])
        assert isinstance(refused, Failure) and refused.code == "unavailable"
        server = await asyncio.to_thread(valkey.start, tmp_path, port=port)
        await live.until(lambda: live.of("lost"))
        await one.follow(follower, "conv:1", start)
        assert answer(follower)[1] == "false"
    server.kill()
