"""SIGTERM: clients are sent elsewhere at their own moments, no request is lost, the exit code is 0."""

import asyncio
import signal

import aiohttp
import pytest

from tests.backing import Backing
from tests.web import Person, people, start_many

SOCKETS = 1_000
DRAIN_S = 3.0


@pytest.mark.slow
async def test_a_process_that_stops_loses_nobody_and_nothing(migrated: Backing) -> None:
    going, staying = start_many(migrated.env, 2, DRAIN_SECONDS=str(DRAIN_S), RATE_LIMITS="off", LOG_LEVEL="WARNING")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        ann, bob = await people(http, going.url, 2)
        conversation_id = await ann.direct(bob)
        sockets = await asyncio.gather(*(bob.socket() for _ in range(SOCKETS)))
        under_way = asyncio.Event()
        sending = asyncio.create_task(send_until_refused(ann, conversation_id, going.url, staying.url, under_way))
        await under_way.wait()
        loop = asyncio.get_running_loop()
        began = loop.time()
        going.process.send_signal(signal.SIGTERM)

        async def moment(socket: object) -> tuple[int | None, float, bool]:
            code = await socket.closed()  # type: ignore[attr-defined]
            told = any(frame["op"] == "reconnect" for frame in socket.passed)  # type: ignore[attr-defined]
            return code, loop.time() - began, told

        ends = await asyncio.gather(*(moment(socket) for socket in sockets))
        answered = await sending
        assert await asyncio.to_thread(going.stop) == 0, going.output()
        assert {code for code, _, _ in ends} == {1012}
        assert all(told for _, _, told in ends)
        halves = [at for _, at, _ in ends if at < DRAIN_S / 2]
        assert SOCKETS * 0.3 < len(halves) < SOCKETS * 0.7
        history = await ann.ok(
            "GET", f"/api/chat/conversations/{conversation_id}/messages?after={answered - 1}", url=staying.url
        )
        assert history["lastSeq"] == answered
    assert staying.stop() == 0


async def test_a_process_that_stops_is_not_ready(migrated: Backing) -> None:
    [web] = start_many(migrated.env, 1, DRAIN_SECONDS="1.5")
    async with aiohttp.ClientSession() as http:
        ann, _ = await people(http, web.url, 2)
        socket = await ann.socket()
        async with http.get(web.url + "/healthz") as answer:  # its connection is kept
            assert answer.status == 200
        web.process.send_signal(signal.SIGTERM)
        assert (await socket.next("reconnect"))["inMs"] >= 0
        async with http.get(web.url + "/readyz") as answer:
            assert answer.status == 503
            assert (await answer.json())["status"] == "draining"
            assert answer.headers["Connection"] == "close"
        assert await asyncio.to_thread(web.stop) == 0


async def send_until_refused(ann: Person, conversation_id: str, url: str, other: str, under_way: asyncio.Event) -> int:
    """Send without a pause; a refused connection ends it. Answers how many were answered: none may fail otherwise."""
    number = 0
    while True:
        message = {"clientMessageId": str(number), "text": "still here"}
        path = f"/api/chat/conversations/{conversation_id}/messages"
        try:
            status, body = await ann.call("POST", path, message, url)
        except aiohttp.ClientConnectorError:
            return number
        except aiohttp.ServerDisconnectedError:
            # A kept connection was closed as the request set out: a client may repeat, the number stays.
            status, body = await ann.call("POST", path, message, other)
        assert status in (200, 201), body
        number += 1
        under_way.set()
