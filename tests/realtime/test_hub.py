"""The hub: every follower gets every event once, in order, or is told that it didn't."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import valkey
from protocols.errors import Failure
from protocols.events import Event
from protocols.positions import Position, parse_position
from protocols.websocket import Close
from realtime import hub as module
from realtime.channel import Channel
from realtime.connection import LIVE_BUFFER_BYTES
from realtime.hub import send_all
from stores.topics import Kept
from tests.backing import Backing
from tests.realtime.rig import Air, Follower, Lines, Node, logged, node
from tests.web import free_port


@pytest.fixture
async def one(backing: Backing) -> AsyncIterator[Node]:
    async with node(backing.redis_url) as made:
        yield made


@pytest.fixture
def air(one: Node) -> Air:
    return one.air


@pytest.fixture
def topic() -> str:
    return f"conv:{secrets.token_hex(8)}"


async def channel_of(one: Node, topic: str) -> Channel:
    channel = (await one.hub.open([topic]))[topic]
    assert isinstance(channel, Channel)
    one.hub.unpin(channel)
    return channel


# Delivery


async def test_all_followers_get_the_very_same_bytes(one: Node, topic: str) -> None:
    framing = Lines()
    followers = [Follower(framing=framing) for _ in range(5)]
    for follower in followers:
        await one.follow(follower, topic)
    await one.publish(topic, logged(1))
    for follower in followers:
        await follower.saw(1)
    assert framing.made == 1
    assert len({id(follower.paper.writes[-1]) for follower in followers}) == 1
    assert one.hub.deliveries == 5


async def test_a_batch_leaves_in_one_write(one: Node, topic: str) -> None:
    follower = Follower()
    await one.follow(follower, topic)
    await one.publish(topic, *(logged(n) for n in range(1, 51)))
    await follower.saw(50)
    assert follower.offsets == list(range(1, 51))
    assert len(follower.paper.writes) == 2  # with the answer


async def test_messages_of_one_turn_leave_in_one_write(one: Node, air: Air, topic: str) -> None:
    follower = Follower()
    await one.follow(follower, topic)
    air.still = True
    for n in range(1, 11):
        await one.publish(topic, logged(n))
    await air.keeps(10)
    air.let_go()
    assert follower.offsets == list(range(1, 11))
    assert len(follower.paper.writes) == 2


async def test_each_wire_format_is_framed_once_and_gets_its_own(one: Node, topic: str) -> None:
    shared, own = Lines(), Lines(shared=False)
    followers = [Follower(framing=framing) for framing in (shared, own, shared, own)]
    for follower in followers:
        await one.follow(follower, topic)
    await one.publish(topic, logged(1), logged(2))
    for follower in followers:
        await follower.saw(2)
        assert follower.offsets == [1, 2]
    assert (shared.made, own.made) == (2, 2)


async def test_conversation_updates_are_withheld_from_who_follows_that_conversation(one: Node) -> None:
    user = f"user:{secrets.token_hex(8)}"
    follows, apart = Follower(), Follower()
    for follower in (follows, apart):
        await one.follow(follower, user)
    await one.follow(follows, f"conv:{user}")
    updates = [Event("ConversationUpdated", b"{}", key=key, version=1) for key in (user, "other")]
    await one.publish(user, updates[0], logged(2), updates[1])
    await apart.saw(3)
    assert apart.offsets == [1, 2, 3]
    assert follows.offsets == [2, 3]
    one.resume.leave(follows.connection, f"conv:{user}")
    await one.publish(user, replace(updates[0], version=2))
    await follows.saw(3)
    assert follows.offsets == [2, 3, 4]


async def test_one_who_left_hears_nothing_more(one: Node, topic: str) -> None:
    stays, leaves = Follower(), Follower()
    for follower in (stays, leaves):
        await one.follow(follower, topic)
    assert one.resume.leave(leaves.connection, topic)
    assert not one.resume.leave(leaves.connection, topic)
    await one.publish(topic, logged(1))
    await stays.saw(1)
    assert leaves.offsets == []


async def test_a_transport_that_has_closed_stops_nobody_else(one: Node, topic: str) -> None:
    followers = [Follower() for _ in range(5)]
    for follower in followers:
        await one.follow(follower, topic)
    for gone in followers[::2]:
        gone.paper.closing = True
    await one.publish(topic, logged(1), logged(2))
    await followers[3].saw(2)
    assert [follower.offsets for follower in followers] == [[], [1, 2], [], [1, 2], []]


def test_the_send_loop_goes_on_after_each_transport_that_raises() -> None:
    got: list[bytes] = []

    def gone(data: bytes) -> None:
        raise RuntimeError

    send_all([gone, got.append, gone, gone, got.append, gone], b"x")
    assert got == [b"x", b"x"]


async def test_one_who_cannot_keep_up_is_ended_and_the_others_go_on(one: Node, topic: str) -> None:
    slow, quick = Follower(), Follower()
    slow.on_end = one.resume.end
    for follower in (slow, quick):
        await one.follow(follower, topic)
    slow.paper.waiting = LIVE_BUFFER_BYTES + 1
    await one.publish(topic, Event("SessionRevoked", b"x" * (module.CHECK_BYTES + 1)))
    await quick.saw(1)
    assert [code for code, _ in slow.ends] == [Close.TOO_SLOW] and quick.ends == []
    await one.publish(topic, logged(2))
    await quick.saw(2)
    assert len(slow.of("event")) == 1 and slow.connection.topics == {}


async def test_hear_is_told_of_every_event_once(one: Node, topic: str) -> None:
    follower = Follower()
    await one.follow(follower, topic)
    await one.publish(topic, logged(1), Event("TypingStarted", b"{}"), logged(2))
    await follower.saw(3)
    assert [entry.offset for entry in one.heard] == [1, 0, 2]


# Healing


async def test_a_break_is_filled_before_anything_further_is_delivered(one: Node, air: Air, topic: str) -> None:
    follower = Follower()
    await one.follow(follower, topic)
    air.still = True
    for n in range(1, 7):
        await one.publish(topic, logged(n))
    await air.keeps(6)
    air.let_go(slice(3, None))  # 1, 2 and 3 are lost
    assert follower.offsets == []
    await follower.saw(6)
    await one.publish(topic, logged(7))
    await follower.saw(7)
    assert follower.offsets == [1, 2, 3, 4, 5, 6, 7] and follower.of("lost") == []


async def test_a_repeated_message_is_dropped(one: Node, air: Air, topic: str) -> None:
    follower = Follower()
    await one.follow(follower, topic)
    air.still = True
    await one.publish(topic, logged(1))
    await air.keeps(1)
    air.kept *= 3
    air.let_go()
    await one.publish(topic, logged(2))
    await follower.saw(2)
    assert follower.offsets == [1, 2]


async def test_a_lost_last_event_is_found_by_comparing(one: Node, air: Air, topic: str) -> None:
    follower = Follower()
    await one.follow(follower, topic)
    air.drops = lambda: True
    await one.publish(topic, logged(1), logged(2))
    await one.hub.compare(await channel_of(one, topic))
    await follower.saw(2)
    assert follower.offsets == [1, 2] and follower.of("lost") == []


async def test_a_long_break_is_filled_in_several_reads(one: Node, air: Air, topic: str) -> None:
    follower = Follower()
    await one.follow(follower, topic)
    air.drops = lambda: True
    many = module.FILL_ENTRIES * 2 + 50
    for start in range(1, many, 50):
        await one.publish(topic, *(logged(n) for n in range(start, start + 50)))
    await one.hub.compare(await channel_of(one, topic))
    await follower.saw(many)
    assert follower.offsets == list(range(1, many + 1))
    assert one.topics.reads == 3


async def test_live_events_may_pass_the_answer_of_a_fill_and_nobody_is_told_lost(
    one: Node, air: Air, topic: str
) -> None:
    follower = Follower()
    await one.follow(follower, topic)
    air.still = True
    for n in (1, 2, 3):
        await one.publish(topic, logged(n))
    one.topics.read_gate.clear()
    filling = one.hub.fill(await channel_of(one, topic))
    await one.topics.answered.wait()  # the log up to 3 is on its way
    for n in (4, 5):
        await one.publish(topic, logged(n))
    await air.keeps(5)
    air.let_go()
    assert follower.offsets == [1, 2, 3, 4, 5]
    one.topics.read_gate.set()
    await filling
    await one.publish(topic, logged(6))
    await follower.saw(6)
    assert follower.offsets == [1, 2, 3, 4, 5, 6] and follower.of("lost") == []


async def test_a_foreign_epochs_message_only_makes_the_hub_ask(one: Node, topic: str) -> None:
    follower = Follower()
    await one.follow(follower, topic)
    one.hub.receive(topic, b"zzzzzzzz\n1\t0\t\tSessionRevoked\t\t\t\t{}")
    one.hub.flush()
    await one.publish(topic, logged(1))
    await follower.saw(1)
    assert follower.offsets == [1] and follower.of("lost") == [] and one.lost == []


async def test_a_removed_topic_is_told_as_lost_and_goes_on_from_there(one: Node, topic: str) -> None:
    followers = [Follower(), Follower(framing=Lines(shared=False))]
    for follower in followers:
        await one.follow(follower, topic)
    await one.publish(topic, logged(1))
    await followers[0].saw(1)
    await one.topics.remove(topic)
    for follower in followers:
        await follower.until(lambda follower=follower: follower.of("lost"))
    now = await one.position(topic)
    assert [follower.of("lost") for follower in followers] == [[["lost", topic, str(now)]]] * 2
    assert one.lost == [topic]
    await one.publish(topic, logged(2))
    for follower in followers:
        await follower.saw(2)
        assert follower.of("event")[-1][2] == f"{now.epoch}:1"


async def test_what_the_log_no_longer_has_is_told_as_lost(backing: Backing, topic: str) -> None:
    async with node(backing.redis_url, Kept(entries=5)) as one:
        air, follower = one.air, Follower()
        await one.follow(follower, topic)
        air.still = True
        await one.publish(topic, *(logged(n) for n in range(1, 21)))
        await air.keeps(1)
        air.let_go(slice(0))  # lost
        await one.publish(topic, logged(21))
        await follower.until(lambda: follower.of("lost"))
        assert follower.of("lost")[0][2].endswith(":21") and follower.offsets == []
        await one.publish(topic, logged(22))
        await follower.saw(1)
        assert follower.offsets == [22]


async def test_an_event_that_passes_the_new_position_is_not_forgotten(backing: Backing, topic: str) -> None:
    """The answer that begins again is on its way while one more event comes, and another is never heard of again."""
    async with node(backing.redis_url, Kept(entries=2)) as one:
        air, follower = one.air, Follower()
        await one.follow(follower, topic)
        channel = await channel_of(one, topic)
        air.still = True
        await one.publish(topic, *(logged(n) for n in range(1, 6)))
        one.hub.fill(channel)
        one.topics.look_gate.clear()
        await one.topics.answered.wait()  # position 5
        await one.publish(topic, logged(6))
        await air.keeps(2)
        air.let_go(slice(1, None))
        one.topics.look_gate.set()
        await follower.saw(1)
        assert follower.told[1:] == [["lost", topic, f"{channel.epoch}:5"], follower.of("event")[0]]
        assert follower.offsets == [6]


async def test_an_event_of_a_new_epoch_that_comes_before_its_position_is_not_forgotten(
    one: Node, air: Air, topic: str
) -> None:
    follower = Follower()
    await one.follow(follower, topic)
    channel = await channel_of(one, topic)
    air.drops = lambda: True
    await one.topics.remove(topic)
    one.hub.fill(channel)
    one.topics.look_gate.clear()
    await one.topics.answered.wait()  # the new epoch at 0
    air.drops = lambda: False
    await one.publish(topic, logged(1))
    one.topics.look_gate.set()
    await follower.saw(1)
    assert [line[0] for line in follower.told] == ["subscribed", "lost", "event"]


async def test_a_restarted_redis_is_told_as_lost_and_all_goes_on(tmp_path: Path) -> None:
    port = free_port()
    server = valkey.start(tmp_path, port=port)
    async with node(server.url) as one:
        followers = {f"conv:{n}": Follower() for n in range(3)}
        for topic, follower in followers.items():
            await one.follow(follower, topic)
            await one.publish(topic, logged(1))
            await follower.saw(1)
        server.kill()
        server = await asyncio.to_thread(valkey.start, tmp_path, port=port)
        for topic, follower in followers.items():
            await follower.until(lambda follower=follower: follower.of("lost"))
            await one.publish(topic, logged(2))
            await follower.saw(2)
            lost, event = follower.told[-2:]
            assert lost[:2] == ["lost", topic] and event[2] == lost[2].replace(":0", ":1")
            assert event[2] != follower.of("event")[0][2]
    server.kill()


async def test_while_redis_is_away_a_topic_cannot_be_opened_and_leaves_nothing_behind(tmp_path: Path) -> None:
    server = valkey.start(tmp_path, port=free_port())
    async with node(server.url) as one:
        server.kill()
        for _ in range(3):
            opened = await one.hub.open(["conv:1", "conv:2"])
            assert all(isinstance(each, Failure) and each.code == "unavailable" for each in opened.values())
        assert len(one.hub) == 0


# Channels come and go


async def test_a_channel_nobody_follows_is_closed_after_a_while(
    backing: Backing, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.1)
    async with node(backing.redis_url) as one:
        follower = Follower()
        await one.follow(follower, topic)
        one.resume.leave(follower.connection, topic)
        assert len(one.hub) == 1  # a reload comes back to it
        await one.closed()
        await one.follow(follower, topic)
        await one.publish(topic, logged(1))
        await follower.saw(1)


async def test_who_comes_back_in_time_keeps_the_channel(
    backing: Backing, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.05)
    async with node(backing.redis_url) as one:
        follower, other = Follower(), Follower()
        await one.follow(follower, topic)
        await one.follow(other, topic + "2")
        channel = await channel_of(one, topic)
        one.resume.leave(follower.connection, topic)
        one.resume.leave(other.connection, topic + "2")
        await one.follow(follower, topic)
        async with asyncio.timeout(5):
            while len(one.hub) > 1:
                await asyncio.sleep(0.02)
        assert await channel_of(one, topic) is channel
        await one.publish(topic, logged(1))
        await follower.saw(1)


async def test_an_opening_that_was_given_up_leaves_no_channel_behind(
    backing: Backing, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.05)
    async with node(backing.redis_url) as one:
        one.topics.look_gate.clear()
        opening = asyncio.create_task(one.hub.open([topic]))
        await one.topics.answered.wait()
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        async with asyncio.timeout(5):  # several rounds of closing, while it is not open yet
            while one.hub._idle:
                await asyncio.sleep(0.02)
                if one.hub._idle and asyncio.get_running_loop().time() > next(iter(one.hub._idle)).idle_since + 0.3:
                    break
        one.topics.look_gate.set()
        await one.closed()


async def test_many_who_open_one_topic_at_once_share_a_channel(one: Node, topic: str) -> None:
    opened = await asyncio.gather(*(one.hub.open([topic, topic]) for _ in range(20)))
    assert len({id(each[topic]) for each in opened}) == 1
    channel = opened[0][topic]
    assert isinstance(channel, Channel) and channel.pins == 20


# All at once

STEPS = 120


@pytest.mark.parametrize("seed", range(6))
async def test_every_follower_gets_every_event_once_in_order_or_is_told(
    backing: Backing, topic: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random publishes, with messages lost on their way and topics removed, while followers come, go and resume."""
    monkeypatch.setattr(module, "IDLE_S", 0.05)
    dice = random.Random(seed)
    kept = Kept(entries=dice.choice([30, 10_000]))
    removals = seed % 3 == 2
    async with node(backing.redis_url, kept) as one:
        air = one.air
        air.drops = lambda: dice.random() < 0.2
        published: dict[tuple[str, int], str] = {}
        positions = [await one.position(topic)]

        async def publish_for_ever() -> None:
            for n in range(STEPS):
                if removals and n % 40 == 39:
                    await one.topics.remove(topic)
                start = await one.position(topic)
                events = [logged(n * 10 + i) for i in range(dice.randint(1, 5))]
                await one.publish(topic, *events)
                for i, event in enumerate(events, start.offset + 1):
                    published[start.epoch, i] = event.data.decode()
                positions.append(Position(start.epoch, start.offset + len(events)))
                await asyncio.sleep(dice.choice([0, 0, 0.003]))

        async def come_and_go(follower: Follower) -> None:
            for _ in range(dice.randint(1, 4)):
                await asyncio.sleep(dice.random() * 0.15)
                after = None if dice.random() < 0.2 else dice.choice(positions[-dice.randint(1, 60) :])
                item = await one.follow(follower, topic, after)
                follower.connection.write(f"from {after if item.recovered else '-'}\n".encode())
                if dice.random() < 0.2:
                    one.resume.leave(follower.connection, topic)
                if dice.random() < 0.3:
                    follower.room.clear()
                    await asyncio.sleep(dice.random() * 0.02)
                    follower.room.set()
            await one.follow(follower, topic, None)

        followers = [Follower(framing=Lines(shared=dice.random() < 0.7)) for _ in range(12)]
        await asyncio.gather(publish_for_ever(), *map(come_and_go, followers))
        air.drops = lambda: False
        end = await one.position(topic)
        await one.hub.compare(await channel_of(one, topic))
        await one.publish(topic, logged(-1))
        published[end.epoch, end.offset + 1] = "-1"
        for follower in followers:
            last = f"{end.epoch}:{end.offset + 1}"
            await follower.until(
                lambda follower=follower, last=last: any(
                    last == line[2] for line in follower.told[-2:] if len(line) > 2
                )
            )
            judge(follower, published)
        for follower in followers:
            one.resume.end(follower.connection)
        await one.closed()


def judge(follower: Follower, published: dict[tuple[str, int], str]) -> None:
    """Replay what one was told: from each start every number follows the last, with the data that it was given."""
    at: Position | None = None
    answer: Position | None = None
    for line in follower.told:
        match line:
            case ["subscribed", _, position, *_]:
                answer = at = parse_position(position)
            case ["from", start]:
                # Written after the answer; live events of the same turn can't be before it.
                at = answer if start == "-" else parse_position(start)
            case ["lost", _, position]:
                at = parse_position(position)
            case ["event", _, position, _, data]:
                assert at is not None
                now = parse_position(position)
                assert now == Position(at.epoch, at.offset + 1), (at, now, follower.told)
                assert published[now.epoch, now.offset] == data
                at = now
