"""A lean connection to Redis: commands packed and replies read by hiredis, in an asyncio protocol.

What the topics need passes here, as it is the hot path: a general client needs five times the CPU for a script call,
and three times for a pub/sub message. Commands that go out together share a write, and their replies one future.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import hiredis
from redis.asyncio.connection import ConnectKwargs, SSLConnection, parse_url

from protocols.errors import unavailable

CONNECT_S = 1.0
ANSWER_S = 3.0  # the longest script needs milliseconds

Argument = str | bytes | int
Command = Sequence[Argument]
Push = Callable[[list[bytes]], None]


@dataclass(slots=True)
class Batch:
    """Commands sent together, and what was answered so far. An error reply is an exception in its place."""

    left: int
    done: "asyncio.Future[list[object]]"
    replies: list[object] = field(default_factory=list)


class Wire(asyncio.Protocol):
    """One connection. With `on_push` it is a subscriber's: arrays are messages then, not replies."""

    def __init__(self, on_push: Push | None = None, on_turn: Callable[[], None] | None = None) -> None:
        self._on_push, self._on_turn = on_push, on_turn
        self._reader = hiredis.Reader(notEnoughData=False)
        self._batches: deque[Batch] = deque()
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard = True  # a byte, since somebody set it to False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if self._on_push is not None and isinstance(reply, list):
                self._on_push(reply)
            else:
                self._answer(reply)
        if self._on_turn is not None:
            self._on_turn()

    def _answer(self, reply: object) -> None:
        batch = self._batches[0]
        batch.replies.append(reply)
        batch.left -= 1
        if not batch.left:
            self._batches.popleft()
            if not batch.done.done():
                batch.done.set_result(batch.replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)
        self._forsake()

    def _forsake(self) -> None:
        """No answer comes any more."""
        while self._batches:
            done = self._batches.popleft().done
            if not done.done():
                done.set_exception(unavailable("realtime store"))
                done.exception()  # whoever waits still gets it; nobody has to

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def send(self, commands: Sequence[Command]) -> None:
        """Without waiting for replies. Silent once the connection is going: uvloop's transport would raise then."""
        if self._transport is None or self._transport.is_closing():
            return
        pack = hiredis.pack_command
        self._transport.write(
            b"".join([pack(cast(tuple[str | int | float | bytes | memoryview], c)) for c in commands])
        )

    async def ask(self, commands: Sequence[Command]) -> list[object]:
        """The replies, in order. Raises Failure (unavailable) where the connection is lost meanwhile."""
        if not commands:
            return []
        batch = Batch(len(commands), asyncio.get_running_loop().create_future())
        self._batches.append(batch)
        self.send(commands)
        if self.closed.done():
            self._forsake()
        return await batch.done


async def connect(url: str, make: Callable[[], Wire] = Wire) -> Wire:
    """Connected and signed in. Raises Failure (unavailable)."""
    options = parse_url(url)
    try:
        async with asyncio.timeout(CONNECT_S):
            wire = await _dial(options, make)
            try:
                for reply in await wire.ask(_greeting(options)):
                    if isinstance(reply, Exception):
                        raise reply
            except BaseException:
                wire.abort()
                raise
    except (OSError, TimeoutError, hiredis.HiredisError) as error:
        raise unavailable("realtime store") from error
    return wire


async def _dial(options: ConnectKwargs, make: Callable[[], Wire]) -> Wire:
    loop = asyncio.get_running_loop()
    if "path" in options:
        _, wire = await loop.create_unix_connection(make, options["path"])
    else:
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        secure = ssl.create_default_context() if options.get("connection_class") is SSLConnection else None
        _, wire = await loop.create_connection(make, host, port, ssl=secure)
    return wire


def _greeting(options: ConnectKwargs) -> list[Command]:
    commands: list[Command] = []
    if password := options.get("password"):
        user = options.get("username")
        commands.append(("AUTH", user, password) if user else ("AUTH", password))
    if database := int(options.get("db", 0)):
        commands.append(("SELECT", database))
    return commands


class Line:
    """The connection of a process on which all calls of its topics are pipelined; made when needed, and made again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()

    async def ask(self, commands: Sequence[Command]) -> list[object]:
        """Each command's reply; an error reply is an exception in its place. Raises Failure (unavailable)."""
        wire = self._wire
        if wire is None or wire.closed.done():
            wire = await self._connect()
        try:
            async with asyncio.timeout(ANSWER_S):
                return await wire.ask(commands)
        except TimeoutError:
            wire.abort()  # what it would still answer nobody waits for
            raise unavailable("realtime store") from None

    async def _connect(self) -> Wire:
        async with self._connecting:
            if self._wire is None or self._wire.closed.done():
                self._wire = await connect(self._url)
            return self._wire

    def close(self) -> None:
        if self._wire is not None:
            self._wire.abort()
