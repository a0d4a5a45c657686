"""What a member sees of a conversation from outside: counts, marks, the last message."""

import asyncio

from protocols.chat import ConversationSummaryDto
from protocols.identity import Viewer
from services.chat.summaries import READ_MARKS_MEMBERS_MAX
from tests.backing import Backing
from tests.chat import Chat, chat
from tests.commands import Commands


async def seen(process: Chat, viewer: Viewer, conversation_id: str) -> ConversationSummaryDto:
    return (await process.conversations.get(viewer, conversation_id))[0]


async def test_unread_is_what_came_after_the_mark(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    await process.send_many(ann, conversation_id, ["1", "2", "3"])
    summary = await seen(process, bob, conversation_id)
    assert (summary["lastSeq"], summary["lastReadSeq"], summary["unreadCount"]) == (3, 0, 3)
    await process.reading.read(bob, conversation_id, 2)
    summary = await seen(process, bob, conversation_id)
    assert (summary["lastSeq"], summary["lastReadSeq"], summary["unreadCount"]) == (3, 2, 1)
    assert summary["lastMessage"] is not None and summary["lastMessage"]["text"] == "3"


async def test_ones_own_send_moves_ones_mark_before_anything_is_copied(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    await process.send_many(ann, conversation_id, ["1", "2"])
    await process.send(bob, conversation_id, "3")
    await process.send(ann, conversation_id, "4")
    summary = await seen(process, bob, conversation_id)
    assert (summary["lastReadSeq"], summary["unreadCount"]) == (3, 1)
    await process.activity.flush()
    copied = await seen(process, bob, conversation_id)
    assert (copied["lastReadSeq"], copied["unreadCount"]) == (3, 1) and copied["rev"] > summary["rev"]


async def test_a_newcomers_count_starts_where_they_joined(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("group", ann, bob)
    await process.send_many(ann, conversation_id, [str(i) for i in range(5)])
    row = {"conversationId": conversation_id, "userId": bob.user_id}
    await process.database["conversation_members"].update_one(row, {"$set": {"joinedSeq": 3}})
    assert (await seen(process, bob, conversation_id))["unreadCount"] == 2
    await process.reading.read(bob, conversation_id, 1)
    assert (await seen(process, bob, conversation_id))["unreadCount"] == 2
    await process.reading.read(bob, conversation_id, 4)
    assert (await seen(process, bob, conversation_id))["unreadCount"] == 1


async def test_a_send_of_another_process_is_not_told_as_unread_to_its_sender(process: Chat, other: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    await other.send(ann, conversation_id)  # noted there, not flushed yet
    for viewer in (ann, bob):
        told = (await process.summaries.for_members([conversation_id]))[viewer.user_id]
        assert told == [await seen(process, viewer, conversation_id)]


async def test_small_groups_show_marks_and_large_ones_none(process: Chat) -> None:
    crowd = await process.crowd(READ_MARKS_MEMBERS_MAX + 1)
    small, large = await asyncio.gather(process.create("group", *crowd[:-1]), process.create("group", *crowd))
    marks = (await seen(process, crowd[0], small))["readMarks"]
    assert marks is not None and {mark["userId"] for mark in marks} == {viewer.user_id for viewer in crowd[:-1]}
    assert (await seen(process, crowd[0], large))["readMarks"] is None


async def test_a_page_costs_six_queries_however_long_it_is(migrated: Backing, process: Chat) -> None:
    ann, bob = await process.crowd(2)
    made = [await process.create("group", ann, bob) for _ in range(6)] + [await process.create("direct", ann, bob)]
    for conversation_id in made:
        await process.send(bob, conversation_id)
    commands = Commands()
    async with chat(migrated, listeners=[commands]) as watched:
        for limit in (1, 100):
            commands.clear()
            await watched.conversations.page(ann, None, limit)
            # rows; documents, newest messages and newest own ones; members; people, as one is direct
            assert sorted(commands.names) == ["aggregate"] * 2 + ["find"] * 4
