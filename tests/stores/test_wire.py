"""The lean connection: pipelined calls, error replies in their places, and a server that comes and goes."""

import asyncio
import contextlib
import secrets
from pathlib import Path

import hiredis
import pytest

from deploy.local import valkey
from protocols.errors import Failure
from stores import wire
from stores.wire import Line
from tests.backing import Backing
from tests.web import free_port


async def test_replies_come_in_order_and_an_error_in_its_place(backing: Backing) -> None:
    line, key = Line(backing.redis_url), secrets.token_hex(8)
    answers = await line.ask([("SET", key, "1", "EX", 10), ("INCRBY", key, 41), ("LPUSH", key, "x"), ("GET", key)])
    assert answers[:2] == [b"OK", 42] and answers[3] == b"42"
    assert isinstance(answers[2], hiredis.ReplyError)
    line.close()


async def test_calls_that_wait_at_once_each_get_their_own(backing: Backing) -> None:
    line = Line(backing.redis_url)
    answers = await asyncio.gather(*(line.ask([("ECHO", str(i)), ("ECHO", str(-i))]) for i in range(100)))
    assert answers == [[str(i).encode(), str(-i).encode()] for i in range(100)]
    line.close()


async def test_a_caller_that_went_away_shifts_nobody_elses_answer(backing: Backing) -> None:
    line = Line(backing.redis_url)
    await line.ask([("PING",)])
    gone = asyncio.create_task(line.ask([("ECHO", "gone")]))
    await asyncio.sleep(0)
    gone.cancel()
    assert await line.ask([("ECHO", "here")]) == [b"here"]
    assert await line.ask([]) == []
    line.close()


async def test_a_line_is_made_again_when_the_server_is_back(tmp_path: Path) -> None:
    port = free_port()
    server = await asyncio.to_thread(valkey.start, tmp_path / "v", port=port)
    line = Line(server.url)
    assert await line.ask([("PING",)]) == [b"PONG"]
    await asyncio.to_thread(server.kill)
    for _ in range(2):
        with pytest.raises(Failure) as refused:
            await line.ask([("PING",)])
        assert refused.value.code == "unavailable"
    server = await asyncio.to_thread(valkey.start, tmp_path / "v", port=port)
    assert await line.ask([("PING",)]) == [b"PONG"]
    line.close()
    await asyncio.to_thread(server.stop)


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "ANSWER_S", 0.1)

    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    line = Line(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    with pytest.raises(Failure):
        await line.ask([("PING",)])
    await left.wait()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("part", [":wrong@", "nobody:wrong@"])
async def test_a_wrong_password_is_unavailable(backing: Backing, part: str) -> None:
    scheme, _, rest = backing.redis_url.partition("://")
    line = Line(f"{scheme}://{part}{rest.rpartition('@')[2]}")
    with pytest.raises(Failure) as refused:
        await line.ask([("PING",)])
    assert refused.value.code == "unavailable"
