"""A way to a server that a test can shut: whoever connects through it finds the server gone, and it is not touched."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Gate:
    """Forwards a TCP port to a Redis that listens on a socket; `url` is its address through here."""

    def __init__(self, redis_url: str) -> None:
        self._parts = urlsplit(redis_url)
        self._pipes: set[asyncio.Task[None]] = set()
        self._open = True
        self.url = ""

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = f"redis://:{self._parts.password}@127.0.0.1:{port}/0"
        return server

    async def shut(self) -> None:
        """Break all connections and refuse new ones, until `open`."""
        self._open = False
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    def open(self) -> None:
        self._open = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pipe = asyncio.current_task()
        assert pipe is not None
        self._pipes.add(pipe)
        ends = [writer]
        try:
            if self._open:
                answers, behind = await asyncio.open_unix_connection(self._parts.path)
                ends.append(behind)
                with suppress(OSError):
                    await first(forward(reader, behind), forward(answers, writer))
        except asyncio.CancelledError:
            pass  # shut
        finally:
            for end in ends:
                end.transport.abort()
            self._pipes.discard(pipe)


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def first(*ways: Coroutine[None, None, None]) -> None:
    """Run all until one ends."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def gate(redis_url: str) -> AsyncIterator[Gate]:
    made = Gate(redis_url)
    server = await made.listen()
    try:
        yield made
    finally:
        server.close()
        await made.shut()
