"""The subscriber connection, against a real Redis that dies and comes back, and against peers that misbehave."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from redis.asyncio import Redis

from deploy.local import valkey
from protocols.errors import Failure
from stores import subscriber as module
from stores.redis import open_redis
from stores.subscriber import Subscriber
from tests.backing import Backing
from tests.web import free_port

Message = tuple[str, bytes]


class Ears:
    """A running subscriber, and what it heard."""

    def __init__(self, url: str) -> None:
        self.subscriber = Subscriber(url)
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.connections: asyncio.Queue[None] = asyncio.Queue()
        self.turns: list[int] = []  # how many messages each loop turn brought
        self._turn = 0
        self.subscriber.on_message = self._hear
        self.subscriber.on_turn = self._end_turn
        self.subscriber.on_connected = lambda: self.connections.put_nowait(None)

    def _hear(self, channel: str, payload: bytes) -> None:
        self.messages.put_nowait((channel, payload))
        self._turn += 1

    def _end_turn(self) -> None:
        self.turns.append(self._turn)
        self._turn = 0

    async def connected(self) -> None:
        async with asyncio.timeout(10):
            await self.connections.get()

    async def next(self) -> Message:
        async with asyncio.timeout(5):
            return await self.messages.get()


@asynccontextmanager
async def ears(url: str) -> AsyncIterator[Ears]:
    heard = Ears(url)
    running = asyncio.create_task(heard.subscriber.run())
    try:
        yield heard
    finally:
        assert not running.done(), running
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def redis(backing: Backing) -> AsyncIterator[Redis]:
    client = open_redis(backing.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def name() -> str:
    return secrets.token_hex(8)


async def test_a_confirmed_channel_hears_what_is_published_right_after(
    backing: Backing, redis: Redis, name: str
) -> None:
    async with ears(backing.redis_url) as heard:
        await heard.connected()
        await heard.subscriber.subscribe([name])
        assert await redis.publish(name, b"\x00\r\n\xff") == 1
        assert await heard.next() == (name, b"\x00\r\n\xff")


async def test_messages_of_a_burst_come_in_order_and_share_turns(backing: Backing, redis: Redis, name: str) -> None:
    async with ears(backing.redis_url) as heard:
        await heard.connected()
        await heard.subscriber.subscribe([name])
        pipeline = redis.pipeline(transaction=False)
        for n in range(500):
            pipeline.publish(name, str(n))
        await pipeline.execute()
        assert [await heard.next() for _ in range(500)] == [(name, str(n).encode()) for n in range(500)]
    assert max(heard.turns) > 1  # one `on_turn` for several messages
    assert sum(heard.turns) == 500


async def test_a_message_greater_than_one_read_arrives_whole(backing: Backing, redis: Redis, name: str) -> None:
    async with ears(backing.redis_url) as heard:
        await heard.connected()
        await heard.subscriber.subscribe([name])
        await redis.publish(name, b"x" * 3_000_000)
        assert await heard.next() == (name, b"x" * 3_000_000)


async def test_after_unsubscribe_nobody_listens(backing: Backing, redis: Redis, name: str) -> None:
    async with ears(backing.redis_url) as heard:
        await heard.connected()
        await heard.subscriber.subscribe([name, name + "2"])
        heard.subscriber.unsubscribe([name, "never"])
        await heard.subscriber.subscribe([name + "3"])  # its confirmation comes after
        assert await redis.publish(name, b"1") == 0
        assert await redis.publish(name + "2", b"2") == 1


async def test_the_same_channel_may_be_wanted_twice_at_once(backing: Backing, redis: Redis, name: str) -> None:
    async with ears(backing.redis_url) as heard:
        await heard.connected()
        await asyncio.gather(*(heard.subscriber.subscribe([name, f"{name}{n}"]) for n in range(5)))
        assert await redis.publish(name, b"1") == 1


async def test_before_it_is_connected_subscribe_says_unavailable_and_the_channel_stays_wanted(
    backing: Backing, redis: Redis, name: str
) -> None:
    heard = Ears(backing.redis_url)
    with pytest.raises(Failure) as refused:
        await heard.subscriber.subscribe([name])
    assert refused.value.code == "unavailable" and not heard.subscriber.connected
    running = asyncio.create_task(heard.subscriber.run())
    await heard.connected()
    assert await redis.publish(name, b"1") == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_killed_server_that_comes_back_finds_every_channel_subscribed(tmp_path: Path) -> None:
    port = free_port()
    server = valkey.start(tmp_path, port=port)
    async with ears(server.url) as heard:
        await heard.connected()
        await heard.subscriber.subscribe(["a", "b"])
        heard.subscriber.unsubscribe(["b"])
        server.kill()
        with pytest.raises(Failure):
            await heard.subscriber.subscribe(["c"])
        server = await asyncio.to_thread(valkey.start, tmp_path, port=port)
        await heard.connected()
        redis = open_redis(server.url)
        assert [await redis.publish(channel, b"1") for channel in "abc"] == [1, 0, 1]
        assert {(await heard.next())[0] for _ in range(2)} == {"a", "c"}
        await redis.aclose()
    server.kill()


async def test_a_connection_that_redis_closes_is_made_again_at_once(backing: Backing, redis: Redis, name: str) -> None:
    async with ears(backing.redis_url) as heard:
        await heard.connected()
        await heard.subscriber.subscribe([name])
        for _ in range(3):
            newest = max(int(client["id"]) for client in await redis.client_list(_type="pubsub"))
            await redis.client_kill_filter(_id=str(newest))
            await heard.connected()
            assert await redis.publish(name, b"1") == 1


async def test_a_subscribe_that_the_server_never_answers_fails_when_the_connection_goes() -> None:
    async with peer(answer_once(b"")) as (url, _):
        async with ears(url) as heard:
            await heard.connected()
            waiting = asyncio.create_task(heard.subscriber.subscribe(["a"]))
            with pytest.raises(Failure) as refused:
                await waiting
            assert refused.value.code == "unavailable"


async def test_a_wrong_password_is_tried_again_and_leaves_no_connection_behind(tmp_path: Path) -> None:
    server = valkey.start(tmp_path, port=free_port())
    redis = open_redis(server.url)
    wrong = server.url.replace(server.url.split("@")[0], "redis://:wrong")
    async with ears(wrong) as heard:
        async with asyncio.timeout(10):
            while (await redis.info("stats"))["rejected_connections"] + await denied(redis) < 3:
                await asyncio.sleep(0.02)
        assert not heard.subscriber.connected
        clients = await redis.client_list()
        assert len(clients) <= 2, clients  # ours, and the one being tried
    await redis.aclose()
    server.kill()


async def denied(redis: Redis) -> int:
    return int((await redis.info("stats"))["acl_access_denied_auth"])


# Peers that are no Redis

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(talk: Talk, user: str = "") -> AsyncIterator[tuple[str, list[float]]]:
    """A server that talks as it is told; its URL, and the times at which connections came."""
    loop = asyncio.get_running_loop()
    came: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(loop.time())
        try:
            await talk(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield f"redis://{user}127.0.0.1:{port}/0", came


def answer_once(answer: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        writer.write(answer)

    return talk


async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


@pytest.mark.parametrize(
    ("talk", "user"),
    [
        (close_at_once, ""),
        (close_at_once, ":password@"),
        (answer_once(b"-ERR max number of clients reached\r\n"), ":password@"),
        (answer_once(b"-NOPERM\r\n"), ""),
        (answer_once(b"no redis at all\r\n"), ""),
    ],
    ids=["closes", "closes before it signs in", "too many clients", "may not subscribe", "speaks another protocol"],
)
async def test_a_peer_that_is_of_no_use_is_tried_again_with_pauses_for_ever(talk: Talk, user: str) -> None:
    async with peer(talk, user) as (url, came):
        async with ears(url) as heard:
            with pytest.raises(Failure):
                await heard.subscriber.subscribe(["a"])
            async with asyncio.timeout(10):
                while len(came) < 4:
                    await asyncio.sleep(0.02)
    assert came[3] - came[0] >= 3 * module.RETRY_FIRST_S


@pytest.mark.parametrize("handshake", [b"", b"+OK\r\n"])
async def test_a_peer_that_never_confirms_is_left_after_a_time(
    handshake: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SUBSCRIBE_S", 0.1)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(handshake)
        while await reader.read(1_000):
            pass

    async with peer(silent, ":password@" if handshake else "") as (url, came):
        async with ears(url) as heard:
            with pytest.raises(Failure):
                await heard.subscriber.subscribe(["a"])
            async with asyncio.timeout(10):
                while len(came) < 3:
                    await asyncio.sleep(0.02)
            assert not heard.subscriber.connected


async def test_a_connection_that_died_without_a_word_is_found_by_its_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PING_S", 0.1)

    async def falls_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"a\r\n")
        writer.write(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
        while await reader.read(1_000):
            pass

    async with peer(falls_silent) as (url, came):
        heard = Ears(url)
        with pytest.raises(Failure):
            await heard.subscriber.subscribe(["a"])
        running = asyncio.create_task(heard.subscriber.run())
        for _ in range(2):
            await heard.connected()
        assert len(came) == 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_quiet_connection_that_answers_its_pings_is_kept(
    backing: Backing, redis: Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PING_S", 0.02)
    async with ears(backing.redis_url) as heard:
        await heard.connected()
        await heard.subscriber.subscribe([name])
        turns = len(heard.turns)
        async with asyncio.timeout(5):
            while len(heard.turns) < turns + 10:  # ten answers
                await asyncio.sleep(0.02)
        assert heard.connections.empty()
        assert await redis.publish(name, b"1") == 1


def test_what_is_wanted_of_a_dying_connection_raises_nothing_but_unavailable(backing: Backing) -> None:
    """Between the end of a transport and the moment in which `run` hears of it; uvloop's raise on a write then."""

    async def scene() -> None:
        async with ears(backing.redis_url) as heard:
            await heard.connected()
            await heard.subscriber.subscribe(["a"])
            wire = heard.subscriber._wire
            assert wire is not None
            wire.abort()
            await asyncio.shield(wire.closed)  # `run` hears of it a turn later
            heard.subscriber.unsubscribe(["a"])
            with pytest.raises(Failure):
                async with asyncio.timeout(5):
                    await heard.subscriber.subscribe(["b"])
            await heard.connected()

    uvloop.run(scene())
