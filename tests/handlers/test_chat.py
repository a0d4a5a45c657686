"""Conversations and messages over HTTP and websocket: what is refused, and that nobody learns more from it."""

import asyncio
import gzip
import io
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given
from hypothesis import settings as generated
from hypothesis import strategies as st
from redis.asyncio.client import Monitor

import server.app
from protocols.cursors import write_cursor
from protocols.ids import new_id
from settings import Settings
from stores.mongo import open_mongo
from stores.redis import open_redis
from tests.backing import Backing
from tests.commands import Commands
from tests.errors import assert_error, assert_error_object
from tests.web import Json, Person, Web, people

Answer = tuple[int, Mapping[str, str], Json]

CONVERSATIONS = "/api/chat/conversations"


@dataclass
class Room:
    """Two people in a conversation, and one who is not in it."""

    ann: Person
    bob: Person
    eve: Person
    conversation_id: str

    @property
    def path(self) -> str:
        return f"{CONVERSATIONS}/{self.conversation_id}"

    @property
    def messages(self) -> str:
        return self.path + "/messages"


async def made(http: aiohttp.ClientSession, url: str) -> Room:
    ann, bob, eve = await people(http, url, 3)
    return Room(ann, bob, eve, await ann.direct(bob))


@pytest.fixture
async def room(http: aiohttp.ClientSession, web_url: str) -> Room:
    return await made(http, web_url)


async def ask(person: Person, method: str, path: str, data: str | bytes | None = None, **headers: str) -> Answer:
    """With a body of any bytes; JSON unless another Content-Type is given."""
    given_ = {
        **person.bearer,
        "Content-Type": "application/json",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    body = io.BytesIO(data) if isinstance(data, bytes) else data
    async with person.http.request(method, person.url + path, data=body, headers=given_) as answer:
        text = await answer.text()
        return answer.status, answer.headers, json.loads(text) if text else {}


# Created and repeated


async def test_a_send_is_201_and_its_repeat_200_with_the_same_body(room: Room) -> None:
    body = {"clientMessageId": "same", "text": "hello"}
    first = await room.ann.call("POST", room.messages, body)
    again = await room.ann.call("POST", room.messages, body)
    assert (first[0], again[0]) == (201, 200) and first[1] == again[1]
    message = first[1]["data"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message.pop("createdAt"))
    assert message == {
        "messageId": message["messageId"],
        "conversationId": room.conversation_id,
        "seq": 1,
        "kind": "user",
        "system": None,
        "senderId": room.ann.user_id,
        "clientMessageId": "same",
        "text": "hello",
        "media": [],
        "replyTo": None,
        "mentions": [],
        "reactions": {},
        "myReaction": None,
        "rev": 1,
        "editedAt": None,
        "deletedAt": None,
    }


async def test_a_direct_conversation_is_201_and_then_200_with_the_same_body(room: Room) -> None:
    ann, eve = room.ann, room.eve
    answers = [await ann.call("POST", CONVERSATIONS, {"type": "direct", "memberIds": [eve.user_id]}) for _ in range(2)]
    assert [status for status, _ in answers] == [201, 200] and answers[0][1] == answers[1][1]
    assert list(answers[0][1]["positions"]) == [f"conv:{answers[0][1]['data']['conversationId']}"]


async def test_what_is_answered_beside_the_data(room: Room) -> None:
    await room.ann.send(room.conversation_id, "hello")
    listed = await room.bob.ok("GET", CONVERSATIONS + "?limit=5")
    assert listed["pagination"] == {"nextCursor": None, "limit": 5}
    assert list(listed["positions"]) == [f"user:{room.bob.user_id}"]
    history = await room.bob.ok("GET", room.messages)
    assert (history["lastSeq"], history["pagination"]) == (1, {"nextCursor": None, "limit": 50})
    assert list(history["positions"]) == [f"conv:{room.conversation_id}"]
    members = await room.bob.ok("GET", room.path + "/members?limit=1")
    assert members["pagination"]["nextCursor"] and set(members["data"][0]) == {"userId", "role", "joinedAt", "person"}
    assert (await room.bob.ok("PUT", room.path + "/read", {"seq": 1}))["data"] == {
        "lastReadSeq": 1,
        "unreadCount": 0,
        "mentionCount": 0,
    }


# Bad input

NOT_JSON = [b"", b"{", b"{'a': 1}", b"\xff\xfe", b'{"text": "\\ud800"}', b"[" * 100_000, b'{"a":1}{"b":2}']
NO_OBJECT = [b"[]", b"null", b"1", b'"text"', b"true"]
WRITES = ("POST " + CONVERSATIONS, "POST {}/messages", "PUT {}/read")


@pytest.mark.parametrize("write", WRITES)
async def test_a_body_that_is_no_json_object_is_malformed(room: Room, write: str) -> None:
    method, path = write.format(room.path).split()
    for body in NOT_JSON + NO_OBJECT:
        assert_error(await ask(room.ann, method, path, body), 400, "malformed")


@pytest.mark.parametrize("write", WRITES)
async def test_a_body_of_another_type_is_refused(room: Room, write: str) -> None:
    method, path = write.format(room.path).split()
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", "nonsense"):
        assert_error(await ask(room.ann, method, path, b"{}", Content_Type=content_type), 415, "wrong_type")


@pytest.mark.parametrize("write", WRITES)
async def test_a_body_over_the_limit_is_too_large(room: Room, write: str) -> None:
    method, path = write.format(room.path).split()
    body = b'{"text": "' + b"x" * (1 << 20) + b'"}'
    assert_error(await ask(room.ann, method, path, body), 413, "too_large")
    packed = gzip.compress(body)
    assert_error(await ask(room.ann, method, path, packed, Content_Encoding="gzip"), 413, "too_large")


async def test_a_body_that_cannot_be_unpacked_is_malformed(room: Room) -> None:
    assert_error(await ask(room.ann, "POST", room.messages, b"garbage", Content_Encoding="gzip"), 400, "malformed")


LONG, NAME = "x" * 4_001, "n" * 65
SOMEBODY = "01900000-0000-7000-8000-000000000000"
INVALID: list[tuple[str, Any, list[str]]] = [
    ("POST {}/messages", {}, ["clientMessageId", "text"]),
    ("POST {}/messages", {"clientMessageId": 1, "text": 2, "replyTo": 3}, ["clientMessageId", "text", "replyTo"]),
    ("POST {}/messages", {"clientMessageId": None, "text": ["a"]}, ["clientMessageId", "text"]),
    ("POST {}/messages", {"clientMessageId": "", "text": ""}, ["clientMessageId", "text"]),
    ("POST {}/messages", {"clientMessageId": NAME, "text": LONG}, ["clientMessageId", "text"]),
    ("POST {}/messages", {"clientMessageId": "a", "text": "a\0b"}, ["text"]),
    ("POST {}/messages", {"clientMessageId": "a", "text": " \n\t"}, ["text"]),
    ("POST {}/messages", {"clientMessageId": "a", "text": "b", "replyTo": "c"}, ["replyTo"]),
    ("POST {}/messages", {"clientMessageId": "a", "text": "b", "replyTo": SOMEBODY + "\n"}, ["replyTo"]),
    ("POST {}/messages", {"client_message_id": "a", "text": "b"}, ["clientMessageId"]),
    ("PUT {}/read", {}, ["seq"]),
    ("PUT {}/read", {"seq": "1"}, ["seq"]),
    ("PUT {}/read", {"seq": 1.5}, ["seq"]),
    ("PUT {}/read", {"seq": True}, ["seq"]),
    ("PUT {}/read", {"seq": -1}, ["seq"]),
    ("PUT {}/read", {"seq": 1 << 53}, ["seq"]),
    ("PUT {}/read", {"seq": 10**400}, ["seq"]),
    ("POST " + CONVERSATIONS, {}, ["type", "memberIds"]),
    ("POST " + CONVERSATIONS, {"type": "crowd", "memberIds": SOMEBODY, "title": 1}, ["type", "memberIds", "title"]),
    ("POST " + CONVERSATIONS, {"type": "group", "memberIds": []}, ["memberIds"]),
    ("POST " + CONVERSATIONS, {"type": "group", "memberIds": ["a", SOMEBODY, 7]}, ["memberIds.0", "memberIds.2"]),
    ("POST " + CONVERSATIONS, {"type": "group", "memberIds": [SOMEBODY] * 1_001}, ["memberIds"]),
    ("POST " + CONVERSATIONS, {"type": "group", "memberIds": [SOMEBODY]}, ["memberIds"]),
    ("POST " + CONVERSATIONS, {"type": "group", "memberIds": [SOMEBODY], "title": "t" * 101}, ["title"]),
    ("POST " + CONVERSATIONS, {"type": "group", "memberIds": [SOMEBODY], "title": "\0"}, ["title"]),
    ("POST " + CONVERSATIONS, {"type": "direct", "memberIds": [SOMEBODY], "title": "t"}, ["body"]),
    ("POST " + CONVERSATIONS, {"type": "direct", "memberIds": [SOMEBODY, SOMEBODY[:-1] + "1"]}, ["body"]),
]


@pytest.mark.parametrize(("write", "body", "fields"), INVALID)
async def test_every_field_at_fault_is_listed(room: Room, write: str, body: Any, fields: list[str]) -> None:
    method, path = write.format(room.path).split()
    assert_error(await ask(room.ann, method, path, json.dumps(body)), 422, "invalid", *fields)
    assert (await room.ann.ok("GET", room.messages))["lastSeq"] == 0, "nothing came of it"


async def test_the_longest_text_and_the_oddest_characters_are_kept_as_they_are(room: Room) -> None:
    for text in ("x" * 4_000, "\U0001f600" * 4_000, "a\r\nb\tc\u2028\u200b\u202e</script>\x01\x7f\ufffe"):
        sent = await room.ann.send(room.conversation_id, text)
        [newest] = (await room.bob.ok("GET", room.messages + "?limit=1"))["data"]
        assert sent["text"] == newest["text"] == text


FOREIGN = [
    "",
    "x",
    "%00",
    "!!!!",
    "%ED%A0%80",
    "é",
    "A" * 5_000,
    write_cursor("before", -1),
    write_cursor("before"),
    write_cursor(1, "before"),
    write_cursor("before", 1 << 60),
    write_cursor("x" * 300, 1),
    write_cursor("sideways", 1),
    write_cursor("x"),
]


@pytest.mark.parametrize("wrong", ["0", "101", "-1", "abc", "", "1.5", "1e2", "9" * 400])
async def test_a_limit_out_of_range_is_named(room: Room, wrong: str) -> None:
    for path in (CONVERSATIONS, room.messages, room.path + "/members"):
        assert_error(await ask(room.ann, "GET", f"{path}?limit={wrong}"), 422, "invalid", "limit")


async def test_a_seq_out_of_range_is_named(room: Room) -> None:
    for wrong in ("-1", str(1 << 53), "9" * 400, "abc", ""):
        answer = await ask(room.ann, "GET", f"{room.messages}?before={wrong}&after={wrong}")
        assert_error(answer, 422, "invalid", "before", "after")
    assert_error(await ask(room.ann, "GET", room.messages + "?before=1&after=1"), 400, "malformed")


async def test_a_cursor_that_this_list_never_gave_is_a_bad_cursor(room: Room) -> None:
    await room.ann.send(room.conversation_id, "1")
    await room.ann.send(room.conversation_id, "2")
    await room.ann.group(room.bob)
    lists = {path: f"{path}?limit=1" for path in (CONVERSATIONS, room.messages, room.path + "/members")}
    own = {path: (await room.ann.ok("GET", first))["pagination"]["nextCursor"] for path, first in lists.items()}
    for path in lists:
        foreign = [*FOREIGN, *(cursor for other, cursor in own.items() if other != path)]
        for cursor in foreign:
            assert_error(await ask(room.ann, "GET", f"{path}?cursor={cursor}"), 400, "bad_cursor")
        assert (await room.ann.call("GET", f"{path}?cursor={own[path]}"))[0] == 200


ENDPOINTS = [
    ("GET", CONVERSATIONS + "/{}", None),
    ("GET", CONVERSATIONS + "/{}/members", None),
    ("GET", CONVERSATIONS + "/{}/messages", None),
    ("POST", CONVERSATIONS + "/{}/messages", {"clientMessageId": "a", "text": "b"}),
    ("PUT", CONVERSATIONS + "/{}/read", {"seq": 1}),
]


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS)
async def test_what_is_no_id_is_nothing(room: Room, method: str, path: str, body: Any) -> None:
    for wrong in ("x", "1", "%00", "..%2f", SOMEBODY.upper().replace("0", "A"), SOMEBODY + "0", "%ED%A0%80", "é"):
        answer = await ask(room.ann, method, path.format(wrong), json.dumps(body))
        assert_error(answer, 404, "conversation_not_found")


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS)
async def test_nothing_is_told_to_who_is_not_signed_in(room: Room, method: str, path: str, body: Any) -> None:
    path = path.format(room.conversation_id)
    for header in ("", "Bearer", "Bearer x", "Basic eDp4", "Bearer " + room.ann.tokens["accessToken"][:-2]):
        given_ = {"Authorization": header} if header else {}
        async with room.ann.http.request(method, room.ann.url + path, json=body, headers=given_) as answer:
            assert_error((answer.status, answer.headers, await answer.json()), 401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_unknown_routes_and_wrong_methods_answer_in_the_same_shape(room: Room) -> None:
    for path in ("/api/chat", "/api/chat/conversations/", "/api/nothing", room.path + "/messages/x/y", "/api/%00"):
        assert_error(await ask(room.ann, "GET", path), 404, "not_found")
    for method, path in (
        ("DELETE", CONVERSATIONS),
        ("POST", room.path),
        ("PUT", room.messages),
        ("PATCH", CONVERSATIONS),
    ):
        answer = await ask(room.ann, method, path)
        assert_error(answer, 405, "method_not_allowed")
        assert method not in answer[1]["Allow"]


async def test_the_request_id_comes_back_where_it_is_one(room: Room) -> None:
    for path, status in ((CONVERSATIONS, 200), ("/api/nothing", 404), (CONVERSATIONS + "/x", 404)):
        answer = await ask(room.ann, "GET", path, X_Request_Id="Test.id_1-2")
        assert answer[0] == status and answer[1]["X-Request-Id"] == "Test.id_1-2"
    assert_error(await ask(room.ann, "GET", "/api/x", X_Request_Id="mine"), 404, "not_found", request_id="mine")
    for odd in ("a b", "x" * 65, "<script>", "é"):
        answer = await ask(room.ann, "GET", "/api/x", X_Request_Id=odd)
        assert_error(answer, 404, "not_found")
        assert answer[1]["X-Request-Id"] != odd


# By websocket

ARGS: list[tuple[str, Json, list[str]]] = [
    ("SendMessage", {}, ["conversationId", "clientMessageId", "text"]),
    ("SendMessage", {"conversationId": SOMEBODY, "clientMessageId": NAME, "text": LONG}, ["clientMessageId", "text"]),
    ("SendMessage", {"conversationId": "x", "clientMessageId": "a", "text": "\0"}, ["conversationId", "text"]),
    ("MarkRead", {"conversationId": 1, "seq": "1"}, ["conversationId", "seq"]),
    ("TypingStarted", {}, ["conversationId"]),
    ("TypingStopped", {"conversationId": None}, ["conversationId"]),
]


async def test_wrong_arguments_of_a_call_are_listed_and_the_socket_stays(room: Room) -> None:
    socket = await room.ann.socket()
    for method, args, fields in ARGS:
        answer = await socket.method(method, args)
        assert answer["op"] == "error"
        assert_error_object(answer["error"], "invalid", *fields)
    unknown = await socket.method("Nothing", {})
    assert_error_object(unknown["error"], "unknown_method")
    args = {"conversationId": room.conversation_id, "clientMessageId": "a", "text": "still here"}
    assert (await socket.method("SendMessage", args))["data"]["seq"] == 1


@pytest.mark.parametrize(
    "frame", ["", "{", "[]", '{"op":"x"}', '{"op":"call","args":1}', '{"op":"call","method":"\\ud800"}']
)
async def test_what_is_no_frame_closes_the_socket(room: Room, frame: str) -> None:
    socket = await room.ann.socket()
    await socket.ws.send_str(frame)
    assert await socket.closed() == 4400


# Absent and forbidden


@dataclass
class Watched:
    """The application in the test's loop, and all that it asks of MongoDB; without rates, which ask now and then."""

    url: str
    commands: Commands
    redis_url: str


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def watched_app(migrated: Backing, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> web.Application:
    for name, value in {**migrated.env, "RATE_LIMITS": "off"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(server.app, "open_mongo", lambda url: open_mongo(url, commands))
    return server.app.make_app(Settings.load())


@pytest.fixture
async def watched(migrated: Backing, watched_app: web.Application, commands: Commands) -> AsyncIterator[Watched]:
    async with TestServer(watched_app) as running:
        yield Watched(str(running.make_url("/")).rstrip("/"), commands, migrated.redis_url)


def without(ids: set[str], data: object) -> str:
    """As text, the ids left out."""
    return re.sub("|".join(map(re.escape, ids)), "ID", str(data))


async def recorded(watched: Watched, ids: set[str], attempt: Callable[[], Any]) -> tuple[str, str]:
    """What came back and what MongoDB was asked for, without the ids."""
    watched.commands.clear()
    answer = await attempt()
    asked = [each for each in watched.commands.seen if "outbox.at" not in str(each)]  # the sweep goes on meanwhile
    return without(ids, answer), without(ids, asked)


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS)
async def test_absent_and_forbidden_are_the_same_calls_and_bytes(
    http: aiohttp.ClientSession, watched: Watched, method: str, path: str, body: Any
) -> None:
    room = await made(http, watched.url)
    await room.ann.send(room.conversation_id, "hello")  # the process knows the conversation
    seen = []
    for conversation_id in (room.conversation_id, new_id(), room.conversation_id, new_id()):

        async def attempt(path: str = path.format(conversation_id)) -> tuple[int, dict[str, str], Json]:
            answer = await ask(room.eve, method, path, json.dumps(body), X_Request_Id="same")
            return answer[0], {k: v for k, v in answer[1].items() if k != "Date"}, answer[2]

        seen.append(await recorded(watched, {conversation_id}, attempt))
    assert seen[0][0].startswith("(404") and "find" in seen[0][1]
    assert seen == [seen[0]] * 4


CALLS = [
    ("SendMessage", {"clientMessageId": "a", "text": "b"}),
    ("MarkRead", {"seq": 1}),
    ("TypingStarted", {}),
    ("TypingStopped", {}),
]


@pytest.mark.parametrize(("method", "args"), CALLS)
async def test_calls_to_what_is_absent_and_forbidden_are_the_same(
    http: aiohttp.ClientSession, watched: Watched, method: str, args: Json
) -> None:
    room = await made(http, watched.url)
    await room.ann.send(room.conversation_id, "hello")
    socket = await room.eve.socket()
    seen = []
    for conversation_id in (room.conversation_id, new_id(), room.conversation_id, new_id()):

        async def attempt(conversation_id: str = conversation_id) -> Json:
            socket.refs = 0
            return await socket.method(method, {**args, "conversationId": conversation_id})

        seen.append(await recorded(watched, {conversation_id}, attempt))
    assert "conversation_not_found" in seen[0][0] and "find" in seen[0][1]
    assert seen == [seen[0]] * 4


async def test_topics_that_are_absent_and_forbidden_are_the_same(http: aiohttp.ClientSession, watched: Watched) -> None:
    room = await made(http, watched.url)
    following = await room.ann.socket()
    await following.subscribe(f"conv:{room.conversation_id}")  # the process follows it
    socket = await room.eve.socket()
    seen = []
    for kind, topic_id in (
        ("conv", room.conversation_id),
        ("conv", new_id()),
        ("user", room.ann.user_id),
        ("user", new_id()),
    ):

        async def attempt(topic: str = f"{kind}:{topic_id}") -> Json:
            socket.refs = 0
            return await socket.subscribe_after({topic: "abcdefgh:1"})

        seen.append(await recorded(watched, {topic_id}, attempt))
    assert "topic_not_found" in seen[0][0]
    assert seen[0] == seen[1] and seen[2] == seen[3]


@asynccontextmanager
async def monitored(redis_url: str, *ids: str) -> AsyncIterator[list[str]]:
    """The commands that Redis gets meanwhile about the ids, which are left out."""
    redis = open_redis(redis_url)
    heard: list[str] = []

    async def listen(monitor: Monitor) -> None:
        async for each in monitor.listen():
            if any(one in each["command"] for one in ids):
                heard.append(without(set(ids), each["command"]))
            if each["command"].endswith(end):
                return

    async with redis.monitor() as monitor:
        end = new_id()
        listening = asyncio.create_task(listen(monitor))
        yield heard
        await redis.get(end)
        await listening
    await redis.aclose()


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS)
async def test_redis_is_asked_the_same_of_what_is_absent_and_forbidden(
    http: aiohttp.ClientSession, watched: Watched, method: str, path: str, body: Any
) -> None:
    room = await made(http, watched.url)
    await room.ann.send(room.conversation_id, "hello")
    seen = []
    for conversation_id in (room.conversation_id, new_id()):
        async with monitored(watched.redis_url, conversation_id, room.eve.user_id) as asked:
            assert (await ask(room.eve, method, path.format(conversation_id), json.dumps(body)))[0] == 404
        seen.append(asked)
    assert seen[0] == seen[1]
    async with monitored(watched.redis_url, room.conversation_id) as asked:
        await room.ann.ok("GET", room.messages)
    assert any("conv:ID" in each for each in asked), "else nothing was heard above"


async def test_serving_chat_only_leaves_the_rest_absent(
    http: aiohttp.ClientSession, migrated: Backing, room: Room
) -> None:
    process = await asyncio.to_thread(lambda: Web.start(migrated.env, SERVE="chat").ready())
    try:
        room.eve.url = room.ann.url = process.url
        assert (await room.ann.ok("GET", room.path))["data"]["conversationId"] == room.conversation_id
        assert (await room.ann.send(room.conversation_id, "hello"))["seq"] == 1
        for path in ("/api/auth/me", f"/api/profiles/{room.ann.user_id}", "/ws", "/", "/static/js/app.js"):
            assert_error(await ask(room.ann, "GET", path), 404, "not_found")
        for path in ("/healthz", "/readyz"):
            assert (await room.ann.call("GET", path))[0] == 200
    finally:
        assert await asyncio.to_thread(process.stop) == 0


# Anything at all

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["direct", "group", SOMEBODY])
)
NAMES = (
    st.sampled_from(["type", "memberIds", "title", "clientMessageId", "text", "replyTo", "seq", "unread"]) | st.text()
)
ANYTHING = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6))
FUZZED = generated(
    max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
)
OBJECTS = st.dictionaries(NAMES, ANYTHING, max_size=8)


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITES)
async def test_no_body_whatever_gives_a_500(room: Room, write: str) -> None:
    method, path = write.format(room.path).split()
    bodies: list[bytes] = []

    @generated(
        max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(OBJECTS | ANYTHING)
    def collect(value: object) -> None:
        bodies.append(json.dumps(value).encode("utf-8", "surrogatepass"))

    collect()
    answers = [await ask(room.ann, method, path, body) for body in bodies]
    assert {status for status, _, _ in answers} <= {200, 201, 400, 404, 422}
    for body, answer in zip(bodies, answers, strict=True):
        if answer[0] >= 400:
            assert_error_object(answer[2]["error"], "", *(d["field"] for d in answer[2]["error"].get("details", [])))
        assert answer[0] != 500, body


@pytest.mark.slow
async def test_no_query_whatever_gives_a_500(room: Room) -> None:
    queries: list[dict[str, str]] = []
    names = st.sampled_from(["cursor", "limit", "before", "after", "box"])
    values = (
        st.text()
        | st.integers().map(str)
        | st.tuples(st.text(), st.integers(0, 1 << 60)).map(lambda k: write_cursor(*k))
    )

    @generated(
        max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(st.dictionaries(names, values, max_size=3))
    def collect(query: dict[str, str]) -> None:
        queries.append(query)

    collect()
    for query in queries:
        for path in (CONVERSATIONS, room.messages, room.path + "/members"):
            async with room.ann.http.get(room.ann.url + path, params=query, headers=room.ann.bearer) as answer:
                assert answer.status in (200, 400, 422), (path, query, await answer.text())
