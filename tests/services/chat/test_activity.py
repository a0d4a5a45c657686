"""What a message changes for those who look elsewhere: told once a second, whatever happens."""

import asyncio
import json

import aiohttp
import pytest

from services.chat.summaries import READ_MARKS_MEMBERS_MAX
from tests.backing import Backing
from tests.chat import Chat, chat
from tests.gate import gate
from tests.web import people


async def test_a_flush_tells_each_member_once_however_many_messages_came(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    topics = {viewer: f"user:{viewer.user_id}" for viewer in (ann, bob)}
    after = {viewer: await process.position(topic) for viewer, topic in topics.items()}
    for i in range(5):
        await process.send(ann, conversation_id, str(i))
    await process.activity.flush()
    for viewer, unread in ((ann, 0), (bob, 5)):
        [told] = await process.log(topics[viewer], after[viewer])
        summary = json.loads(told.data)
        assert told.type == "ConversationUpdated" and told.key == conversation_id and told.version == summary["rev"]
        assert (summary["lastSeq"], summary["unreadCount"], summary["lastMessage"]["text"]) == (5, unread, "4")


async def test_nothing_new_is_told_to_nobody(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    await process.send(ann, conversation_id)
    await process.activity.flush()
    after = await process.position(f"user:{bob.user_id}")
    await process.activity.flush()
    assert await process.log(f"user:{bob.user_id}", after) == []


async def test_a_process_tells_within_two_seconds(http: aiohttp.ClientSession, app_url: str) -> None:
    ann, bob = await people(http, app_url, 2)
    conversation_id = await ann.direct(bob)
    socket = await bob.socket()
    for i in range(3):
        await ann.send(conversation_id, str(i))
    told = await socket.event("ConversationUpdated", wait_s=2)
    while told["data"]["lastSeq"] < 3:
        told = await socket.event("ConversationUpdated", wait_s=2)
    assert (told["key"], told["version"]) == (conversation_id, told["data"]["rev"])
    assert told["data"]["unreadCount"] == 3


async def test_a_senders_mark_moves_with_an_event(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    after = await process.position(f"conv:{conversation_id}")
    await process.send_many(ann, conversation_id, ["1", "2"])
    await process.send(bob, conversation_id, "3")
    await process.quiet()
    await process.activity.flush()
    read = {entry.key: entry for entry in await process.log(f"conv:{conversation_id}", after, "MessageRead")}
    for viewer, seq in ((ann, 2), (bob, 3)):
        data = {"conversationId": conversation_id, "userId": viewer.user_id, "lastReadSeq": seq}
        assert json.loads(read[viewer.user_id].data) == data and read[viewer.user_id].version == 2
    rows = await process.database["conversation_members"].find({"conversationId": conversation_id}).to_list(None)
    assert [row["outbox"] for row in rows] == [[], []]


async def test_a_mark_that_stands_further_is_left_alone(process: Chat, other: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    await process.send(ann, conversation_id, "1")
    await other.send(bob, conversation_id, "2")
    await other.reading.read(ann, conversation_id, 2)
    after = await process.position(f"conv:{conversation_id}")
    await process.activity.flush()
    member = await process.store.member(conversation_id, ann.user_id)
    assert member is not None and member.last_read_seq == 2
    assert await process.log(f"conv:{conversation_id}", after, "MessageRead") == []


async def test_in_large_groups_the_mark_moves_without_an_event(process: Chat) -> None:
    crowd = await process.crowd(READ_MARKS_MEMBERS_MAX + 1)
    conversation_id = await process.create("group", *crowd)
    after = await process.position(f"conv:{conversation_id}")
    await process.send(crowd[1], conversation_id)
    await process.reading.read(crowd[2], conversation_id, 1)
    await process.quiet()
    await process.activity.flush()
    marks = {row.user_id: row.last_read_seq for row in await process.store.members(conversation_id)}
    assert [marks[viewer.user_id] for viewer in crowd[:3]] == [0, 1, 1]
    assert [entry.type for entry in await process.log(f"conv:{conversation_id}", after)] == ["MessageReceived"]


async def test_what_redis_missed_is_told_by_a_later_flush(migrated: Backing, other: Chat) -> None:
    async with gate(migrated.redis_url) as way, chat(migrated, redis_url=way.url) as process:
        ann, bob = await process.crowd(2)
        conversation_id = await process.create("direct", ann, bob)
        after = await other.position(f"user:{bob.user_id}")
        await process.send(ann, conversation_id, "1")
        await way.shut()
        await process.send(ann, conversation_id, "2")
        await process.activity.flush()
        assert await other.log(f"user:{bob.user_id}", after) == []
        way.open()
        await process.activity.flush()
        [told] = await other.log(f"user:{bob.user_id}", after)
        assert json.loads(told.data)["unreadCount"] == 2


async def test_marks_that_redis_missed_are_published_by_the_sweep(
    migrated: Backing, other: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gate(migrated.redis_url) as way, chat(migrated, redis_url=way.url) as process:
        ann, bob = await process.crowd(2)
        conversation_id = await process.create("direct", ann, bob)
        after = await other.position(f"conv:{conversation_id}")
        await process.send(ann, conversation_id)
        await process.quiet()
        await way.shut()
        await process.reading.read(bob, conversation_id, 1)
        assert await other.log(f"conv:{conversation_id}", after, "MessageRead") == []
        monkeypatch.setattr("services.outbox.SWEEP_S", 0.05)
        sweep = asyncio.create_task(other.marks.run())
        async with asyncio.timeout(5):
            while not (told := await other.log(f"conv:{conversation_id}", after, "MessageRead")):
                pass
        sweep.cancel()
        assert [(entry.key, entry.version) for entry in told] == [(bob.user_id, 2)]


async def test_the_last_flush_comes_when_the_process_ends(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    after = await process.position(f"user:{bob.user_id}")
    loop = asyncio.create_task(process.activity.run())
    await process.send(ann, conversation_id)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    assert [entry.key for entry in await process.log(f"user:{bob.user_id}", after)] == [conversation_id]
