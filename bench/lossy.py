"""A Redis proxy that loses pub/sub messages: what is published to a subscriber passes with a given probability only.

Everything else passes untouched, so that a client sees a healthy server whose messages sometimes don't come.
"""

import asyncio
import random


class LossyProxy:
    """Listens on 127.0.0.1; `lost` counts what was dropped. A server that is away is a closed connection."""

    def __init__(self, upstream_port: int, loss: float, seed: int) -> None:
        self._upstream_port, self._loss, self._random = upstream_port, loss, random.Random(seed)
        self._server: asyncio.Server | None = None
        self.passed = self.lost = 0

    async def start(self) -> int:
        """Answers the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            writer.close()
            return
        subscriber = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._to_server(reader, up_writer, subscriber))
                tasks.create_task(self._to_client(up_reader, writer, subscriber))
        except* (OSError, EOFError):
            pass
        finally:
            writer.close()
            up_writer.close()

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            if b"SUBSCRIBE" in data:
                seen.set()
            writer.write(data)
            await writer.drain()
        raise EOFError

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: asyncio.Event) -> None:
        while not seen.is_set():
            data = await reader.read(1 << 16)
            if not data:
                raise EOFError
            writer.write(data)
            await writer.drain()
        while True:
            reply = await read_reply(reader)
            if b"\r\nmessage\r\n" in reply[:20]:
                if self._random.random() < self._loss:
                    self.lost += 1
                    continue
                self.passed += 1
            if writer.is_closing():
                raise EOFError
            writer.write(reply)


async def read_reply(reader: asyncio.StreamReader) -> bytes:
    """One whole RESP2 reply, as bytes."""
    line = await reader.readuntil(b"\r\n")
    kind, number = line[:1], line[1:-2]
    if kind == b"$" and number != b"-1":
        return line + await reader.readexactly(int(number) + 2)
    if kind == b"*":
        return line + b"".join([await read_reply(reader) for _ in range(int(number))])
    return line
