"""Fifty people write into one conversation through four processes at once: one order, whoever looks, wherever."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from protocols.positions import parse_position
from stores.messages import Messages
from stores.mongo import open_mongo
from stores.topics import Topics
from stores.wire import Line
from tests.backing import Backing
from tests.web import Json, Person, Socket, Web, people, start_many

PROCESSES, SENDERS, MESSAGES = 4, 50, 8
REPEATS = 0.15  # of the messages are sent again through another process, at once or later


@pytest.fixture(scope="module")
def processes(migrated: Backing) -> Iterator[list[Web]]:
    made = start_many(migrated.env, PROCESSES, RATE_LIMITS="off")
    yield made
    assert [process.stop() for process in made] == [0] * PROCESSES, [process.output() for process in made]


@pytest.fixture(scope="module")
def accounts(processes: list[Web]) -> list[tuple[Json, Json]]:
    async def register() -> list[tuple[Json, Json]]:
        async with aiohttp.ClientSession() as http:
            return [(person.user, person.tokens) for person in await people(http, processes[0].url, SENDERS)]

    return asyncio.run(register())


@dataclass
class Said:
    """All answers to one clientMessageId: (status, message); by websocket the status is 0."""

    answers: list[tuple[int, Json]] = field(default_factory=list)

    @property
    def message(self) -> Json:
        assert all(message == self.answers[0][1] for _, message in self.answers), "a repeat is answered with the first"
        assert [status for status, _ in self.answers].count(201) <= 1
        return self.answers[0][1]


async def send(person: Person, conversation_id: str, client_id: str, via: Socket | str) -> tuple[int, Json]:
    message = {"clientMessageId": client_id, "text": f"{client_id} says hello"}
    if isinstance(via, Socket):
        frame = await via.method("SendMessage", {"conversationId": conversation_id, **message})
        return 0, frame["data"]
    status, body = await person.call("POST", f"/api/chat/conversations/{conversation_id}/messages", message, url=via)
    assert status in (200, 201), body
    return status, body["data"]


async def talk(person: Person, conversation_id: str, urls: Sequence[str], dice: random.Random) -> list[Said]:
    """One sender: each message by REST or by websocket, waiting for each; some of them twice."""
    home = dice.choice(urls)
    socket = await person.socket(home) if dice.random() < 0.5 else None
    said = []
    for i in range(MESSAGES):
        client_id = f"{person.user_id[-12:]}-{i}"
        sends = [send(person, conversation_id, client_id, socket or home)]
        again = dice.random() < REPEATS
        if again:
            sends.append(send(person, conversation_id, client_id, dice.choice([url for url in urls if url != home])))
        said.append(Said(list(await asyncio.gather(*sends))))
        if again:
            said[-1].answers.append(await send(person, conversation_id, client_id, dice.choice(urls)))
        await asyncio.sleep(dice.random() * 0.02)
    return said


async def poll(reader: Person, conversation_id: str, urls: Sequence[str], dice: random.Random, seen: list[int]) -> None:
    """Read on for ever; whatever is there, nothing below it may be missing."""
    while True:
        path = f"/api/chat/conversations/{conversation_id}/messages?limit=100&after={len(seen)}"
        body = await reader.ok("GET", path, url=dice.choice(urls))
        seqs = [message["seq"] for message in body["data"]]
        assert seqs == list(range(len(seen) + 1, len(seen) + 1 + len(seqs))), "a reader saw a gap"
        assert body["lastSeq"] >= len(seen)
        seen += seqs


async def followed(socket: Socket, conversation_id: str, count: int) -> list[Json]:
    """The first so many messages that a follower is told of."""
    told: list[Json] = []
    while len(told) < count:
        event = await socket.event("MessageReceived", wait_s=30)
        assert event["topic"] == f"conv:{conversation_id}"
        told.append(event["data"])
    return told


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_all_see_the_same_messages_in_the_same_order(
    http: aiohttp.ClientSession, migrated: Backing, processes: list[Web], accounts: list[Any], seed: int
) -> None:
    print("seed", seed)
    dice, urls = random.Random(seed), [process.url for process in processes]
    crowd = [Person(http, urls[0], user, tokens) for user, tokens in accounts]
    conversation_id = await crowd[0].group(*crowd[1:])
    topic = f"conv:{conversation_id}"
    followers = [await crowd[i].socket(url) for i, url in enumerate(urls)]
    positions = [(await follower.subscribe(topic))["topics"][0]["position"] for follower in followers]
    count = SENDERS * MESSAGES
    hearing = [asyncio.create_task(followed(follower, conversation_id, count)) for follower in followers]
    seen: list[list[int]] = [[], []]
    polls = [asyncio.create_task(poll(crowd[7], conversation_id, urls, dice, each)) for each in seen]

    talks = (talk(person, conversation_id, urls, random.Random(dice.random())) for person in crowd)
    said = await asyncio.gather(*talks)
    heard = await asyncio.gather(*hearing)
    async with asyncio.timeout(10):
        while min(map(len, seen)) < count:
            assert not any(each.done() for each in polls), [each.exception() for each in polls if each.done()]
            await asyncio.wait(polls, timeout=0.05)
    for each in polls:
        each.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*polls)

    answered = sorted((one.message for each in said for one in each), key=lambda message: message["seq"])
    for each in said:
        own = [one.message["seq"] for one in each]
        assert own == sorted(own), "what one waits for comes first"
    stored, logged = await kept(migrated, conversation_id, positions[0])
    truth = [message["messageId"] for message in answered]
    assert [message["seq"] for message in answered] == list(range(1, count + 1)) and len(set(truth)) == count
    assert stored == list(zip(range(1, count + 1), truth, strict=True))
    assert logged == list(range(1, count + 1))
    for told in heard:
        assert [message["messageId"] for message in told] == truth
    assert seen == [list(range(1, count + 1))] * 2


async def kept(backing: Backing, conversation_id: str, position: str) -> tuple[list[tuple[int, str]], list[int]]:
    """(seq, id) of what the database has, and the seqs in the topic's log, both in their order."""
    mongo, line = open_mongo(backing.mongodb_url), Line(backing.redis_url)
    try:
        stored = await Messages(mongo.get_default_database("wechat")).after(conversation_id, 0, 100_000)
        chunk = await Topics(line).read(f"conv:{conversation_id}", parse_position(position), 1_000)
        assert chunk is not None and chunk.holds(parse_position(position))
        received = [entry for entry in chunk.entries if entry.type == "MessageReceived"]
        return [(m.seq, m.message_id) for m in stored], [int(entry.key.partition(":")[0]) for entry in received]
    finally:
        line.close()
        await asyncio.to_thread(mongo.close)
