"""The one subscriber connection of a process: every channel that its hub follows, over one socket.

An asyncio protocol around a `hiredis.Reader`: a message costs about a third of what a general client's pub/sub needs.
What is published while the connection is away is lost; `on_connected` is called after each (re)connection, when all
channels are subscribed again, for the hub to compare its positions.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import cast

import hiredis
from redis.asyncio.connection import parse_url

from protocols.errors import Failure, unavailable

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
CONNECT_TIMEOUT_S = 5.0
# A connection that broke without a word is found by this: ask, and expect any byte before the next question.
PING_S = 5.0

OnMessage = Callable[[str, bytes], None]


class _Wire(asyncio.Protocol):
    """One connection: commands out, replies to futures or messages to the callback."""

    def __init__(self, on_message: OnMessage, on_turn: Callable[[], None]) -> None:
        self._on_message, self._on_turn = on_message, on_turn
        self._reader = hiredis.Reader(notEnoughData=False)
        self._replies: list[asyncio.Future[object]] = []
        self._subscribed: dict[bytes, asyncio.Future[None]] = {}
        self.transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if not isinstance(reply, list):
                self._replies.pop(0).set_result(reply)
            elif reply[0] == b"message":
                self._on_message(reply[1].decode(), reply[2])
            elif reply[0] == b"subscribe":
                waiting = self._subscribed.pop(reply[1], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)
        self._on_turn()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)
        self._forsake()

    def _forsake(self) -> None:
        """No answer comes any more."""
        waiting: list[asyncio.Future[None] | asyncio.Future[object]] = [*self._subscribed.values(), *self._replies]
        for future in waiting:
            if not future.done():
                future.set_exception(unavailable("realtime store"))
                future.exception()  # whoever waits still gets it; nobody has to
        self._subscribed.clear()
        self._replies.clear()

    def send(self, *arguments: str | bytes) -> None:
        """Silent once the connection is going; uvloop's transport would raise then."""
        assert self.transport is not None
        if not self.transport.is_closing():
            self.transport.write(hiredis.pack_command(cast(tuple[str | int | float | bytes | memoryview], arguments)))
        if self.closed.done():
            self._forsake()

    async def ask(self, *arguments: str | bytes) -> object:
        """A command that answers with a plain reply, which pub/sub commands do not."""
        reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._replies.append(reply)
        self.send(*arguments)
        result = await reply
        if isinstance(result, Exception):
            raise result
        return result

    def subscribe(self, channels: Iterable[str]) -> list[asyncio.Future[None]]:
        loop = asyncio.get_running_loop()
        waiting = {channel.encode(): self._subscribed.get(channel.encode()) for channel in channels}
        asked = {name: known or loop.create_future() for name, known in waiting.items()}
        self._subscribed |= asked
        if asked:
            self.send("SUBSCRIBE", *asked)
        return list(asked.values())


class Subscriber:
    """Owned by `run`, which connects, and connects again, until it is cancelled."""

    def __init__(self, url: str) -> None:
        self._options = parse_url(url)
        self._channels: set[str] = set()
        self._wire: _Wire | None = None
        self.on_message: OnMessage = lambda channel, payload: None
        self.on_turn: Callable[[], None] = lambda: None  # after all messages of one loop turn
        self.on_connected: Callable[[], None] = lambda: None

    @property
    def connected(self) -> bool:
        return self._wire is not None

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Returns when Redis has confirmed every channel. Raises Failure (unavailable); the channels stay wanted."""
        wanted = set(channels)
        self._channels |= wanted
        if self._wire is None:
            raise unavailable("realtime store")
        for confirmed in self._wire.subscribe(wanted):
            await confirmed

    def unsubscribe(self, channels: Iterable[str]) -> None:
        gone = set(channels) & self._channels
        self._channels -= gone
        if self._wire is not None and gone:
            self._wire.send("UNSUBSCRIBE", *gone)

    async def run(self) -> None:
        delay = RETRY_FIRST_S
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    wire = await self._connect()
                if await self._live(wire):
                    delay = RETRY_FIRST_S
                log.warning("the subscriber connection was lost")
            except (Failure, OSError, hiredis.HiredisError) as error:
                log.warning("the subscriber connection can't be made: %s", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MAX_S)

    async def _connect(self) -> _Wire:
        loop, options = asyncio.get_running_loop(), self._options

        def make() -> _Wire:
            return _Wire(self.on_message, self.on_turn)

        if "path" in options:
            _, wire = await loop.create_unix_connection(make, options["path"])
        else:
            _, wire = await loop.create_connection(make, options.get("host", "localhost"), options.get("port", 6379))
        if options.get("password"):
            user = [options["username"]] if options.get("username") else []
            try:
                await wire.ask("AUTH", *user, options["password"])
            except BaseException:
                assert wire.transport is not None
                wire.transport.abort()
                raise
        return wire

    async def _live(self, wire: _Wire) -> bool:
        """Until the connection is lost, or says nothing when asked. Whether it was ever of use."""
        assert wire.transport is not None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                for confirmed in wire.subscribe(self._channels):
                    await confirmed
            self._wire = wire
            # A channel wanted while the others were being confirmed is asked for here.
            wire.subscribe(self._channels)
            self.on_connected()
            while not wire.closed.done():
                wire.heard, asked = False, bool(self._channels)
                if asked:
                    wire.send("PING")
                await asyncio.wait([wire.closed], timeout=PING_S)
                if asked and not wire.heard:
                    break
        except Exception as error:
            log.warning("the subscriber connection failed: %s", error)
        finally:
            connected, self._wire = self._wire is not None, None
            wire.transport.abort()
        return connected
