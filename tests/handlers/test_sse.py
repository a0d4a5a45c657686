"""The event stream: its first event, ids, resume, and what is refused before it begins."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from tests.web import Person, people, register

WAIT_S = 10.0


@dataclass
class Heard:
    """One event as a browser's EventSource would see it."""

    type: str
    data: Any
    last_id: str


@dataclass
class Source:
    """A client of the stream; keeps the last id, as EventSource does."""

    answer: aiohttp.ClientResponse
    last_id: str = ""
    retry: int = 0

    async def next(self, wanted: str) -> Heard:
        """The next event of this type; others are passed over."""
        async with asyncio.timeout(WAIT_S):
            while (heard := await self._event()).type != wanted:
                pass
            return heard

    async def _event(self) -> Heard:
        fields: dict[str, str] = {}
        while True:
            line = (await self.answer.content.readline()).decode()
            if not line:
                raise AssertionError("the stream ended")
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "retry":
                self.retry = int(value)
            elif name in ("event", "data"):
                fields[name] = value
            elif not name and fields:
                return Heard(fields.get("event", "message"), orjson.loads(fields["data"]), self.last_id)


@asynccontextmanager
async def source(person: Person, *topics: str, url: str | None = None, **query: str) -> AsyncIterator[Source]:
    parameters = [("topic", topic) for topic in topics] + list(query.items())
    headers = {"Last-Event-ID": query.pop("last_event_id")} if "last_event_id" in query else {}
    parameters = [(name, value) for name, value in parameters if name != "last_event_id"]
    async with person.http.get(
        (url or person.url) + "/events", params=parameters, headers={**person.bearer, **headers}
    ) as answer:
        assert answer.status == 200, await answer.text()
        yield Source(answer)


async def test_first_comes_what_became_of_each_topic(http: aiohttp.ClientSession, app_url: str) -> None:
    ann, bob, eve = await people(http, app_url, 3)
    mine, others = await ann.direct(bob), await bob.direct(eve)
    async with source(ann, f"conv:{mine}", f"conv:{others}") as stream:
        first = await stream.next("subscribed")
        own, conversation, refused = first.data["topics"]
        assert own["topic"] == f"user:{ann.user_id}" and conversation["topic"] == f"conv:{mine}"
        assert refused["error"]["code"] == "topic_not_found"
        assert first.last_id == f"{own['position']},{conversation['position']},-"
        assert stream.retry == 2000
        assert stream.answer.headers["Cache-Control"] == "no-cache, no-transform"
        assert stream.answer.headers["X-Accel-Buffering"] == "no"


async def test_an_event_has_the_positions_of_all_topics(http: aiohttp.ClientSession, app_url: str) -> None:
    ann, bob = await people(http, app_url, 2)
    conversation_id = await ann.direct(bob)
    async with source(bob, f"conv:{conversation_id}", user="0") as stream:
        await stream.next("subscribed")
        sent = await ann.send(conversation_id, "hello")
        heard = await stream.next("MessageReceived")
        assert heard.data["topic"] == f"conv:{conversation_id}" and heard.data["actorId"] == ann.user_id
        assert heard.data["data"]["messageId"] == sent["messageId"]
        assert heard.last_id.endswith(":1") and "," not in heard.last_id


async def test_a_stream_goes_on_after_its_last_id(http: aiohttp.ClientSession, app_url: str) -> None:
    ann, bob = await people(http, app_url, 2)
    conversation_id = await ann.direct(bob)
    async with source(bob, f"conv:{conversation_id}") as stream:
        await stream.next("subscribed")
        await ann.send(conversation_id, "one")
        await stream.next("MessageReceived")
    for text in ("two", "three"):
        await ann.send(conversation_id, text)
    for how in ("last_event_id", "lastEventId"):
        async with source(bob, f"conv:{conversation_id}", **{how: stream.last_id}) as again:
            first = await again.next("subscribed")
            assert [topic["recovered"] for topic in first.data["topics"]] == [True, True]
            texts = [(await again.next("MessageReceived")).data["data"]["text"] for _ in range(2)]
            assert texts == ["two", "three"]


async def test_a_socket_goes_on_where_a_stream_was(http: aiohttp.ClientSession, app_url: str) -> None:
    ann, bob = await people(http, app_url, 2)
    topic = f"conv:{await ann.direct(bob)}"
    async with source(bob, topic, user="0") as stream:
        await stream.next("subscribed")
    await ann.send(topic[5:], "meanwhile")
    socket = await bob.socket()
    answer = await socket.subscribe_after({topic: stream.last_id})
    assert answer["topics"][0]["recovered"] is True
    assert (await socket.event("MessageReceived"))["data"]["text"] == "meanwhile"


async def test_an_id_of_another_url_counts_as_none(http: aiohttp.ClientSession, app_url: str) -> None:
    ann = await register(http, app_url)
    for strange in ("a,b,c", "garbage", "abcdefgh:1,abcdefgh:2", "abcdefgh:-1"):
        async with source(ann, last_event_id=strange) as stream:
            [own] = (await stream.next("subscribed")).data["topics"]
            assert "recovered" not in own


async def test_refusals_come_before_the_stream(http: aiohttp.ClientSession, app_url: str) -> None:
    ann, bob, eve = await people(http, app_url, 3)
    others = await bob.direct(eve)
    too_many = "&".join(f"topic=conv:{i}" for i in range(51))
    for query, headers, status, code in (
        ("", {}, 401, "unauthenticated"),
        ("?access_token=forged", {}, 401, "unauthenticated"),
        (f"?user=0&topic=conv:{others}", ann.bearer, 404, "topic_not_found"),
        ("?user=0", ann.bearer, 400, "no_topics"),
        (f"?{too_many}", ann.bearer, 400, "too_many_topics"),
    ):
        async with http.get(f"{app_url}/events{query}", headers=headers) as answer:
            assert answer.status == status, query
            assert (await answer.json())["error"]["code"] == code


async def test_the_stream_ends_with_its_session(http: aiohttp.ClientSession, app_url: str) -> None:
    ann = await register(http, app_url)
    async with source(ann) as stream:
        await stream.next("subscribed")
        await ann.call("POST", "/api/auth/logout")
        async with asyncio.timeout(2):
            while await stream.answer.content.readline():
                pass
