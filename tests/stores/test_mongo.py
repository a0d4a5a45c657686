"""Every query that the product sends to MongoDB is served by an index, and every index can be sharded."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from protocols.chat import HistoryQuery
from protocols.identity import Viewer
from protocols.ids import new_id
from protocols.times import now
from services.chat.activity import mark_moved
from stores.messages import Message, Outcome
from stores.mongo import INDEXES, SHARD_KEYS, ensure_indexes, open_mongo
from tests.backing import Backing
from tests.chat import Chat, chat
from tests.commands import Command, Commands, examined, explainable, stages

ROOMS, MESSAGES = 16, 40


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
async def process(backing: Backing, commands: Commands) -> AsyncIterator[Chat]:
    """On a database of its own."""
    name = "t" + secrets.token_hex(6)
    own = replace(backing, mongodb_url=backing.mongodb_url.replace("/wechat?", f"/{name}?"))
    async with chat(own, listeners=[commands]) as made:
        assert made.database.name == name
        await ensure_indexes(made.database)
        yield made
        await made.mongo.drop_database(name)


async def filled(process: Chat) -> tuple[Viewer, Viewer, list[str]]:
    """Two people and enough conversations and messages of theirs that a scan would show."""
    ann, bob = await process.crowd(2)
    rooms = [await process.create("group", ann, bob) for _ in range(ROOMS - 1)] + [
        await process.create("direct", ann, bob)
    ]
    for room in rooms:
        senders = (ann.user_id, bob.user_id)
        messages = [
            Message(new_id(), room, seq, "user", senders[seq % 2], new_id(), "x", None, 1, now())
            for seq in range(1, MESSAGES + 1)
        ]
        assert await process.messages.append(messages, ordered=True) == [Outcome.STORED] * MESSAGES
    return ann, bob, rooms


async def explain(process: Chat, question: Command) -> Command:
    return dict(await process.database.command({"explain": question, "verbosity": "executionStats"}))


async def use_everything(process: Chat, ann: Viewer, bob: Viewer, rooms: list[str]) -> None:
    """Whatever the handlers and the loops ask for."""
    await process.create("direct", bob, ann)
    summaries, cursor, _ = await process.conversations.page(ann, None, 10)
    await process.conversations.page(ann, cursor, 10)
    await process.conversations.get(ann, rooms[0])
    await process.conversations.members(ann, rooms[0], None, 1)
    for asked in ({}, {"before": 30}, {"after": 30}, {"after": 99}):
        await process.reading.history(bob, rooms[0], HistoryQuery.model_validate(asked))
    await process.send(ann, rooms[0], "hello", "same")
    await process.send(bob, rooms[0], "hello", "same")
    await process.send(ann, rooms[0], "hello", "same")
    await process.reading.read(bob, rooms[0], 40)
    await process.activity.flush()
    await process.store.read_up_to(rooms[1], bob.user_id, 5, mark_moved(rooms[1], bob.user_id))
    await process.marks.send(*await process.rows.waiting(now() + timedelta(seconds=9), 10))
    await process.store.memberships(bob.user_id, rooms)
    await process.messages.get(rooms[0], new_id())
    await process.messages.touched_since(now() - timedelta(seconds=15))
    await process.people.by_username(ann.username)
    await process.people.get(ann.user_id)
    assert len(summaries) == 10


async def test_every_query_is_served_by_an_index_and_sorts_nothing(process: Chat, commands: Commands) -> None:
    ann, bob, rooms = await filled(process)
    commands.clear()
    await use_everything(process, ann, bob, rooms)
    questions = list(explainable(commands.seen))
    asked = {(next(iter(question)), next(iter(question.values()))) for question in questions}
    assert asked >= {
        *(("find", name) for name in ("profiles", "conversations", "conversation_members", "direct_pairs", "messages")),
        ("aggregate", "messages"),
        ("update", "conversation_members"),
        ("findAndModify", "conversation_members"),
    }
    for question in questions:
        names = [stage["stage"] for stage in stages(await explain(process, question))]
        assert names and not {"COLLSCAN", "SORT"} & set(names), (question, names)
        assert {"IXSCAN", "IDHACK", "DISTINCT_SCAN", "COUNT_SCAN"} & set(names), (question, names)


async def test_every_hot_query_names_the_shard_key(process: Chat, commands: Commands) -> None:
    ann, bob, rooms = await filled(process)
    commands.clear()
    await use_everything(process, ann, bob, rooms)
    everywhere = set()
    for question in explainable(commands.seen):
        name, collection = next(iter(question.items()))
        if SHARD_KEYS[collection] not in str(conditions(question)):
            everywhere.add((name, collection, *sorted(conditions(question))))
    # By who it is about and not by where it is: a user's list, a name, the sweeps.
    assert everywhere == {
        ("find", "conversation_members", "userId"),
        ("find", "conversation_members", "outbox.at"),
        ("find", "profiles", "username"),
        ("aggregate", "messages", "createdAt"),
    }


def conditions(question: Command) -> dict[str, Any]:
    """The filter of a command. Inside `$or` a shard key would not help."""
    if "pipeline" in question:
        return dict(question["pipeline"][0]["$match"])
    parts = [question.get("filter"), question.get("query"), *(each["q"] for each in question.get("updates", ()))]
    return {name: value for part in parts for name, value in (part or {}).items() if name != "$or"}


@pytest.mark.parametrize("many", [1, 2, ROOMS])
async def test_the_newest_messages_cost_a_seek_a_conversation(process: Chat, commands: Commands, many: int) -> None:
    ann, _, rooms = await filled(process)
    commands.clear()
    newest = await process.messages.newest_of(rooms[:many])
    own = await process.messages.newest_by(ann.user_id, rooms[:many])
    assert {room: message.seq for room, message in newest.items()} == dict.fromkeys(rooms[:many], MESSAGES)
    assert {room: message.seq for room, message in own.items()} == dict.fromkeys(rooms[:many], MESSAGES)
    for question in explainable(commands.seen):
        plan = await explain(process, question)
        assert "DISTINCT_SCAN" in [stage["stage"] for stage in stages(plan)]
        keys, documents = examined(plan)
        assert documents == many and keys <= 2 * many + 1, (question, keys, documents)


async def test_a_page_reads_no_more_rows_than_it_shows(process: Chat, commands: Commands) -> None:
    ann, _, rooms = await filled(process)
    _, cursor, _ = await process.conversations.page(ann, None, 8)
    commands.clear()
    page, _, _ = await process.conversations.page(ann, cursor, 5)
    [question] = [
        each for each in explainable(commands.seen) if each.get("find") == "conversation_members" and "limit" in each
    ]
    keys, documents = examined(await explain(process, question))
    assert len(page) == 5 and documents == 6 and keys <= 8


async def test_history_reads_no_more_messages_than_it_shows(process: Chat, commands: Commands) -> None:
    _, bob, rooms = await filled(process)
    await process.reading.history(bob, rooms[3], HistoryQuery())
    commands.clear()
    for asked in ({"limit": 5}, {"before": 30, "limit": 5}, {"after": 30, "limit": 5}):
        await process.reading.history(bob, rooms[3], HistoryQuery.model_validate(asked))
    finds = [each for each in explainable(commands.seen) if each.get("find") == "messages"]
    read = [examined(await explain(process, question))[1] for question in finds]
    assert read.count(6) == 3 and max(read) == 6, "a page and one more; the newest seq is covered by the index"


async def test_a_roster_without_outbox_costs_the_sweep_nothing(process: Chat, commands: Commands) -> None:
    ann, bob, rooms = await filled(process)
    for room in rooms:
        await process.reading.read(bob, room, 5)
    commands.clear()
    assert await process.rows.waiting(now() + timedelta(seconds=9), 10) == []
    [question] = explainable(commands.seen)
    assert examined(await explain(process, question)) == (0, 0)


def test_each_shard_key_begins_the_unique_indexes_of_its_collection() -> None:
    assert set(INDEXES) <= set(SHARD_KEYS)
    for collection, indexes in INDEXES.items():
        unique = [index.document for index in indexes if index.document.get("unique")]
        assert [next(iter(index["key"])) for index in unique] == [SHARD_KEYS[collection]] * len(unique)


async def test_what_the_product_writes_goes_to_named_collections(process: Chat) -> None:
    ann, bob, rooms = await filled(process)
    await use_everything(process, ann, bob, rooms)
    assert set(await process.database.list_collection_names()) == set(SHARD_KEYS)


async def test_indexes_can_be_made_again(backing: Backing, process: Chat) -> None:
    before = {name: await process.database[name].index_information() for name in INDEXES}
    mongo = open_mongo(backing.mongodb_url)
    await ensure_indexes(mongo.get_database(process.database.name))
    mongo.close()
    assert {name: await process.database[name].index_information() for name in INDEXES} == before
