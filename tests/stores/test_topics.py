"""Topics over a real Redis: what enters a log, in which order it comes back, and what is never said twice."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from deploy.local import valkey
from protocols.errors import Failure
from protocols.events import Entry, Event, Kind
from protocols.positions import Position
from stores.redis import open_redis
from stores.topics import Chunk, Kept, Topics, keys, parse_message
from stores.wire import Line
from tests.backing import Backing
from tests.web import free_port

ALL = 10_000


@pytest.fixture
async def redis(backing: Backing) -> AsyncIterator[Redis]:
    client = open_redis(backing.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def line(backing: Backing) -> AsyncIterator[Line]:
    made = Line(backing.redis_url)
    yield made
    made.close()


@pytest.fixture
def topics(line: Line) -> Topics:
    return Topics(line)


@pytest.fixture
def topic() -> str:
    return f"conv:{secrets.token_hex(8)}"


def message(seq: int) -> Event:
    return Event("MessageReceived", b'{"n":%d}' % seq, actor_id="ann", key=f"{seq}:text", seq=seq)


def log(n: int, **more: object) -> Event:
    return replace(Event("SessionRevoked", b'{"n":%d}' % n), **more)


def state(key: str, version: int | None, n: int = 0, **more: object) -> Event:
    return replace(Event("MessageRead", b'{"n":%d}' % n, key=key, version=version), **more)


TYPING = Event("TypingStarted", b"{}", actor_id="ann")


async def begin(topics: Topics, topic: str, seq: int = 0) -> Position:
    [chunk] = await topics.look([topic], {topic: seq})
    assert chunk is not None
    return chunk.position


async def publish(topics: Topics, topic: str, *events: Event) -> tuple[str, ...]:
    [answers] = await topics.publish([(topic, events)])
    assert not answers.dropped
    return answers.each


async def read(topics: Topics, topic: str, after: Position, most: int = ALL) -> Chunk:
    chunk = await topics.read(topic, after, most)
    assert chunk is not None
    return chunk


@asynccontextmanager
async def listening(redis: Redis, topic: str) -> AsyncIterator[Callable[[], "asyncio.Future[bytes]"]]:
    """What comes over the topic's channel, one payload a call."""
    pubsub: PubSub = redis.pubsub(ignore_subscribe_messages=False)
    async with pubsub:
        await pubsub.subscribe(topic)
        await pubsub.get_message(timeout=5)

        async def payload() -> bytes:
            heard = await pubsub.get_message(timeout=5)
            assert heard is not None, "nothing was published"
            return bytes(heard["data"])

        yield payload  # type: ignore[misc]


# What enters, and what comes back


async def test_log_and_state_events_are_numbered_and_ephemeral_ones_only_published(
    redis: Redis, topics: Topics, topic: str
) -> None:
    start = await begin(topics, topic)
    async with listening(redis, topic) as heard:
        assert await publish(topics, topic, log(1), TYPING, state("bob", 7), log(2)) == ("ok",) * 4
        epoch, lines = parse_message(await heard())
    assert epoch == start.epoch
    assert lines == [
        Entry(1, "SessionRevoked", "", "", None, b'{"n":1}'),
        Entry(0, "TypingStarted", "ann", "", None, b"{}"),
        Entry(2, "MessageRead", "", "bob", 7, b'{"n":0}'),
        Entry(3, "SessionRevoked", "", "", None, b'{"n":2}'),
    ]
    chunk = await read(topics, topic, start)
    assert list(chunk.entries) == [line for line in lines if line.offset]
    assert (chunk.offset, chunk.floor, chunk.reached) == (3, 0, 3)


async def test_data_with_tabs_in_it_comes_back_as_it_was(topics: Topics, topic: str) -> None:
    start = await begin(topics, topic)
    data = '{"text":"a\tb\t\t","é":"\u2028"}'.encode()
    await publish(topics, topic, Event("SessionRevoked", data))
    assert [entry.data for entry in (await read(topics, topic, start)).entries] == [data]


async def test_each_event_of_a_batch_gets_its_own_answer(topics: Topics, topic: str) -> None:
    start = await begin(topics, topic, seq=4)
    answers = await publish(topics, topic, message(4), message(5), message(7), log(1), message(5), message(6))
    assert answers == ("old", "ok", "early:5", "ok", "old", "ok")
    assert [entry.data for entry in (await read(topics, topic, start)).entries] == [b'{"n":5}', b'{"n":1}', b'{"n":6}']


async def test_a_change_to_a_message_is_early_until_the_message_is_there(topics: Topics, topic: str) -> None:
    await begin(topics, topic)
    edit = log(0, after_seq=2)
    mark = state("bob", 1, after_seq=2)
    assert await publish(topics, topic, message(1), edit, mark) == ("ok", "early:1", "early:1")
    assert await publish(topics, topic, message(2), edit, mark) == ("ok", "ok", "ok")


async def test_only_a_greater_version_replaces_a_state(topics: Topics, topic: str) -> None:
    start = await begin(topics, topic)
    assert await publish(topics, topic, state("bob", 5, 1), state("bob", 5, 2), state("bob", 4, 3)) == (
        "ok",
        "old",
        "old",
    )
    assert await publish(topics, topic, state("eve", 1, 4), state("bob", 6, 5)) == ("ok", "ok")
    chunk = await read(topics, topic, start)
    assert [(entry.offset, entry.key, entry.version) for entry in chunk.entries] == [(2, "eve", 1), (3, "bob", 6)]
    assert chunk.floor == 0  # a superseded state is not missing


async def test_keys_of_different_types_are_different_states(topics: Topics, topic: str) -> None:
    start = await begin(topics, topic)
    other = Event("ConversationUpdated", b"{}", key="bob", version=1)
    assert await publish(topics, topic, state("bob", 5), other) == ("ok", "ok")
    assert len((await read(topics, topic, start)).entries) == 2


async def test_a_state_without_a_version_is_stamped_above_the_last_one(topics: Topics, topic: str) -> None:
    start = await begin(topics, topic)
    ahead = 1 << 50  # of any clock
    await publish(topics, topic, state("a", None), state("b", ahead), state("b", None), state("b", None))
    [a, b] = (await read(topics, topic, start)).entries
    assert a.version is not None and 1_700_000_000_000 < a.version < ahead
    assert b.version == ahead + 2


async def test_once_refuses_the_repeat_however_often_it_comes(topics: Topics, topic: str) -> None:
    await begin(topics, topic)
    assert await publish(topics, topic, log(1, once="k1"), log(1, once="k1"), log(2, once="k2")) == ("ok", "old", "ok")
    assert await publish(topics, topic, log(1, once="k1")) == ("old",)


async def test_what_is_refused_is_not_published(redis: Redis, topics: Topics, topic: str) -> None:
    await begin(topics, topic)
    async with listening(redis, topic) as heard:
        await publish(topics, topic, message(3))  # early
        await publish(topics, topic, message(1))
        assert [entry.offset for entry in parse_message(await heard())[1]] == [1]


# Trimming


async def test_the_newest_are_kept_and_the_floor_tells_the_last_one_dropped(line: Line, topic: str) -> None:
    topics = Topics(line, Kept(entries=3))
    start = await begin(topics, topic)
    await publish(topics, topic, *(log(n) for n in range(1, 8)))
    chunk = await read(topics, topic, start)
    assert (chunk.offset, chunk.floor, chunk.entries) == (7, 4, ())
    assert not chunk.holds(start)
    kept = await read(topics, topic, replace(start, offset=4))
    assert [entry.offset for entry in kept.entries] == [5, 6, 7]
    assert kept.holds(replace(start, offset=4)) and not kept.holds(replace(start, offset=3))


async def test_bytes_are_bounded_and_given_back_by_superseded_states(redis: Redis, line: Line, topic: str) -> None:
    topics = Topics(line, Kept(bytes=1_000))
    start = await begin(topics, topic)
    for version in range(1, 50):
        await publish(topics, topic, Event("MessageRead", b"x" * 300, key="bob", version=version))
    assert (await read(topics, topic, start)).floor == 0
    await publish(topics, topic, *(Event("SessionRevoked", b"x" * 300) for _ in range(4)))
    chunk = await read(topics, topic, replace(start, offset=50))
    size = int(await redis.hget(keys(topic)[0], "bytes"))
    assert size == sum(map(len, await redis.zrange(keys(topic)[1], 0, -1))) <= 1_000
    assert chunk.floor == 51 and not chunk.holds(replace(start, offset=50))


async def test_an_event_greater_than_the_log_is_published_and_not_kept(redis: Redis, line: Line, topic: str) -> None:
    topics = Topics(line, Kept(bytes=100))
    await begin(topics, topic)
    async with listening(redis, topic) as heard:
        await publish(topics, topic, Event("SessionRevoked", b"x" * 500))
        assert [entry.offset for entry in parse_message(await heard())[1]] == [1]
    [chunk] = await topics.look([topic])
    assert chunk is not None and (chunk.offset, chunk.floor) == (1, 1)


async def test_old_entries_go_at_the_next_look(redis: Redis, line: Line, topic: str) -> None:
    topics = Topics(line, Kept(age_ms=30))
    await begin(topics, topic)
    await publish(topics, topic, log(1, once="k"), state("bob", 9))
    async with asyncio.timeout(5):
        while True:
            [chunk] = await topics.look([topic])
            if chunk is not None and chunk.floor == 2:
                break
            await asyncio.sleep(0.01)
    assert not await redis.exists(*keys(topic)[1:])
    assert await publish(topics, topic, log(1, once="k")) == ("ok",)  # remembered as long as the log


# Epochs


async def test_publishing_makes_no_epoch_but_drops_and_pokes(redis: Redis, topics: Topics, topic: str) -> None:
    async with listening(redis, topic) as heard:
        [answers] = await topics.publish([(topic, [log(1), log(2)])])
        assert await heard() == b""
    assert answers.dropped and answers.each == ("ok", "ok")
    assert not await redis.exists(*keys(topic))


async def test_look_makes_epochs_only_where_it_is_asked_to(redis: Redis, topics: Topics, topic: str) -> None:
    other = topic + "x"
    one, none = await topics.look([topic, other], {topic: 3})
    assert one is not None and (one.offset, one.floor) == (0, 0) and none is None
    assert not await redis.exists(*keys(other))
    assert await publish(topics, topic, message(3), message(4)) == ("old", "ok")
    [again] = await topics.look([topic], {topic: 9})
    assert again is not None and again.position == Position(one.epoch, 1)
    assert await publish(topics, topic, message(5)) == ("ok",)  # the 9 was for a new epoch only


async def test_a_read_of_a_topic_without_epoch_answers_none_and_makes_none(topics: Topics, topic: str) -> None:
    assert await topics.read(topic, Position("aaaaaaaa", 0), 10) is None
    assert await topics.look([topic]) == [None]


async def test_a_removed_topic_pokes_and_its_next_epoch_is_another(redis: Redis, topics: Topics, topic: str) -> None:
    start = await begin(topics, topic)
    await publish(topics, topic, log(1))
    async with listening(redis, topic) as heard:
        await topics.remove(topic)
        assert await heard() == b""
    assert not await redis.exists(*keys(topic))
    after = await begin(topics, topic)
    assert after.epoch != start.epoch and after.offset == 0


@pytest.mark.parametrize(("kind", "seconds"), [("conv", 30 * 86_400), ("user", 900), ("timeline", 900), ("conn", 30)])
async def test_each_look_and_publish_renews_the_life_of_all_keys(
    redis: Redis, line: Line, kind: str, seconds: int
) -> None:
    topics, topic = Topics(line), f"{kind}:{secrets.token_hex(8)}"
    await begin(topics, topic)
    await publish(topics, topic, log(1, once="k"))
    for act in (lambda: topics.look([topic]), lambda: topics.publish([(topic, [log(2)])])):
        for key in keys(topic):
            await redis.expire(key, 5)
        await act()
        left = [await redis.ttl(key) for key in keys(topic)]
        assert all(seconds - 2 <= one <= seconds for one in left), left


# Reading


async def test_a_read_in_chunks_says_how_far_each_reaches(topics: Topics, topic: str) -> None:
    start = await begin(topics, topic)
    await publish(topics, topic, *(log(n) for n in range(1, 6)), state("a", 1), state("a", 2))
    got, at = [], start
    while at.offset < 7:
        chunk = await read(topics, topic, at, most=2)
        assert chunk.holds(at) and at.offset < chunk.reached <= 7 and len(chunk.entries) <= 2
        got += [entry.offset for entry in chunk.entries]
        at = replace(at, offset=chunk.reached)
    assert got == [1, 2, 3, 4, 5, 7]


@pytest.mark.parametrize("after", [Position("zzzzzzzz", 0), Position("zzzzzzzz", 3)])
async def test_another_epochs_position_gets_no_entries(topics: Topics, topic: str, after: Position) -> None:
    await begin(topics, topic)
    await publish(topics, topic, log(1), log(2), log(3))
    chunk = await read(topics, topic, after)
    assert chunk.entries == () and not chunk.holds(after)


async def test_an_offset_that_was_never_given_out_is_not_held(topics: Topics, topic: str) -> None:
    start = await begin(topics, topic)
    await publish(topics, topic, log(1))
    for offset in (2, 10**15 - 1):
        ahead = replace(start, offset=offset)
        chunk = await read(topics, topic, ahead)
        assert chunk.entries == () and not chunk.holds(ahead)


# Turns


async def test_a_turn_is_one_holders_until_it_ends(topics: Topics, topic: str) -> None:
    assert await topics.take_turn(topic, "p1", 100) is None
    await begin(topics, topic)
    mine = await topics.take_turn(topic, "p1", 200)
    theirs = await topics.take_turn(topic, "p2", 200)
    assert mine is not None and (mine.holder, mine.left_ms) == ("p1", 200)
    assert theirs is not None and theirs.holder == "p1" and theirs.left_ms <= 200
    [answers] = await topics.publish([(topic, [log(1)])])
    assert answers.turn is not None and answers.turn.holder == "p1"
    async with asyncio.timeout(5):
        while (now := await topics.take_turn(topic, "p2", 200)) is None or now.holder != "p2":
            await asyncio.sleep(0.01)


# The script against a model


@dataclass
class Model:
    """The same rules in plain Python. A stamped version counts as STAMP."""

    kept: int
    offset: int = 0
    floor: int = 0
    seq: int = 0
    lines: list[tuple[Entry, str]] = field(default_factory=list)  # with the `once` that goes with it

    STAMP = 1 << 40

    def publish(self, event: Event) -> str:
        if event.seq and event.seq <= self.seq:
            return "old"
        if (event.seq and event.seq > self.seq + 1) or event.after_seq > self.seq:
            return f"early:{self.seq}"
        if event.once and any(once == event.once for _, once in self.lines):
            return "old"
        version, is_state = event.version, event.kind is Kind.STATE
        if is_state:
            same = [line for line in self.lines if (line[0].type, line[0].key) == (event.type, event.key)]
            last = same[0][0].version if same else None
            if version is None:
                version = self.STAMP
            elif last is not None and version <= last:
                return "old"
            self.lines = [line for line in self.lines if line not in same]
        if event.kind is not Kind.EPHEMERAL:
            self.offset += 1
            entry = Entry(self.offset, event.type, event.actor_id, event.key, version, event.data)
            self.lines.append((entry, event.once))
            self.seq = event.seq or self.seq
        return "ok"

    def trim(self) -> None:
        while len(self.lines) > self.kept:
            self.floor = self.lines.pop(0)[0].offset

    def read(self, after: int, most: int) -> tuple[int, int, int, list[Entry]]:
        entries = [entry for entry, _ in self.lines if entry.offset > after][:most]
        entries = entries if self.floor <= after < self.offset else []
        return self.offset, self.floor, entries[-1].offset if len(entries) == most else self.offset, entries


def any_event(dice: random.Random, seq: int, n: int) -> Event:
    data = b'{"n":%d}' % n
    match dice.randrange(5):
        case 0:
            return Event("MessageReceived", data, seq=max(1, seq + dice.randint(-1, 2)))
        case 1:
            return Event("SessionRevoked", data, once=dice.choice(["", "a", "b", "c"]))
        case 2:
            return Event("AccessChanged", data, after_seq=max(0, seq + dice.randint(-2, 1)))
        case 3:
            version = dice.choice([None, *range(1, 12)])
            return Event("MessageRead", data, key=dice.choice("xyz"), version=version, after_seq=max(0, seq - 1))
        case _:
            return TYPING


def plain(entries: Sequence[Entry]) -> list[Entry]:
    stamped = [entry for entry in entries if (entry.version or 0) > Model.STAMP]
    return [replace(entry, version=Model.STAMP) if entry in stamped else entry for entry in entries]


@pytest.mark.parametrize("seed", range(8))
async def test_the_script_does_what_the_model_does(line: Line, topic: str, seed: int) -> None:
    dice = random.Random(seed)
    kept = dice.choice([1, 5, 20])
    topics, model = Topics(line, Kept(entries=kept)), Model(kept)
    epoch = (await begin(topics, topic)).epoch
    for step in range(150):
        seq, batch, answers = model.seq, [], []
        for n in range(dice.randint(1, 4)):
            batch.append(any_event(dice, seq, step * 10 + n))
            answers.append(model.publish(batch[-1]))
        model.trim()
        assert list(await publish(topics, topic, *batch)) == answers, (step, batch)
        after, most = dice.randint(max(0, model.offset - kept - 3), model.offset + 1), dice.randint(1, 6)
        chunk = await read(topics, topic, Position(epoch, after), most)
        got = (chunk.offset, chunk.floor, chunk.reached, plain(chunk.entries))
        assert got == model.read(after, most), (step, after, most)
    assert model.offset > 100 and (kept > 5 or model.floor > 50)


# A server of one's own, to damage


@pytest.fixture
async def damaged(tmp_path: Path) -> AsyncIterator["Damaged"]:
    server = Damaged(tmp_path, free_port())
    yield server
    server.line.close()
    await server.redis.aclose()
    server.running.kill()


class Damaged:
    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.running = valkey.start(folder, port=port)
        self.redis, self.line = open_redis(self.running.url), Line(self.running.url)
        self.topics = Topics(self.line)

    def start(self) -> None:
        self.running = valkey.start(self.folder, port=self.port)

    def cut(self, size: int) -> None:
        """Take `size` bytes off the end of what was appended."""
        [file] = (self.folder / "data" / "appendonlydir").glob("*.incr.aof")
        content = file.read_bytes()
        file.write_bytes(content[: max(0, len(content) - size)])


async def test_a_clean_restart_begins_a_new_epoch_with_an_empty_log(damaged: Damaged) -> None:
    topics, topic = damaged.topics, "conv:1"
    start = await begin(topics, topic)
    await publish(topics, topic, message(1), state("bob", 5))
    damaged.running.stop()
    with pytest.raises(Failure) as refused:
        await topics.publish([(topic, [message(2)])])
    assert refused.value.code == "unavailable"
    damaged.start()
    assert await damaged.redis.hget(keys(topic)[0], "epoch") == start.epoch.encode()  # the file had it all
    assert await topics.look([topic]) == [None]
    after = await begin(topics, topic, seq=1)
    assert after.epoch != start.epoch and after.offset == 0
    assert await publish(topics, topic, message(1), message(2), state("bob", 1)) == ("old", "ok", "ok")


async def test_the_first_publish_after_a_restart_drops_what_is_left_and_pokes(damaged: Damaged) -> None:
    topics, topic = damaged.topics, "conv:1"
    await begin(topics, topic)
    await publish(topics, topic, message(1))
    damaged.running.kill()
    damaged.start()
    async with listening(damaged.redis, topic) as heard:
        [answers] = await topics.publish([(topic, [message(2)])])
        assert answers.dropped and await heard() == b""
    assert not await damaged.redis.exists(*keys(topic))


@pytest.mark.parametrize("cut", [0, 1, 300, 2_000, 1 << 30])
async def test_a_file_that_lost_its_tail_never_gives_a_used_number_under_an_old_epoch(
    damaged: Damaged, cut: int
) -> None:
    topics, topic = damaged.topics, "conv:1"
    start = await begin(topics, topic)
    for seq in range(1, 101):
        await publish(topics, topic, message(seq))
    used = {(start.epoch, offset) for offset in range(1, 101)}
    damaged.running.kill()
    damaged.cut(cut)
    damaged.start()
    back = int(await damaged.redis.hget(keys(topic)[0], "offset") or 0)
    assert back < 100 if cut >= 300 else back >= 99  # the cut does what it is here for
    last = Position(start.epoch, 100)
    chunk = await topics.read(topic, last, 10)
    assert chunk is None or not chunk.holds(last)
    after = await begin(topics, topic, seq=100)
    await publish(topics, topic, message(101), log(1))
    entries = (await read(topics, topic, after)).entries
    assert len(entries) == 2
    assert not used & {(after.epoch, entry.offset) for entry in entries}


async def test_without_redis_every_method_says_unavailable() -> None:
    topics = Topics(Line(f"redis://127.0.0.1:{free_port()}/0"))
    position = Position("aaaaaaaa", 1)
    for call in (
        topics.publish([("feed", [log(1)])]),
        topics.look(["feed"], {"feed": 0}),
        topics.read("feed", position, 1),
        topics.take_turn("feed", "p", 1),
        topics.remove("feed"),
    ):
        with pytest.raises(Failure) as refused:
            await call
        assert refused.value.code == "unavailable"
    assert await topics.publish([]) == []
