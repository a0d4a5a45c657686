"""The realtime floor over a real Redis, with followers whose transport only writes down what it is given."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from protocols.events import Entry, Event
from protocols.identity import Viewer
from protocols.positions import Position, parse_position
from realtime.connection import Connection
from realtime.hub import Hub
from realtime.resume import Followed, Resume
from stores.subscriber import Subscriber
from stores.topics import Chunk, Kept, Topics
from stores.wire import Line

WAIT_S = 5.0  # less than the hub takes to find by itself what was lost


class Lines:
    """A wire format of one line a frame."""

    heartbeat = b"ping\n"

    def __init__(self, shared: bool = True) -> None:
        self.shared = shared
        self.made = 0

    def event(self, topic: str, epoch: str, entry: Entry) -> bytes:
        self.made += 1
        return b"event %s %s:%d %s %s\n" % (
            topic.encode(),
            epoch.encode(),
            entry.offset,
            entry.type.encode(),
            entry.data,
        )

    def lost(self, topic: str, position: Position) -> bytes:
        return f"lost {topic} {position}\n".encode()

    def unsubscribed(self, topics: Iterable[str], code: str, message: str) -> bytes:
        return f"unsubscribed {','.join(topics)} {code}\n".encode()

    def reconnect(self, in_ms: int) -> bytes:
        return f"reconnect {in_ms}\n".encode()


LINES = Lines()
KEPT = Kept()


class Paper:
    """A transport that keeps every write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.waiting = 0  # bytes that "the kernel did not take"
        self.closing = self.aborted = False
        self.written = asyncio.Event()

    def write(self, data: bytes) -> None:
        if self.closing:
            raise RuntimeError("the handler is closed")  # as uvloop's does
        self.writes.append(data)
        self.written.set()

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        self.closing = self.aborted = True


class Follower:
    """A connection and what it was told, as lines split into words."""

    def __init__(
        self, user_id: str = "ann", session_id: str = "s1", framing: Lines = LINES, expires_at: float = 1e12
    ) -> None:
        self.paper = Paper()
        self.ends: list[tuple[int, str]] = []
        self.room = asyncio.Event()  # set: the transport is drained
        self.room.set()
        viewer = Viewer(user_id, session_id, user_id, (), expires_at)
        transport = cast(asyncio.WriteTransport, self.paper)
        self.connection = Connection(secrets.token_hex(4), viewer, framing, transport, self._drain, self._end)
        self.on_end: Callable[[Connection], None] = lambda connection: None

    async def _drain(self) -> None:
        await self.room.wait()

    def _end(self, code: int, reason: str) -> None:
        if not self.connection.closing:
            self.ends.append((code, reason))
            self.on_end(self.connection)

    @property
    def told(self) -> list[list[str]]:
        return [line.split(" ", 4) for line in b"".join(self.paper.writes).decode().splitlines()]

    def of(self, word: str) -> list[list[str]]:
        return [line for line in self.told if line[0] == word]

    @property
    def offsets(self) -> list[int]:
        return [parse_position(line[2]).offset for line in self.of("event")]

    async def until(self, done: Callable[[], object], wait_s: float = WAIT_S) -> None:
        """Wait for what this follower is told to be as `done` wants it."""
        try:
            async with asyncio.timeout(wait_s):
                while not done():
                    self.paper.written.clear()
                    await self.paper.written.wait()
        except TimeoutError:
            raise AssertionError(f"in vain; told was {self.told[-12:]}") from None

    async def saw(self, count: int) -> None:
        await self.until(lambda: len(self.of("event")) >= count)


class Gated(Topics):
    """Topics whose answers can be held back on their way, and that count their reads."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.reads = 0
        self.read_gate, self.look_gate = asyncio.Event(), asyncio.Event()
        self.read_gate.set()
        self.look_gate.set()
        self.answered = asyncio.Event()  # an answer waits at a gate

    async def read(self, topic: str, after: Position, most: int) -> Chunk | None:
        self.reads += 1
        chunk = await super().read(topic, after, most)
        await self._pass(self.read_gate)
        return chunk

    async def look(self, topics: Sequence[str], seqs: dict[str, int] | None = None) -> list[Chunk | None]:
        chunks = await super().look(topics, seqs)
        await self._pass(self.look_gate)
        return chunks

    async def _pass(self, gate: asyncio.Event) -> None:
        if not gate.is_set():
            self.answered.set()
            await gate.wait()


class Air:
    """What lies between Redis and a hub: messages may be kept back here, and let go or lost."""

    def __init__(self, hub: Hub, subscriber: Subscriber) -> None:
        self._receive, self._flush = hub.receive, hub.flush
        self.still = False
        self.kept: list[tuple[str, bytes]] = []
        self.came = asyncio.Event()
        self.drops: Callable[[], bool] = lambda: False
        subscriber.on_message = self._hear

    def _hear(self, topic: str, payload: bytes) -> None:
        if self.still:
            self.kept.append((topic, payload))
            self.came.set()
        elif not self.drops():
            self._receive(topic, payload)

    async def keeps(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.kept) < count:
                self.came.clear()
                await self.came.wait()

    def let_go(self, which: slice = slice(None)) -> None:
        """Hand on what was kept, in order, in one loop turn; what `which` leaves out is lost."""
        self.still = False
        for topic, payload in self.kept[which]:
            self._receive(topic, payload)
        self.kept.clear()
        self._flush()


@dataclass
class Node:
    """One process's realtime floor."""

    topics: Gated
    subscriber: Subscriber
    hub: Hub
    resume: Resume
    air: Air
    heard: list[Entry]
    lost: list[str]

    async def follow(self, follower: Follower, topic: str, after: Position | None = None) -> Followed:
        """As a handler does: the answer is written, then it begins, in one turn."""
        [item] = await self.resume.follow([(topic, after)])
        assert isinstance(item, Followed), item
        recovered = "-" if item.recovered is None else str(item.recovered).lower()
        follower.connection.write(f"subscribed {topic} {item.channel.position} {recovered}\n".encode())
        self.resume.begin(follower.connection, [item])
        return item

    async def publish(self, topic: str, *events: Event) -> None:
        [answers] = await self.topics.publish([(topic, events)])
        assert not answers.dropped and set(answers.each) == {"ok"}, answers

    async def position(self, topic: str) -> Position:
        [chunk] = await self.topics.look([topic], {topic: 0})
        assert chunk is not None
        return chunk.position

    async def closed(self, seconds: float = 5) -> None:
        """Wait until the hub holds nothing."""
        async with asyncio.timeout(seconds):
            while len(self.hub):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def node(url: str, kept: Kept = KEPT) -> AsyncIterator[Node]:
    line = Line(url)
    topics, subscriber = Gated(line, kept), Subscriber(url)
    heard: list[Entry] = []
    lost: list[str] = []

    async def look(names: Sequence[str]) -> list[Chunk]:
        return cast(list[Chunk], await topics.look(names, dict.fromkeys(names, 0)))

    hub = Hub(topics, subscriber, look, lambda topic, entries: heard.extend(entries), lost.append)
    air, connected = Air(hub, subscriber), asyncio.Event()
    ask_all = subscriber.on_connected
    subscriber.on_connected = lambda: (ask_all(), connected.set())[0]
    resume = Resume(hub, topics)
    loops = [asyncio.create_task(loop) for loop in (subscriber.run(), hub.run(), resume.run())]
    try:
        async with asyncio.timeout(WAIT_S):
            await connected.wait()
        yield Node(topics, subscriber, hub, resume, air, heard, lost)
        failed = [loop for loop in loops if loop.done()]
        assert not failed, failed
    finally:
        for loop in reversed(loops):
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
        line.close()


def logged(n: int) -> Event:
    return Event("SessionRevoked", b"%d" % n)
