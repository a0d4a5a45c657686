"""One client's connection, whatever its protocol: what it follows, and how bytes reach it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from protocols.events import Entry
from protocols.identity import Viewer
from protocols.positions import Position

# What may wait in a transport: a live buffer above this closes the connection, which can resume.
LIVE_BUFFER_BYTES = 1 << 20
# From here on a transport is not drained; a catch-up waits, live events do not.
DRAINED_BYTES = 64 << 10


class Framing(Protocol):
    """A wire format: pure functions from events to ready bytes. Where it is `shared`, connections share the very bytes
    of an event; where not, each puts something of its own before them (`Connection.deliver`)."""

    shared: bool
    heartbeat: bytes  # empty: the protocol keeps itself alive

    def event(self, topic: str, epoch: str, entry: Entry) -> bytes: ...

    def lost(self, topic: str, position: Position) -> bytes: ...

    def unsubscribed(self, topics: Sequence[str], code: str, message: str) -> bytes: ...

    def reconnect(self, in_ms: int) -> bytes: ...


class Connection:
    """`send` is the transport's own `write`, for the hub's loop; `write` is the same, but silent once the client has
    gone or was told to go. Neither waits. `drain` waits until the transport is nearly empty. `end` closes with a code
    and a reason, and may be called again.

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
        "send",
        "silent",
        "topics",
        "transport",
        "viewer",
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
        self.transport, self.send, self.drain, self.end = transport, transport.write, drain, end
        transport.set_write_buffer_limits(high=DRAINED_BYTES, low=DRAINED_BYTES // 4)
        self.topics: dict[str, int] = {}
        self.generation = 0
        self.catching_up: asyncio.Task[None] | None = None
        self.silent = 0  # heartbeats since the client was last heard
        self.closing = False

    @property
    def too_slow(self) -> bool:
        return self.transport.get_write_buffer_size() > LIVE_BUFFER_BYTES

    def write(self, data: bytes) -> None:
        if not (self.closing or self.transport.is_closing()):
            self.send(data)

    def deliver(self, topic: str, epoch: str, entries: Sequence[Entry], frames: Sequence[bytes]) -> None:
        """Events and their frames, in order, in one write."""
        self.write(b"".join(frames))

    def lost(self, topic: str, position: Position) -> None:
        """Tell that continuity can't be proven, and from where it goes on."""
        self.write(self.framing.lost(topic, position))

    def unsubscribed(self, topics: Sequence[str], code: str, message: str) -> None:
        """Tell that the server ended what was followed."""
        self.write(self.framing.unsubscribed(topics, code, message))

    def expiring(self) -> None:
        """The token runs out soon. Native clients know it themselves and renew in place."""
