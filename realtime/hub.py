"""The hub: which connections of this process follow which topic, and the way of an event to them.

Invariant: a channel has one offset. All numbered events up to it were handed to every live follower, in order, once;
a follower joins at exactly that offset, in the loop turn that checked it. The publish loop (`receive`, `flush`) is
synchronous: per delivery it costs one `transport.write` of shared bytes and nothing else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from protocols.errors import Failure
from protocols.events import Entry
from protocols.websocket import Close
from realtime.channel import Channel
from realtime.connection import Connection
from stores.subscriber import Subscriber
from stores.topics import Chunk, Topics, parse_message

log = logging.getLogger(__name__)

COMPARE_S = 10.0  # how long the loss of a last event may go unnoticed
COMPARE_TOPICS = 500  # a round trip
IDLE_S = 1.0  # a channel without followers is kept for this long: a reload comes back to it
FILL_ENTRIES = 200  # a read of the log
CHECK_BYTES = 64 << 10  # written to each follower of a channel before their buffers are looked at
# Of its own `user:` topic a connection is not told what the conversation's topic tells it.
WITHHELD = "ConversationUpdated"

Look = Callable[[Sequence[str]], Awaitable[list[Chunk]]]
Hear = Callable[[str, Sequence[Entry]], None]


class Hub:
    """`look` gives out topics' positions; `hear` is told of every event of the channels that are open, `told_lost` of
    those whose continuity was lost. `run` owns all that the hub does by itself."""

    def __init__(
        self,
        topics: Topics,
        subscriber: Subscriber,
        look: Look,
        hear: Hear,
        told_lost: Callable[[str], None],
    ) -> None:
        self._topics, self._subscriber, self._look = topics, subscriber, look
        self._hear, self._told_lost = hear, told_lost
        self._channels: dict[str, Channel] = {}
        self._dirty: dict[Channel, None] = {}
        self._idle: dict[Channel, None] = {}
        self._tasks = asyncio.TaskGroup()
        self.deliveries = 0
        subscriber.on_message, subscriber.on_turn = self.receive, self.flush
        subscriber.on_connected = self._ask_all

    def __len__(self) -> int:
        return len(self._channels)

    async def run(self) -> None:
        async with self._tasks:
            self._tasks.create_task(self._compare_for_ever(), name="hub: compare")
            self._tasks.create_task(self._close_idle(), name="hub: close idle channels")

    # Following

    async def open(self, topics: Iterable[str]) -> dict[str, Channel | Failure]:
        """Each topic's channel, live and pinned until `join` or `unpin`; or why it can't be opened."""
        wanted = list(dict.fromkeys(topics))
        fresh = [topic for topic in wanted if topic not in self._channels]
        loop = asyncio.get_running_loop()
        self._channels |= {topic: Channel(topic, loop.create_future()) for topic in fresh}
        if fresh:
            self._tasks.create_task(self._open([self._channels[topic] for topic in fresh]))
        channels = [self._channels[topic] for topic in wanted]
        for channel in channels:
            channel.pins += 1
        opened: dict[str, Channel | Failure] = {}
        try:
            for channel in channels:
                try:
                    await asyncio.shield(channel.opened)
                    opened[channel.topic] = channel
                except Failure as failure:
                    opened[channel.topic] = failure
        except asyncio.CancelledError:
            for channel in channels:
                self.unpin(channel)
            raise
        return opened

    def unpin(self, channel: Channel) -> None:
        channel.pins -= 1
        self._rest(channel)

    def join(self, channel: Channel, connection: Connection) -> None:
        """From here on the connection is live: it is at the channel's offset now."""
        self._flush(channel)
        lane = channel.lanes.setdefault(connection.framing, {})
        lane[connection] = connection.send
        channel.idle_since = None

    def leave(self, topic: str, connection: Connection) -> None:
        channel = self._channels.get(topic)
        if channel is None:
            return
        lane = channel.lanes.get(connection.framing)
        if lane is not None and lane.pop(connection, None) is not None and not lane:
            del channel.lanes[connection.framing]
        self._rest(channel)

    def _rest(self, channel: Channel) -> None:
        if not channel.lanes and not channel.pins:
            channel.idle_since = asyncio.get_running_loop().time()
            self._idle[channel] = None

    # The way of an event

    def receive(self, topic: str, payload: bytes) -> None:
        """One pub/sub message. What it brings is handed out at the end of this loop turn."""
        channel = self._channels.get(topic)
        if channel is None:
            return
        if channel.held is not None:
            channel.held.append(payload)
            return
        epoch, entries = parse_message(payload) if payload else ("", [])
        if epoch != channel.epoch:
            self._ask(channel)
            return
        for entry in entries:
            if not entry.offset:
                channel.pending.append(entry)
            elif entry.offset == channel.offset + 1:
                channel.offset += 1
                channel.pending.append(entry)
            elif entry.offset > channel.offset:
                channel.wanted = max(channel.wanted, entry.offset)
                self.fill(channel)
        self._dirty[channel] = None

    def flush(self) -> None:
        for channel in self._dirty:
            self._flush(channel)
        self._dirty.clear()

    def _flush(self, channel: Channel) -> None:
        entries = channel.pending
        if not entries:
            return
        channel.pending = []
        self._hear(channel.topic, entries)
        withheld = channel.topic.startswith("user:") and any(entry.type == WITHHELD for entry in entries)
        for framing, lane in channel.lanes.items():
            frames = [framing.event(channel.topic, channel.epoch, entry) for entry in entries]
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            if withheld or not framing.shared:
                for connection in lane:
                    hand(connection, channel.topic, channel.epoch, entries, frames)
            else:
                send_all(lane.values(), data)
            self.deliveries += len(lane) * len(frames)
            channel.unchecked += len(data)
        if channel.unchecked > CHECK_BYTES:
            channel.unchecked = 0
            end_slow(channel.followers())

    # Healing

    def fill(self, channel: Channel) -> asyncio.Task[None]:
        """Hand out from the log what is above the channel's offset; one fill a channel at a time."""
        if channel.filling is None:
            channel.filling = self._tasks.create_task(self._fill(channel))
        return channel.filling

    async def _fill(self, channel: Channel) -> None:
        try:
            while True:
                start = channel.position  # while the answer is on its way, live events may pass it
                chunk = await self._topics.read(channel.topic, start, FILL_ENTRIES)
                if chunk is not None and chunk.holds(start):
                    channel.pending += [entry for entry in chunk.entries if entry.offset > channel.offset]
                    channel.offset = max(channel.offset, chunk.reached)
                    self._flush(channel)
                    if channel.offset >= max(chunk.offset, channel.wanted):
                        return
                elif channel.position == start:
                    await self._begin_again(channel)  # and read once more: something may have passed this, too
        except Failure as failure:  # compared again when Redis is back
            log.warning("%s can't be filled: %s", channel.topic, failure)
        finally:
            channel.filling = None

    async def _begin_again(self, channel: Channel) -> None:
        """Continuity can't be proven: every live follower is told, and goes on from the new position."""
        [chunk] = await self._look([channel.topic])
        self._flush(channel)
        self._told_lost(channel.topic)
        if chunk.epoch == channel.epoch:
            channel.offset = max(channel.offset, chunk.offset)
        else:
            channel.epoch, channel.offset, channel.wanted = chunk.epoch, chunk.offset, 0
        for connection in channel.followers():
            connection.lost(channel.topic, channel.position)

    async def _open(self, channels: Sequence[Channel]) -> None:
        topics = [channel.topic for channel in channels]
        try:
            await self._subscriber.subscribe(topics)
            chunks = await self._look(topics)
        except Failure as failure:
            self._subscriber.unsubscribe(topics)
            for channel in channels:
                del self._channels[channel.topic]
                channel.opened.set_exception(failure)
                channel.opened.exception()  # told to whoever waits; nobody has to
            return
        for channel, chunk in zip(channels, chunks, strict=True):
            channel.epoch, channel.offset = chunk.epoch, chunk.offset
            held, channel.held = channel.held or [], None
            for payload in held:
                self.receive(channel.topic, payload)
            channel.opened.set_result(None)
        self.flush()

    async def _compare(self, channels: Sequence[Channel]) -> None:
        try:
            chunks = await self._look([channel.topic for channel in channels])
        except Failure as failure:
            log.warning("positions can't be compared: %s", failure)
            return
        finally:
            for channel in channels:
                channel.asking = False
        for channel, chunk in zip(channels, chunks, strict=True):
            if channel.held is None and (chunk.epoch != channel.epoch or chunk.offset > channel.offset):
                channel.wanted = max(channel.wanted, chunk.offset) if chunk.epoch == channel.epoch else 0
                self.fill(channel)

    async def compare(self, channel: Channel) -> None:
        """Look at once whether the channel has missed something."""
        await self._compare([channel])

    def _ask(self, channel: Channel) -> None:
        if not channel.asking:
            channel.asking = True
            self._tasks.create_task(self._compare([channel]))

    def _ask_all(self) -> None:
        self._tasks.create_task(self._compare_all())

    async def _compare_all(self) -> None:
        channels = [channel for channel in self._channels.values() if channel.held is None]
        for i in range(0, len(channels), COMPARE_TOPICS):
            await self._compare(channels[i : i + COMPARE_TOPICS])

    async def _compare_for_ever(self) -> None:
        while True:
            await asyncio.sleep(COMPARE_S)
            await self._compare_all()

    async def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(IDLE_S)
            idle, self._idle = self._idle, {}
            gone = []
            for channel in idle:
                if channel.lanes or channel.pins or channel.idle_since is None:
                    continue
                if self._channels.get(channel.topic) is not channel:
                    continue  # it could not be opened
                opening = channel.held is not None
                if opening or channel.filling is not None or loop.time() - channel.idle_since < IDLE_S:
                    self._idle[channel] = None
                    continue
                del self._channels[channel.topic]
                gone.append(channel.topic)
            self._subscriber.unsubscribe(gone)


def send_all(sends: Iterable[Callable[[bytes], None]], data: bytes) -> None:
    """The same bytes to all. A transport whose client has gone raises, until its handler has taken it out: that one is
    passed over, and the loop goes on where it was."""
    rest = iter(sends)
    while True:
        try:
            for send in rest:
                send(data)
            return
        except RuntimeError:
            continue


def hand(connection: Connection, topic: str, epoch: str, entries: Sequence[Entry], frames: Sequence[bytes]) -> None:
    """Entries and their frames to one connection, without what it is told elsewhere."""
    kept = [
        i
        for i, entry in enumerate(entries)
        if entry.type != WITHHELD or f"conv:{entry.key}" not in connection.topics or not topic.startswith("user:")
    ]
    if kept:
        connection.deliver(topic, epoch, [entries[i] for i in kept], [frames[i] for i in kept])


def end_slow(connections: Iterable[Connection]) -> None:
    for connection in connections:
        if connection.too_slow:
            connection.end(Close.TOO_SLOW, "too slow: resume from the last id")
