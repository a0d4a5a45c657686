"""One client's connection, whatever its protocol: what it follows, and how bytes reach it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from protocols.events import Entry
from protocols.identity import Viewer
from protocols.positions import Position

# What may wait in a transport: a live buffer above this closes the connection, which can resume.
LIVE_BUFFER_BYTES = 1 << 20
# From here on a transport is not drained; a catch-up waits, live events do not.
DRAINED_BYTES = 64 << 10


class Framing(Protocol):
    """A wire format: pure functions from events to ready bytes. Connections that share one share the bytes."""

    heartbeat: bytes

    def event(self, topic: str, epoch: str, entry: Entry) -> bytes: ...

    def lost(self, topic: str, position: Position) -> bytes: ...

    def unsubscribed(self, topics: Iterable[str], code: str, message: str) -> bytes: ...

    def reconnect(self, in_ms: int) -> bytes: ...


class Connection:
    """`write` takes ready bytes and never waits; `drain` waits until the transport is nearly empty; `end` closes with
    a code and a reason and may be called again.

    `topics` maps what is followed to a generation, which counts the subscribes of this connection: what an earlier
    subscribe began (a catch-up) is void when its generation has passed.
    """

    __slots__ = (
        "__weakref__",
        "catching_up",
        "closing",
        "drain",
        "end",
        "framing",
        "generation",
        "id",
        "silent",
        "topics",
        "transport",
        "viewer",
        "write",
    )

    def __init__(
        self,
        connection_id: str,
        viewer: Viewer,
        framing: Framing,
        transport: asyncio.WriteTransport,
        drain: Callable[[], Awaitable[None]],
        end: Callable[[int, str], None],
    ) -> None:
        self.id, self.viewer, self.framing = connection_id, viewer, framing
        self.transport, self.write, self.drain, self.end = transport, transport.write, drain, end
        transport.set_write_buffer_limits(high=DRAINED_BYTES, low=DRAINED_BYTES // 4)
        self.topics: dict[str, int] = {}
        self.generation = 0
        self.catching_up: asyncio.Task[None] | None = None
        self.silent = 0  # heartbeats since the client was last heard
        self.closing = False

    @property
    def too_slow(self) -> bool:
        return self.transport.get_write_buffer_size() > LIVE_BUFFER_BYTES
