"""Conversations: made, found, listed."""

import asyncio
import json
import random

import aiohttp
import pytest

from protocols.errors import Failure
from protocols.identity import Viewer
from protocols.ids import new_id
from tests.backing import Backing
from tests.chat import Chat
from tests.web import people, start_many

Listed = tuple[list[str], dict[str, str]]


async def pages(process: Chat, viewer: Viewer, limit: int, between: list[str] | None = None) -> Listed:
    """Ids over all pages and the first page's positions; `between`: conversations in which the viewer's friends
    write while the next page is asked for."""
    ids: list[str] = []
    first: dict[str, str] | None = None
    cursor: str | None = None
    while first is None or cursor is not None:
        page, cursor, positions = await process.conversations.page(viewer, cursor, limit)
        assert len(page) <= limit
        first = positions if first is None else first
        ids += [summary["conversationId"] for summary in page]
        if between:
            await process.send(viewer, between.pop())
            await process.activity.flush()
    return ids, first


async def test_a_direct_conversation_is_one_however_often_created(process: Chat, other: Chat) -> None:
    ann, bob = await process.crowd(2)
    made = [await each.create("direct", *pair) for each in (process, other) for pair in ((ann, bob), (bob, ann))]
    assert len(set(made)) == 1
    summary, _ = await other.conversations.get(bob, made[0])
    assert summary["memberCount"] == 2 and summary["role"] == "member"
    assert summary["peer"] is not None and summary["peer"]["userId"] == ann.user_id


async def test_a_direct_conversation_is_one_when_both_make_it_at_once(process: Chat, other: Chat) -> None:
    for _ in range(5):
        ann, bob = await process.crowd(2)
        pairs = [(each, *pair) for each in (process, other) for pair in ((ann, bob), (bob, ann))] * 3
        made = await asyncio.gather(*(each.create("direct", one, two) for each, one, two in pairs))
        assert len(set(made)) == 1
        rows = await process.database["conversation_members"].count_documents({"conversationId": made[0]})
        mine = await process.store.page_of(ann.user_id, None, 10)
        assert rows == 2 and [row.conversation_id for row in mine] == [made[0]]


@pytest.mark.slow
async def test_two_processes_answer_one_creator_with_201_and_all_others_with_200(
    http: aiohttp.ClientSession, migrated: Backing
) -> None:
    processes = start_many(migrated.env, 2)
    try:
        ann, bob = await people(http, processes[0].url, 2)
        bodies = [
            (ann, {"type": "direct", "memberIds": [bob.user_id]}),
            (bob, {"type": "direct", "memberIds": [ann.user_id]}),
        ]
        calls = [
            who.call("POST", "/api/chat/conversations", body, url=process.url)
            for process in processes
            for who, body in bodies * 5
        ]
        answers = await asyncio.gather(*calls)
        assert sorted(status for status, _ in answers) == [200] * 19 + [201]
        assert len({body["data"]["conversationId"] for _, body in answers}) == 1
    finally:
        assert [process.stop() for process in processes] == [0, 0]


async def test_groups_are_as_many_as_are_made(process: Chat) -> None:
    ann, bob, eve = await process.crowd(3)
    made = [await process.create("group", ann, bob, eve, bob, ann) for _ in range(2)]
    assert len(set(made)) == 2
    summary, _ = await process.conversations.get(ann, made[0])
    assert (summary["type"], summary["role"], summary["memberCount"], summary["peer"]) == ("group", "owner", 3, None)
    members, following = await process.conversations.members(bob, made[0], None, 2)
    rest, end = await process.conversations.members(bob, made[0], following, 2)
    assert {m["userId"]: m["role"] for m in members + rest} == {
        ann.user_id: "owner",
        bob.user_id: "member",
        eve.user_id: "member",
    }
    assert len(members) == 2 and end is None


async def test_nobody_and_a_stranger_to_all_are_no_members(process: Chat) -> None:
    ann = await process.person()
    for others in ([ann.user_id], [new_id()]):
        with pytest.raises(Failure, match="invalid") as caught:
            await process.create("group", ann, *(Viewer(each, "", "", (), 0) for each in others))
        assert [detail.field for detail in caught.value.details] == ["memberIds"]


async def test_a_list_has_every_conversation_once_newest_activity_first(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    made = [await process.create("group", ann, bob) for _ in range(23)]
    spoken = random.Random(1).sample(made, 10)
    for conversation_id in spoken:
        await process.send(bob, conversation_id)
        await process.activity.flush()
    for limit in (1, 5, 22, 23, 100):
        ids, _ = await pages(process, ann, limit)
        assert sorted(ids) == sorted(made) and ids[:10] == spoken[::-1]


async def test_what_moves_up_while_one_pages_comes_as_an_event_and_nothing_twice(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    made = [await process.create("group", bob, ann) for _ in range(12)]
    ids, positions = await pages(process, ann, 3, between=[made[0], made[11], made[1], made[5]])
    topic = f"user:{ann.user_id}"
    told = [entry.key for entry in await process.log(topic, positions[topic], "ConversationUpdated")]
    assert len(ids) == len(set(ids)), "nothing twice"
    assert set(ids) | set(told) == set(made), "what moved away from the pages was told"
    assert set(ids) != set(made), "else nothing moved"


async def test_everybody_is_told_of_a_new_conversation(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    after = await process.position(f"user:{bob.user_id}")
    conversation_id = await process.create("direct", ann, bob)
    [told] = await process.log(f"user:{bob.user_id}", after)
    assert (told.type, told.key) == ("ConversationUpdated", conversation_id)
    [listed], _, _ = await process.conversations.page(bob, None, 10)
    assert json.loads(told.data) == listed and told.version == listed["rev"]


async def test_strangers_see_neither_the_conversation_nor_its_members(process: Chat) -> None:
    ann, bob, eve = await process.crowd(3)
    conversation_id = await process.create("direct", ann, bob)
    for wanted in (conversation_id, new_id()):
        with pytest.raises(Failure, match="conversation_not_found"):
            await process.conversations.get(eve, wanted)
        with pytest.raises(Failure, match="conversation_not_found"):
            await process.conversations.members(eve, wanted, None, 10)
    assert (await process.conversations.page(eve, None, 10))[0] == []
