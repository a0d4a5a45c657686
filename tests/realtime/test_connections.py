"""All connections of a process: whose they are, when they are ended, and how a process empties itself."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

import pytest

from protocols.websocket import Close
from realtime import connections as module
from realtime.connection import LIVE_BUFFER_BYTES
from realtime.connections import SILENT_MAX, Connections
from tests.backing import Backing
from tests.realtime.rig import Follower, Node, logged, node


@pytest.fixture
async def one(backing: Backing) -> AsyncIterator[Node]:
    async with node(backing.redis_url) as made:
        yield made


@pytest.fixture
def connections(one: Node, monkeypatch: pytest.MonkeyPatch) -> Connections:
    monkeypatch.setattr(module, "HEARTBEAT_S", 1)  # every sweep is a heartbeat
    return Connections(one.resume)


@pytest.fixture
async def sweeping(connections: Connections) -> AsyncIterator[Connections]:
    running = asyncio.create_task(connections.run())
    yield connections
    assert not running.done(), running
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def added(connections: Connections, *followers: Follower) -> list[Follower]:
    for follower in followers:
        follower.on_end = connections.closes
        connections.add(follower.connection)
    return list(followers)


async def ended(follower: Follower) -> list[int]:
    async with asyncio.timeout(8):
        while not follower.ends:
            await asyncio.sleep(0.02)
    return [code for code, _ in follower.ends]


async def test_connections_are_found_by_user_until_they_are_removed(connections: Connections) -> None:
    ann, twice, bob = added(connections, Follower("ann"), Follower("ann"), Follower("bob"))
    assert len(connections) == 3 and set(connections) == {f.connection for f in (ann, twice, bob)}
    assert set(connections.of("ann")) == {ann.connection, twice.connection}
    connections.remove(ann.connection)
    connections.remove(ann.connection)
    assert connections.of("ann") == [twice.connection] and connections.of("nobody") == []
    connections.remove(twice.connection)
    assert len(connections) == 1 and connections.of("ann") == []


async def test_remove_undoes_all_that_was_followed(one: Node, connections: Connections) -> None:
    [follower] = added(connections, Follower())
    topic = f"conv:{secrets.token_hex(8)}"
    await one.follow(follower, topic)
    connections.remove(follower.connection)
    witness = Follower()
    await one.follow(witness, topic)
    await one.publish(topic, logged(1))
    await witness.saw(1)
    assert follower.offsets == [] and follower.connection.topics == {}


async def test_a_revoked_session_ends_its_own_sockets_only(connections: Connections) -> None:
    mine, other, bob = added(
        connections, Follower("ann", "s1"), Follower("ann", "s2"), Follower("bob", "s1")
    )  # fmt: skip
    connections.end_access("ann", "s1")
    assert [f.ends for f in (mine, other, bob)] == [[(4401, "the session ended")], [], []]
    connections.end_access("ann", None)
    assert [len(f.ends) for f in (mine, other, bob)] == [1, 1, 0]


async def test_a_suspension_has_a_code_of_its_own(connections: Connections) -> None:
    [follower] = added(connections, Follower("ann"))
    connections.end_access("ann", None, suspended=True)
    assert follower.ends == [(Close.SUSPENDED, "the account is suspended")]


async def test_nothing_is_written_once_a_close_was(one: Node, connections: Connections) -> None:
    [follower] = added(connections, Follower("ann"))
    topic = f"conv:{secrets.token_hex(8)}"
    witness = Follower("bob")
    await one.follow(follower, topic)
    await one.follow(witness, topic)
    writes = len(follower.paper.writes)
    connections.end_access("ann", None)
    follower.connection.write(b"late\n")
    follower.connection.lost(topic, await one.position(topic))
    await one.publish(topic, logged(1))
    await witness.saw(1)
    assert len(follower.paper.writes) == writes


async def test_a_token_that_ran_out_ends_its_socket_and_a_renewed_one_does_not(sweeping: Connections) -> None:
    soon = time.time() + 0.5
    old, renewed = added(sweeping, Follower(expires_at=soon), Follower(expires_at=soon))
    renewed.connection.viewer = Follower().connection.viewer
    assert await ended(old) == [Close.NOT_SIGNED_IN]
    assert renewed.ends == []


async def test_one_that_cannot_keep_up_is_found_though_nothing_more_is_sent(sweeping: Connections) -> None:
    slow, quick = added(sweeping, Follower(), Follower())
    slow.paper.waiting = LIVE_BUFFER_BYTES + 1
    quick.paper.waiting = LIVE_BUFFER_BYTES
    assert await ended(slow) == [Close.TOO_SLOW]
    assert quick.ends == []


async def test_silence_ends_a_connection_and_a_word_from_it_does_not(sweeping: Connections) -> None:
    silent, talks = added(sweeping, Follower(), Follower())
    hears = asyncio.create_task(answer_pings(talks))
    assert await ended(silent) == [Close.SILENT]
    assert len(silent.of("ping")) == SILENT_MAX
    assert talks.ends == []
    hears.cancel()


async def answer_pings(follower: Follower) -> None:
    while True:
        follower.paper.written.clear()
        await follower.paper.written.wait()
        follower.connection.silent = 0


async def test_a_client_that_does_not_answer_the_close_is_cut_off(
    sweeping: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSING_S", 0.0)
    [follower] = added(sweeping, Follower("ann"))
    sweeping.end_access("ann", None)
    async with asyncio.timeout(5):
        while not follower.paper.aborted:
            await asyncio.sleep(0.02)


async def test_a_drain_gives_each_client_its_own_moment_and_keeps_to_it(connections: Connections) -> None:
    followers = added(connections, *(Follower() for _ in range(20)))
    loop, at = asyncio.get_running_loop(), {}
    for follower in followers:
        follower.on_end = lambda connection: at.setdefault(connection, loop.time())
    start = loop.time()
    await connections.drain(0.4)
    told = {f.connection: int(f.of("reconnect")[0][1]) for f in followers}
    assert sorted(told.values()) == [20 * n for n in range(20)]
    assert all([code for code, _ in f.ends] == [Close.DRAINING] for f in followers)
    assert connections.draining and loop.time() - start < 2
    for connection, moment in at.items():
        assert moment - start >= told[connection] / 1000 - 0.02


async def test_a_drain_of_nobody_ends_at_once(connections: Connections) -> None:
    async with asyncio.timeout(1):
        await connections.drain(30)
