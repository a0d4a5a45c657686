"""Following with a position: what was missed comes from the log, then the connection joins the live set.

A catch-up is paced by its client: the next chunk is read when the transport has drained. One read serves all who ask
for the same one within a second, as a deploy brings thousands at once. It ends at the hub's offset, where it joins in
the same loop turn. What can't be proven whole is told (`recovered` false, or `lost`), never sent in part.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from protocols.errors import Failure
from protocols.positions import Position
from realtime.channel import Channel
from realtime.connection import Connection, Framing
from realtime.hub import Hub, hand
from stores.topics import Chunk, Topics

CHUNK_ENTRIES = 200
SHARED_S = 1.0
SHARED_MAX = 256


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of one topic of a subscribe. `recovered` stands where `after` was given."""

    topic: str
    channel: Channel
    recovered: bool | None
    after: Position | None  # from where entries are still to come, where recovered


@dataclass(slots=True)
class SharedRead:
    """One read of a log, and the frames made of it: once a wire format, for all who wait for it."""

    task: asyncio.Task[Chunk | None | Failure]
    expires: float
    frames: dict[Framing, list[bytes]] = field(default_factory=dict)

    def framed(self, topic: str, chunk: Chunk, framing: Framing) -> list[bytes]:
        frames = self.frames.get(framing)
        if frames is None:
            frames = self.frames[framing] = [framing.event(topic, chunk.epoch, entry) for entry in chunk.entries]
        return frames


@dataclass(slots=True)
class CatchUp:
    """A topic on its way to its channel's offset. A later subscribe has another generation and makes this one void."""

    channel: Channel
    after: Position
    generation: int


class Resume:
    """`run` owns the reads and the catch-ups."""

    def __init__(self, hub: Hub, topics: Topics) -> None:
        self._hub, self._topics = hub, topics
        self._reads: dict[tuple[str, Position], SharedRead] = {}
        self._behind: dict[Connection, deque[CatchUp]] = {}
        self._tasks = asyncio.TaskGroup()

    async def run(self) -> None:
        async with self._tasks:
            await asyncio.get_running_loop().create_future()

    async def follow(self, wanted: Sequence[tuple[str, Position | None]]) -> list[Followed | Failure]:
        """Open all topics (each named once) and judge their positions. The channels stay pinned: `begin` is to be
        called in the loop turn in which this returns, right after the answer was written."""
        opened = await self._hub.open(topic for topic, _ in wanted)
        judged: list[Followed | Failure] = []
        try:
            judged += await asyncio.gather(*(self._judge(opened[topic], after) for topic, after in wanted))
        finally:
            kept = {item.topic for item in judged if isinstance(item, Followed)}
            for channel in opened.values():
                if isinstance(channel, Channel) and channel.topic not in kept:
                    self._hub.unpin(channel)
        return judged

    async def _judge(self, channel: Channel | Failure, after: Position | None) -> Followed | Failure:
        if isinstance(channel, Failure):
            return channel
        if after is None:
            return Followed(channel.topic, channel, None, None)
        if after == channel.position:
            return Followed(channel.topic, channel, True, after)
        chunk = await asyncio.shield(self._read(channel.topic, after).task)
        if isinstance(chunk, Failure):
            return chunk
        if chunk is not None and (chunk.epoch != channel.epoch or chunk.offset > channel.offset):
            await asyncio.shield(self._hub.fill(channel))
        recovered = chunk is not None and chunk.holds(after) and after.epoch == channel.epoch
        return Followed(channel.topic, channel, recovered, after if recovered else None)

    def begin(self, connection: Connection, followed: Sequence[Followed]) -> None:
        """Join what is at its channel's offset, and catch up with the rest."""
        for item in followed:
            if connection.closing:
                self._hub.unpin(item.channel)
                continue
            self._hub.leave(item.topic, connection)
            connection.generation += 1
            connection.topics[item.topic] = connection.generation
            if item.after is None or item.after == item.channel.position:
                self._hub.join(item.channel, connection)
                self._hub.unpin(item.channel)
                continue
            if connection not in self._behind:
                self._behind[connection] = deque()
                connection.catching_up = self._tasks.create_task(self._catch_up(connection))
            self._behind[connection].append(CatchUp(item.channel, item.after, connection.generation))

    def leave(self, connection: Connection, topic: str) -> bool:
        """Whether the topic was followed."""
        followed = connection.topics.pop(topic, None) is not None
        self._hub.leave(topic, connection)
        return followed

    def end(self, connection: Connection) -> None:
        """Undo all: the connection is gone."""
        connection.closing = True
        if connection.catching_up is not None:
            connection.catching_up.cancel()
            self._abandon(connection)  # here, for a task that is cancelled before its first step runs no `finally`
        for topic in list(connection.topics):
            self.leave(connection, topic)

    async def _catch_up(self, connection: Connection) -> None:
        """Topics in turn, a chunk each, until all have joined."""
        behind = self._behind[connection]
        try:
            while behind:
                item = behind[0]
                await connection.drain()
                if not await self._step(connection, item):
                    behind.rotate(-1)
                elif behind:  # else it ended meanwhile
                    behind.popleft()
                    self._hub.unpin(item.channel)
        except ConnectionError:
            pass  # the client is gone; its handler undoes the rest
        finally:
            self._abandon(connection)

    def _abandon(self, connection: Connection) -> None:
        behind = self._behind.pop(connection, None)
        connection.catching_up = None
        while behind:
            self._hub.unpin(behind.popleft().channel)

    async def _step(self, connection: Connection, item: CatchUp) -> bool:
        """Write the next chunk. Whether the catch-up is over: joined, or void."""
        channel, topic = item.channel, item.channel.topic
        if item.after != channel.position:
            read = self._read(topic, item.after)
            chunk = await asyncio.shield(read.task)
            if isinstance(chunk, Chunk) and ahead(chunk, channel):
                await asyncio.shield(self._hub.fill(channel))
            if connection.topics.get(topic) != item.generation or connection.closing:
                return True
            if isinstance(chunk, Failure) or (chunk is not None and ahead(chunk, channel)):
                # Neither lost nor whole: Redis went away in between. The client resumes from the last id that it saw.
                self.leave(connection, topic)
                connection.unsubscribed([topic], "unavailable", "Subscribe again in a moment.")
                return True
            if chunk is None or not chunk.holds(item.after) or item.after.epoch != channel.epoch:
                connection.lost(topic, channel.position)
                self._hub.join(channel, connection)
                return True
            hand(connection, topic, chunk.epoch, chunk.entries, read.framed(topic, chunk, connection.framing))
            item.after = Position(chunk.epoch, chunk.reached)
        elif connection.topics.get(topic) != item.generation or connection.closing:
            return True
        if item.after == channel.position:
            self._hub.join(channel, connection)
            return True
        return False

    def _read(self, topic: str, after: Position) -> SharedRead:
        """A read under way, or one of the last second that found something; else a new one."""
        now = asyncio.get_running_loop().time()
        read = self._reads.get((topic, after))
        if read is not None and (not read.task.done() or (read.expires >= now and found(read.task.result(), after))):
            return read
        # Oldest first: an answer holds up to a mebibyte, and nobody asks for it later.
        while self._reads and (oldest := next(iter(self._reads.items())))[1].expires < now:
            del self._reads[oldest[0]]
        self._reads.pop((topic, after), None)
        read = SharedRead(self._tasks.create_task(self._chunk(topic, after)), now + SHARED_S)
        if len(self._reads) < SHARED_MAX:
            self._reads[topic, after] = read
        return read

    async def _chunk(self, topic: str, after: Position) -> Chunk | None | Failure:
        try:
            return await self._topics.read(topic, after, CHUNK_ENTRIES)
        except Failure as failure:
            return failure


def ahead(chunk: Chunk, channel: Channel) -> bool:
    """Whether the hub has yet to hand out what the chunk holds. An older epoch's answer is no reason to wait."""
    return chunk.epoch == channel.epoch and chunk.reached > channel.offset


def found(chunk: Chunk | None | Failure, after: Position) -> bool:
    return isinstance(chunk, Chunk) and chunk.holds(after) and chunk.reached > after.offset
