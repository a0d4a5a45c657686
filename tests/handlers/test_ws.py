"""The native websocket, as a client sees it: real processes, real sockets."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import monitoring

from deploy.local import valkey
from handlers import ws as module
from handlers.keys import SOCKETS, TOKENS
from protocols.events import Event
from protocols.ids import new_id
from protocols.native import FRAME_BYTES_MAX
from services.sockets import OPEN_MAX
from services.tokens import ALGORITHM, AUDIENCE, new_key
from stores.topics import Kept, Topics
from stores.wire import Line
from tests.backing import Backing
from tests.web import PASSWORD, Person, Socket, Web, free_port, people, register, start_many


async def raw(person: Person, path: str = "/ws", **options: Any) -> Socket:
    """A websocket on which nothing was said yet."""
    ws = await person.http.ws_connect(person.url + path, protocols=("wechat.v1",), max_msg_size=0, **options)
    return Socket(ws)


async def say(socket: Socket, text: str) -> None:
    await socket.ws.send_str(text)


# Who it is


async def test_the_token_comes_in_the_header_the_query_or_the_first_frame(
    http: aiohttp.ClientSession, web_url: str
) -> None:
    ann = await register(http, web_url)
    token = ann.tokens["accessToken"]
    for socket in (
        await raw(ann, headers=ann.bearer),
        await raw(ann, f"/ws?access_token={token}"),
        await raw(ann, headers=ann.bearer, path="/ws?access_token=none"),  # the header wins
        await ann.socket(),
    ):
        assert socket.ws.protocol == "wechat.v1"
        hello = socket.hello or await socket.frame()
        assert hello["op"] == "hello" and hello["userId"] == ann.user_id and hello["heartbeatMs"] == 25_000
        assert [topic["topic"] for topic in hello["topics"]] == [f"user:{ann.user_id}"]
        assert "recovered" not in hello["topics"][0]


async def test_without_an_auth_frame_a_socket_is_closed(
    http: aiohttp.ClientSession, app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.AUTH_S == 10.0
    monkeypatch.setattr(module, "AUTH_S", 0.1)
    socket = await raw(await register(http, app_url))
    assert await socket.closed() == 4401 and socket.passed == []


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ('{"op":"ping"}', 4401),
        ('{"op":"auth","token":"x"}', 4401),
        ('{"op":"auth","token":""}', 4401),
        ('{"op":"auth","token":"%s"}' % ("a" * 10_000), 4401),
        ('{"op":"auth"}', 4400),
        ("{", 4400),
    ],
)
async def test_a_first_frame_that_signs_nobody_in_closes(
    http: aiohttp.ClientSession, web_url: str, first: str, code: int
) -> None:
    socket = await raw(await register(http, web_url))
    await say(socket, first)
    assert await socket.closed() == code and socket.passed == []


Forge = Callable[[dict[str, Any], bytes], str]

FORGERIES: dict[str, Forge] = {
    "expired": lambda claims, key: jwt.encode(claims | {"exp": int(time.time()) - 1}, key, ALGORITHM),
    "for others": lambda claims, key: jwt.encode(claims | {"aud": "elsewhere"}, key, ALGORITHM),
    "of another issuer": lambda claims, key: jwt.encode(claims | {"iss": "http://elsewhere"}, key, ALGORITHM),
    "without a session": lambda claims, key: jwt.encode(
        {name: claims[name] for name in claims if name != "sid"}, key, ALGORITHM
    ),
    "signed by another": lambda claims, key: jwt.encode(claims, new_key(), ALGORITHM),
    "not signed": lambda claims, key: jwt.encode(claims, None, "none"),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
async def test_only_our_own_living_tokens_are_taken(
    http: aiohttp.ClientSession, app: web.Application, app_url: str, forge: Forge
) -> None:
    ann = await register(http, app_url)
    claims = jwt.decode(ann.tokens["accessToken"], options={"verify_signature": False}, audience=AUDIENCE)
    key = app[TOKENS]._key
    good = await raw(ann, f"/ws?access_token={jwt.encode(claims, key, ALGORITHM)}")  # type: ignore[arg-type]
    await good.next("hello")
    socket = await raw(ann, f"/ws?access_token={forge(claims, key)}")  # type: ignore[arg-type]
    assert await socket.closed() == 4401 and socket.passed == []
    await good.send({"op": "auth", "token": forge(claims, key)})  # type: ignore[arg-type]
    assert await good.closed() == 4401


async def test_a_token_is_renewed_in_place(http: aiohttp.ClientSession, web_url: str) -> None:
    ann = await register(http, web_url)
    socket = await ann.socket()
    body = await ann.ok("POST", "/api/auth/refresh", {"refreshToken": ann.tokens["refreshToken"]})
    await socket.send({"op": "auth", "token": body["data"]["accessToken"]})
    told = await socket.next("authenticated")
    claims = jwt.decode(body["data"]["accessToken"], options={"verify_signature": False})
    assert told["expiresAt"] == time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(claims["exp"]))
    await socket.send({"op": "ping"})
    await socket.next("pong")


async def test_another_sessions_token_ends_the_socket(http: aiohttp.ClientSession, web_url: str) -> None:
    ann, bob = await people(http, web_url, 2)
    body = await ann.ok("POST", "/api/auth/login", {"login": ann.user["username"], "password": PASSWORD})
    for token in (bob.tokens["accessToken"], body["data"]["accessToken"]):
        socket = await ann.socket()
        await socket.send({"op": "auth", "token": token})
        assert await socket.closed() == 4401


async def test_one_user_has_so_many_sockets_and_no_more(http: aiohttp.ClientSession, web_url: str) -> None:
    ann = await register(http, web_url)
    sockets = await asyncio.gather(*(ann.socket() for _ in range(OPEN_MAX)))
    refused = await raw(ann, headers=ann.bearer)
    assert await refused.closed() == 4429 and refused.passed == []
    await sockets[0].ws.close()
    async with asyncio.timeout(5):
        while True:
            again = await raw(ann, headers=ann.bearer)
            if (await again.ws.receive()).type is aiohttp.WSMsgType.TEXT:
                break


# Topics


async def test_a_subscription_goes_on_where_it_was_left(http: aiohttp.ClientSession, web_url: str) -> None:
    ann, bob = await people(http, web_url, 2)
    topic = f"conv:{await ann.direct(bob)}"
    socket = await bob.socket()
    [first] = (await socket.subscribe(topic))["topics"]
    assert set(first) == {"topic", "position"}
    for text in ("one", "two", "three"):
        await ann.send(topic[5:], text)
    events = [await socket.event("MessageReceived") for _ in range(3)]
    await socket.ws.close()
    again = await bob.socket()
    [answer] = (await again.subscribe_after({topic: events[0]["id"]}))["topics"]
    assert answer == {"topic": topic, "position": events[2]["id"], "recovered": True}
    assert [await again.event("MessageReceived") for _ in range(2)] == events[1:]
    await ann.send(topic[5:], "four")
    assert (await again.event("MessageReceived"))["data"]["seq"] == 4


async def test_ones_own_topic_is_resumed_by_the_url_and_by_the_auth_frame(
    http: aiohttp.ClientSession, web_url: str
) -> None:
    ann, bob = await people(http, web_url, 2)
    topic = f"user:{bob.user_id}"
    position = (await bob.socket()).hello["topics"][0]["position"]
    await ann.direct(bob)
    for socket in (await bob.socket(after=position), await raw(bob, f"/ws?after={position}", headers=bob.bearer)):
        hello = socket.hello or await socket.next("hello")
        assert (hello["topics"][0]["topic"], hello["topics"][0]["recovered"]) == (topic, True)
        event = await socket.event("ConversationUpdated")
        assert event["topic"] == topic and event["version"] and event["id"] > position


async def test_positions_that_never_existed_are_not_recovered_and_malformed_ones_refused(
    http: aiohttp.ClientSession, web_url: str
) -> None:
    ann, bob = await people(http, web_url, 2)
    topic = f"conv:{await ann.direct(bob)}"
    socket = await ann.socket()
    position = (await socket.subscribe(topic))["topics"][0]["position"]
    for never in ("zzzzzzzz:0", f"{position[:8]}:999999999999999"):
        [answer] = (await socket.subscribe_after({topic: never}))["topics"]
        assert answer == {"topic": topic, "position": position, "recovered": False}
    for malformed in ("x", position + "0" * 20, position.upper() + "!", position.replace(":", "-")):
        [answer] = (await socket.subscribe_after({topic: malformed}))["topics"]
        assert answer["error"]["code"] == "bad_position"
    assert (await ann.socket(after="zzzzzzzz:0")).hello["topics"][0]["recovered"] is False
    assert (await ann.socket(after="never")).hello["topics"][0]["error"]["code"] == "bad_position"


async def test_a_refused_subscribe_ends_the_subscription_that_there_was(
    http: aiohttp.ClientSession, web_url: str
) -> None:
    """A subscribe to a topic that is followed starts it anew, and this one did not start."""
    ann, bob = await people(http, web_url, 2)
    topic = f"conv:{await ann.direct(bob)}"
    socket = await ann.socket()
    await socket.subscribe(topic)
    await socket.subscribe_after({topic: "never"})
    await bob.send(topic[5:], "hi")
    assert "MessageReceived" not in await types_until_pong(socket)


async def types_until_pong(socket: Socket) -> list[str]:
    """The types of all events up to the answer of a ping. What was published before is there."""
    await asyncio.sleep(0.1)  # nothing tells of an event that does not come
    socket.passed.clear()
    await socket.send({"op": "ping"})
    await socket.next("pong")
    return [frame["type"] for frame in socket.passed if frame["op"] == "event"]


async def test_after_unsubscribe_no_event_comes(http: aiohttp.ClientSession, web_url: str) -> None:
    ann, bob = await people(http, web_url, 2)
    topic = f"conv:{await ann.direct(bob)}"
    socket = await ann.socket()
    await socket.subscribe(topic)
    await socket.send({"op": "unsubscribe", "ref": 7, "topics": [topic, "conv:never"]})
    assert (await socket.next("unsubscribed"))["topics"] == [topic, "conv:never"]
    await bob.send(topic[5:], "hi")
    assert "MessageReceived" not in await types_until_pong(socket)


@pytest.fixture
async def memberships(migrated: Backing) -> AsyncIterator[Callable[[str, int], Awaitable[list[str]]]]:
    """Puts a user into so many conversations at once, and answers their topics."""
    client: Any = AsyncIOMotorClient(migrated.mongodb_url)
    rows = client.get_default_database("wechat").conversation_members

    async def enter(user_id: str, count: int) -> list[str]:
        ids = [new_id() for _ in range(count)]
        await rows.insert_many([{"conversationId": one, "userId": user_id} for one in ids])
        return [f"conv:{one}" for one in ids]

    yield enter
    client.close()


async def test_a_thousand_topics_at_once_and_not_one_more(
    http: aiohttp.ClientSession, web_url: str, memberships: Callable[[str, int], Awaitable[list[str]]]
) -> None:
    ann = await register(http, web_url)
    topics = await memberships(ann.user_id, 1_001)
    socket = await ann.socket()
    answers = []
    for start in (0, 500):
        answers += (await socket.subscribe(*topics[start : start + 500]))["topics"]
    refused = [answer["topic"] for answer in answers if "error" in answer]
    assert refused == topics[999:1_000]  # one's own is the first of the thousand
    assert answers[999]["error"]["code"] == "too_many_topics"
    [again] = (await socket.subscribe(topics[5]))["topics"]
    assert "position" in again  # one that is followed already takes no more room
    await socket.send({"op": "unsubscribe", "topics": topics[:1]})
    [now] = (await socket.subscribe(topics[1_000]))["topics"]
    assert "position" in now


async def test_one_frame_names_five_hundred_topics_at_most(http: aiohttp.ClientSession, web_url: str) -> None:
    socket = await (await register(http, web_url)).socket()
    await socket.send({"op": "subscribe", "ref": 1, "topics": [{"topic": f"conv:{n}"} for n in range(501)]})
    assert (await socket.next("error", ref=1))["error"]["code"] == "too_many_topics"


class Spy(monitoring.CommandListener):
    """The finds that reach MongoDB for one user's rows."""

    def __init__(self) -> None:
        self.user_id = ""
        self.seen: list[tuple[str, str]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self.user_id and self.user_id in str(event.command):
            self.seen.append((event.command_name, str(event.command.get(event.command_name))))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


@pytest.fixture
def spy() -> Iterator[Spy]:
    """To be asked for before the application is made."""
    watching = Spy()
    monitoring.register(watching)
    yield watching
    monitoring._LISTENERS.command_listeners.remove(watching)


async def test_forbidden_and_absent_topics_cannot_be_told_apart(
    spy: Spy, app_url: str, http: aiohttp.ClientSession
) -> None:
    ann, bob, eve = await people(http, app_url, 3)
    forbidden, absent = f"conv:{await ann.direct(bob)}", f"conv:{new_id()}"
    socket = await eve.socket()
    answers, calls = [], []
    for topic in (forbidden, absent):
        spy.user_id, spy.seen = eve.user_id, []
        await say(socket, json.dumps({"op": "subscribe", "ref": 1, "topics": [{"topic": topic}]}))
        message = await socket.ws.receive()
        answers.append(message.data.replace(topic, "conv:it"))
        calls.append(list(spy.seen))
    assert answers[0] == answers[1]
    assert "topic_not_found" in answers[0]
    assert calls[0] == calls[1] and [name for name, _ in calls[0]] == ["find"]


@pytest.mark.parametrize("topic", ["", "control", "user:", "conv:", "conv:*", "presence:x", "lp:1", "conv:{x}", "\n"])
async def test_topics_that_are_no_clients_are_not_found(http: aiohttp.ClientSession, web_url: str, topic: str) -> None:
    ann, bob = await people(http, web_url, 2)
    socket = await ann.socket()
    for name in (topic, f"user:{bob.user_id}", f"timeline:{bob.user_id}"):
        [answer] = (await socket.subscribe(name))["topics"]
        assert answer["topic"] == name and answer["error"]["code"] == "topic_not_found"


# Bad frames


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"op":"fly"}', '{"op":"subscribe","topics":7}', '{"op":"call","ref":1}', '{"op":"é","é":'],
)
async def test_a_bad_frame_closes(http: aiohttp.ClientSession, web_url: str, text: str) -> None:
    socket = await (await register(http, web_url)).socket()
    await say(socket, text)
    assert await socket.closed() == 4400


async def test_the_reason_of_a_close_is_utf_8_however_long_the_fault(http: aiohttp.ClientSession, web_url: str) -> None:
    socket = await (await register(http, web_url)).socket()
    await say(socket, '{"op":"%s"}' % ("é" * 300))
    message = await socket.ws.receive()
    assert message.type is aiohttp.WSMsgType.CLOSE and message.data == 4400
    assert 100 < len(str(message.extra).encode()) <= 123


async def test_a_binary_frame_closes(http: aiohttp.ClientSession, web_url: str) -> None:
    socket = await (await register(http, web_url)).socket()
    await socket.ws.send_bytes(b'{"op":"ping"}')
    assert await socket.closed() == 4400


async def test_a_frame_of_sixty_four_kib_is_read_and_a_larger_one_closes(
    http: aiohttp.ClientSession, web_url: str
) -> None:
    socket = await (await register(http, web_url)).socket()
    await say(socket, '{"op":"ping"}'.ljust(FRAME_BYTES_MAX))
    await socket.next("pong")
    await say(socket, '{"op":"ping"}'.ljust(FRAME_BYTES_MAX + 1))
    assert await socket.closed() == 4413


async def test_twenty_frames_a_second_are_read_and_a_flood_closes(http: aiohttp.ClientSession, web_url: str) -> None:
    socket = await (await register(http, web_url)).socket()
    for _ in range(20):
        await socket.send({"op": "ping"})
    for _ in range(20):
        await socket.next("pong")
    for _ in range(45):  # in any second that begins meanwhile at least one too many
        await socket.send({"op": "ping"})
    assert await socket.closed() == 4429


async def test_an_unknown_method_and_bad_arguments_are_answered(http: aiohttp.ClientSession, web_url: str) -> None:
    ann = await register(http, web_url)
    socket = await ann.socket()
    answer = await socket.method("Fly", {})
    assert (answer["op"], answer["error"]["code"]) == ("error", "unknown_method")
    answer = await socket.method("MarkRead", {"conversationId": 7})
    assert (answer["op"], answer["error"]["code"]) == ("error", "invalid")
    answer = await socket.method("MarkRead", {"conversationId": new_id(), "seq": 1})
    assert (answer["op"], answer["error"]["code"]) == ("error", "conversation_not_found")


async def test_a_clients_ping_is_answered_with_what_it_held(http: aiohttp.ClientSession, web_url: str) -> None:
    ann = await register(http, web_url)
    ws = await http.ws_connect(ann.url + "/ws", headers=ann.bearer, autoping=False)
    await ws.receive()
    await ws.ping(b"are you there")
    message = await ws.receive()
    assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"are you there")


# The end of access


async def test_a_session_revoked_while_its_socket_is_let_in_ends_it(
    http: aiohttp.ClientSession, app: web.Application, app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await register(http, app_url)
    came, gate, admit = asyncio.Event(), asyncio.Event(), app[SOCKETS].admit

    async def held_up(*arguments: str) -> None:
        await admit(*arguments)
        came.set()
        await gate.wait()

    monkeypatch.setattr(app[SOCKETS], "admit", held_up)
    socket = await raw(ann, headers=ann.bearer)
    await came.wait()
    await ann.call("POST", "/api/auth/logout")
    gate.set()
    assert await socket.closed(3) == 4401
    assert socket.passed == []


@pytest.fixture(scope="module")
def two(migrated: Backing) -> Iterator[list[Web]]:
    """Two processes."""
    made = start_many(migrated.env, 2)
    yield made
    for process in made:
        assert process.stop() == 0, process.output()


async def test_a_session_revoked_elsewhere_ends_its_sockets_within_a_second(
    http: aiohttp.ClientSession, two: list[Web]
) -> None:
    ann = await register(http, two[0].url)
    body = await ann.ok("POST", "/api/auth/login", {"login": ann.user["username"], "password": PASSWORD})
    other = Person(http, ann.url, ann.user, body["data"])
    mine, theirs = await ann.socket(), await other.socket()
    start = time.monotonic()
    await ann.call("POST", "/api/auth/logout", url=two[1].url)
    assert await mine.closed() == 4401
    assert time.monotonic() - start < 1
    assert [frame["type"] for frame in mine.passed] in ([], ["SessionRevoked"])
    await theirs.send({"op": "ping"})
    await theirs.next("pong")
    refused = await raw(ann, headers=ann.bearer)
    assert await refused.closed() == 4401


async def test_another_process_resumes_what_one_gave_out(http: aiohttp.ClientSession, two: list[Web]) -> None:
    ann, bob = await people(http, two[0].url, 2)
    topic = f"conv:{await ann.direct(bob)}"
    socket = await bob.socket()
    await socket.subscribe(topic)
    for n in range(1, 4):
        await ann.send(topic[5:], f"{n}", url=two[n % 2].url)
    events = [await socket.event("MessageReceived") for _ in range(3)]
    again = await bob.socket(url=two[1].url)
    [answer] = (await again.subscribe_after({topic: events[0]["id"]}))["topics"]
    assert answer["recovered"] is True
    await ann.send(topic[5:], "4")
    seqs = [(await again.event("MessageReceived"))["data"]["seq"] for _ in range(3)]
    assert seqs == [2, 3, 4]
    [foreign] = (await again.subscribe_after({topic: "zzzzzzzz:1"}))["topics"]
    assert foreign["recovered"] is False


# Too slow


@pytest.mark.slow
async def test_a_slow_reader_is_ended_and_misses_nothing(http: aiohttp.ClientSession, migrated: Backing) -> None:
    size, many, kept = 60_000, 250, 256 << 20
    process = Web.start(migrated.env, TOPIC_BYTES_MAX=str(kept)).ready()
    line = Line(migrated.redis_url)
    topics = Topics(line, Kept(bytes=kept))
    ann, bob = await people(http, process.url, 2)
    topic = f"conv:{await ann.direct(bob)}"
    socket = await bob.socket()
    await socket.subscribe(topic)
    for n in range(many):
        await topics.publish([(topic, [Event("SessionRevoked", b'{"n":%d,"x":"%s"}' % (n, b"x" * size))])])
    assert await socket.closed() == 4408
    got = [frame for frame in socket.passed if frame.get("topic") == topic]
    assert 0 < len(got) < many
    while len(got) < many:
        again = await bob.socket()
        [answer] = (await again.subscribe_after({topic: got[-1]["id"]}))["topics"]
        assert answer["recovered"] is True
        got += [await again.event("SessionRevoked") for _ in range(many - len(got))]
    assert [frame["data"]["n"] for frame in got] == list(range(many))
    line.close()
    assert process.stop() == 0


# Without Redis


@pytest.fixture
async def apart(migrated: Backing, tmp_path: Path) -> AsyncIterator["Apart"]:
    """Two processes with a Redis of their own, which may go away."""
    server = Apart(tmp_path, migrated)
    yield server
    for process in server.processes:
        process.stop(signal.SIGKILL)
    server.redis.kill()


class Apart:
    def __init__(self, folder: Path, backing: Backing) -> None:
        self.folder, self.port = folder, free_port()
        self.redis = valkey.start(folder, port=self.port)
        self.processes = start_many({**backing.env, "REDIS_URL": self.redis.url}, 2)

    async def come_back(self) -> None:
        self.redis = await asyncio.to_thread(valkey.start, self.folder, port=self.port)


async def test_without_redis_open_subscriptions_stay_and_heal_and_revocations_hold(
    http: aiohttp.ClientSession, apart: Apart
) -> None:
    here, there = (process.url for process in apart.processes)
    ann, bob = await people(http, here, 2)
    conversation, other = await ann.direct(bob), await ann.group(bob)
    open_one, revoked = await ann.socket(), await bob.socket()
    await open_one.subscribe(f"conv:{conversation}")
    await ann.send(conversation, "before")
    before = await open_one.event("MessageReceived")
    apart.redis.kill()

    [answer] = (await open_one.subscribe(f"conv:{other}"))["topics"]
    assert answer["error"]["code"] == "unavailable"
    late = await ann.socket(url=there)
    assert late.hello["topics"][0]["error"]["code"] == "unavailable"
    start = time.monotonic()
    status, _ = await bob.call("POST", "/api/auth/logout", url=there)
    assert status < 300
    assert await revoked.closed() == 4401
    assert time.monotonic() - start < 2

    await apart.come_back()
    lost = await open_one.next("lost", topic=f"conv:{conversation}")
    assert lost["position"][:8] != before["id"][:8]
    async with asyncio.timeout(10):
        while "error" in (await open_one.subscribe(f"conv:{other}"))["topics"][0]:
            await asyncio.sleep(0.1)
    await ann.send(conversation, "after")
    while (event := await open_one.event("MessageReceived"))["data"]["text"] != "after":
        pass
    assert event["id"][:8] == lost["position"][:8]
    await ann.send(other, "there, too")
    assert (await open_one.event("MessageReceived"))["data"]["text"] == "there, too"


# The process stops


async def test_a_process_that_stops_sends_its_clients_elsewhere(http: aiohttp.ClientSession, migrated: Backing) -> None:
    process = Web.start(migrated.env).ready()
    ann = await register(http, process.url)
    sockets = [await ann.socket() for _ in range(4)]
    stopping = asyncio.create_task(asyncio.to_thread(process.stop))
    for socket in sockets:
        told = await socket.next("reconnect")
        assert 0 <= told["inMs"] <= 200
        assert await socket.closed() == 1012
    assert await stopping == 0, process.output()
