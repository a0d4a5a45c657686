"""A topic inside this process: how far it was handed out, and to whom it is."""

import asyncio
from collections.abc import Callable

from protocols.events import Entry
from protocols.positions import Position
from realtime.connection import Connection, Framing


class Channel:
    """`offset`: all up to it was handed to every live follower, and nothing above it. One lane a wire format, so that
    a delivery is one call; `pending` waits for the end of the loop turn and leaves in one write a connection."""

    __slots__ = (
        "asking",
        "epoch",
        "filling",
        "held",
        "idle_since",
        "lanes",
        "offset",
        "opened",
        "pending",
        "pins",
        "topic",
        "unchecked",
        "wanted",
    )

    def __init__(self, topic: str, opened: asyncio.Future[None]) -> None:
        self.topic, self.opened = topic, opened
        self.epoch, self.offset = "", 0
        self.lanes: dict[Framing, dict[Connection, Callable[[bytes], None]]] = {}
        self.pending: list[Entry] = []
        self.held: list[bytes] | None = []  # what came before the position did; None once open
        self.filling: asyncio.Task[None] | None = None
        self.asking = False
        self.wanted = 0  # the highest offset heard of
        self.pins = 0  # subscribes that are about to join
        self.idle_since: float | None = 0.0
        self.unchecked = 0  # bytes written to each follower since their buffers were looked at

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset)

    def followers(self) -> list[Connection]:
        return [connection for lane in self.lanes.values() for connection in lane]
