"""The one subscriber connection of a process: every channel that its hub follows, over one socket.

What is published while the connection is away is lost; `on_connected` is called after each (re)connection, when all
channels are subscribed again, for the hub to compare its positions.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from protocols.errors import Failure, unavailable
from stores.wire import Wire, connect

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
SUBSCRIBE_S = 5.0
# A connection that broke without a word is found by this: ask, and expect any byte before the next question.
PING_S = 5.0

OnMessage = Callable[[str, bytes], None]


class Subscriber:
    """Owned by `run`, which connects, and connects again, until it is cancelled."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._channels: set[str] = set()
        self._confirming: dict[bytes, asyncio.Future[None]] = {}
        self._wire: Wire | None = None
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
        for confirmed in self._ask_for(self._wire, wanted):
            await confirmed

    def unsubscribe(self, channels: Iterable[str]) -> None:
        gone = set(channels) & self._channels
        self._channels -= gone
        if self._wire is not None and gone:
            self._wire.send([("UNSUBSCRIBE", *gone)])

    async def run(self) -> None:
        delay = RETRY_FIRST_S
        while True:
            try:
                wire = await connect(self._url, lambda: Wire(self._heard, self.on_turn))
                if await self._live(wire):
                    delay = RETRY_FIRST_S
                log.warning("the subscriber connection was lost")
            except Failure as failure:
                log.warning("the subscriber connection can't be made: %s", failure.__cause__ or failure)
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MAX_S)

    async def _live(self, wire: Wire) -> bool:
        """Until the connection is lost, or says nothing when asked. Whether it was ever of use."""
        wire.closed.add_done_callback(lambda closed: self._forsake())
        try:
            async with asyncio.timeout(SUBSCRIBE_S):
                for confirmed in self._ask_for(wire, self._channels):
                    await confirmed
            self._wire = wire
            # A channel wanted while the others were being confirmed is asked for here.
            self._ask_for(wire, self._channels)
            self.on_connected()
            while not wire.closed.done():
                wire.heard, asked = False, bool(self._channels)
                if asked:
                    wire.send([("PING",)])
                await asyncio.wait([wire.closed], timeout=PING_S)
                if asked and not wire.heard:
                    break
        except (Failure, TimeoutError) as error:
            log.warning("the channels can't be subscribed: %s", error)
        finally:
            connected, self._wire = self._wire is not None, None
            wire.abort()
            self._forsake()
        return connected

    def _ask_for(self, wire: Wire, channels: Iterable[str]) -> list["asyncio.Future[None]"]:
        """A future a channel, for its confirmation; those that wait for the same one share it."""
        loop = asyncio.get_running_loop()
        names = [channel.encode() for channel in channels]
        for name in names:
            self._confirming.setdefault(name, loop.create_future())
        if names:
            wire.send([("SUBSCRIBE", *names)])
        if wire.closed.done():
            self._forsake()
            raise unavailable("realtime store")
        return [self._confirming[name] for name in names]

    def _heard(self, push: list[bytes]) -> None:
        kind = push[0]
        if kind == b"message":
            self.on_message(push[1].decode(), push[2])
        elif kind == b"subscribe":
            confirmed = self._confirming.pop(push[1], None)
            if confirmed is not None and not confirmed.done():
                confirmed.set_result(None)

    def _forsake(self) -> None:
        """No confirmation comes any more."""
        for confirmed in self._confirming.values():
            if not confirmed.done():
                confirmed.set_exception(unavailable("realtime store"))
                confirmed.exception()  # whoever waits still gets it; nobody has to
        self._confirming.clear()
