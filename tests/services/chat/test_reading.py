"""History and read marks, and what stands beside them: the position from which events go on."""

import asyncio
import json
import random

import pytest

from protocols.chat import HistoryQuery
from protocols.errors import Failure
from protocols.events import Entry
from protocols.identity import Viewer
from protocols.ids import new_id
from protocols.times import now
from stores.messages import Message
from tests.backing import Backing
from tests.chat import Chat, chat
from tests.gate import gate

State = tuple[dict[int, object], dict[str, int]]


def query(**asked: object) -> HistoryQuery:
    return HistoryQuery.model_validate(asked)


async def room(process: Chat, messages: int) -> tuple[Viewer, Viewer, str]:
    """Two people; the first has said "1", "2", ..."""
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    await process.send_many(ann, conversation_id, [str(i + 1) for i in range(messages)])
    return ann, bob, conversation_id


async def walk(process: Chat, viewer: Viewer, conversation_id: str, **asked: int) -> list[list[int]]:
    """The seqs of all pages, from what is asked for on."""
    history = await process.reading.history(viewer, conversation_id, query(**asked))
    pages = [[message["seq"] for message in history.messages]]
    while history.following is not None:
        following = query(cursor=history.following, limit=asked["limit"])
        history = await process.reading.history(viewer, conversation_id, following)
        pages.append([message["seq"] for message in history.messages])
    return pages


async def test_without_parameters_the_newest_fifty_come_ascending(process: Chat) -> None:
    _, bob, conversation_id = await room(process, 70)
    history = await process.reading.history(bob, conversation_id, query())
    assert [message["seq"] for message in history.messages] == list(range(21, 71))
    assert [message["text"] for message in history.messages] == [str(seq) for seq in range(21, 71)]
    assert history.last_seq == 70 and history.following is not None


async def test_pages_below_and_above_go_on_in_their_direction(process: Chat) -> None:
    _, bob, conversation_id = await room(process, 10)
    assert await walk(process, bob, conversation_id, limit=4) == [[7, 8, 9, 10], [3, 4, 5, 6], [1, 2]]
    assert await walk(process, bob, conversation_id, before=8, limit=3) == [[5, 6, 7], [2, 3, 4], [1]]
    assert await walk(process, bob, conversation_id, after=0, limit=4) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert await walk(process, bob, conversation_id, after=4, limit=3) == [[5, 6, 7], [8, 9, 10]]
    assert await walk(process, bob, conversation_id, after=10, limit=3) == [[]]
    assert await walk(process, bob, conversation_id, before=1, limit=3) == [[]]
    assert await walk(process, bob, conversation_id, before=(1 << 53) - 1, limit=100) == [list(range(1, 11))]


async def test_new_messages_change_no_page_below_and_come_at_the_end_above(process: Chat) -> None:
    ann, bob, conversation_id = await room(process, 6)
    down = await process.reading.history(bob, conversation_id, query(limit=3))
    up = await process.reading.history(bob, conversation_id, query(after=0, limit=5))
    await process.send_many(ann, conversation_id, ["7", "8"])
    below = await process.reading.history(bob, conversation_id, query(cursor=down.following, limit=3))
    above = await process.reading.history(bob, conversation_id, query(cursor=up.following, limit=5))
    assert [message["seq"] for message in below.messages] == [1, 2, 3] and below.following is None
    assert [message["seq"] for message in above.messages] == [6, 7, 8] and above.last_seq == 8


@pytest.mark.parametrize("asked", [{"before": 1, "after": 1}, {"after": 1, "cursor": "x"}, {"cursor": "x"}])
async def test_two_directions_and_foreign_cursors_are_malformed(process: Chat, asked: dict[str, object]) -> None:
    _, bob, conversation_id = await room(process, 1)
    with pytest.raises(Failure) as caught:
        await process.reading.history(bob, conversation_id, query(**asked))
    assert caught.value.kind.value == "malformed"


async def test_a_process_that_heard_nothing_gives_a_removed_member_nothing(process: Chat, other: Chat) -> None:
    ann, bob, eve = await process.crowd(3)
    conversation_id = await other.create("group", ann, bob, eve)
    await process.reading.history(eve, conversation_id, query())  # now this process knows the member
    await other.database["conversation_members"].delete_one({"conversationId": conversation_id, "userId": eve.user_id})
    told = Message(new_id(), conversation_id, 1, "system", ann.user_id, new_id(), None, None, 1, now())
    await other.messages.append([told], ordered=True)
    with pytest.raises(Failure, match="conversation_not_found"):
        await process.reading.history(eve, conversation_id, query())
    assert (await process.reading.history(bob, conversation_id, query())).last_seq == 1


async def test_marks_move_forward_only_and_to_the_newest_at_most(process: Chat) -> None:
    _, bob, conversation_id = await room(process, 5)
    for seq, mark, unread in ((2, 2, 3), (1, 2, 3), (0, 2, 3), (2, 2, 3), (4, 4, 1), (99, 5, 0), (3, 5, 0)):
        state = await process.reading.read(bob, conversation_id, seq)
        assert (state["lastReadSeq"], state["unreadCount"], state["mentionCount"]) == (mark, unread, 0)
        row = await process.store.member(conversation_id, bob.user_id)
        assert row is not None and row.last_read_seq == mark


async def test_a_mark_counts_ones_own_messages_as_read(process: Chat) -> None:
    ann, bob, conversation_id = await room(process, 2)
    await process.send(bob, conversation_id)
    await process.send(ann, conversation_id)
    state = await process.reading.read(bob, conversation_id, 1)
    assert (state["lastReadSeq"], state["unreadCount"]) == (3, 1)


async def test_devices_that_read_at_once_are_never_answered_below_their_own_mark(process: Chat, other: Chat) -> None:
    _, bob, conversation_id = await room(process, 30)
    marks = [*range(1, 31)] * 2
    random.Random(7).shuffle(marks)
    states = await asyncio.gather(
        *((process, other)[i % 2].reading.read(bob, conversation_id, mark) for i, mark in enumerate(marks))
    )
    assert all(state["lastReadSeq"] >= mark for state, mark in zip(states, marks, strict=True))
    assert all(state["unreadCount"] == 30 - state["lastReadSeq"] for state in states)
    row = await process.store.member(conversation_id, bob.user_id)
    assert row is not None and row.last_read_seq == 30


async def test_a_mark_is_told_to_all_with_its_key_and_version(process: Chat) -> None:
    _, bob, conversation_id = await room(process, 3)
    topic = f"conv:{conversation_id}"
    after = await process.position(topic)
    for seq in (1, 1, 3):
        await process.reading.read(bob, conversation_id, seq)
    [told] = await process.log(topic, after, "MessageRead")  # a state: the newest only
    assert (told.key, told.version, told.actor_id) == (bob.user_id, 3, bob.user_id)
    assert json.loads(told.data) == {"conversationId": conversation_id, "userId": bob.user_id, "lastReadSeq": 3}
    assert (await process.chunk(topic, after)).offset == int(after.partition(":")[2]) + 2, "one event a move"


async def test_typing_is_told_and_not_kept(process: Chat) -> None:
    _, bob, conversation_id = await room(process, 0)
    topic = f"conv:{conversation_id}"
    after = await process.position(topic)
    async with process.redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(topic)
        await channel.get_message(timeout=5)
        await process.reading.typing(bob, conversation_id, started=True)
        message = await channel.get_message(timeout=5)
    assert message is not None and b"TypingStarted" in message["data"] and bob.user_id.encode() in message["data"]
    assert await process.log(topic, after) == []


async def test_a_stranger_reads_marks_and_types_nothing(process: Chat) -> None:
    _, _, conversation_id = await room(process, 1)
    eve = await process.person()
    for wanted in (conversation_id, new_id()):
        for attempt in (
            process.reading.history(eve, wanted, query()),
            process.reading.read(eve, wanted, 1),
            process.reading.typing(eve, wanted, started=True),
        ):
            with pytest.raises(Failure, match="conversation_not_found"):
                await attempt


async def snapshot(process: Chat, viewer: Viewer, conversation_id: str) -> tuple[State, str, str]:
    """All messages and marks, and the positions of the two reads."""
    messages: dict[int, object] = {}
    history = await process.reading.history(viewer, conversation_id, query(after=0, limit=100))
    position = history.positions[f"conv:{conversation_id}"]
    while True:
        for message in history.messages:
            messages[message["seq"]] = {name: value for name, value in message.items() if name != "myReaction"}
        if history.following is None:
            break
        history = await process.reading.history(viewer, conversation_id, query(cursor=history.following, limit=100))
    summary, positions = await process.conversations.get(viewer, conversation_id)
    marks = {mark["userId"]: mark["lastReadSeq"] for mark in summary["readMarks"] or []}
    return (messages, marks), position, positions[f"conv:{conversation_id}"]


def applied(state: State, messages: list[Entry], marks: list[Entry]) -> State:
    """As a client does: a message by its seq, a mark where it is higher."""
    seen, read = dict(state[0]), dict(state[1])
    for entry in messages:
        if entry.type == "MessageReceived":
            message = json.loads(entry.data)
            assert message["seq"] <= max(seen, default=0) + 1, "a hole between what was read and what was told"
            seen.setdefault(message["seq"], message)
    for entry in marks:
        if entry.type == "MessageRead":
            mark = json.loads(entry.data)
            read[mark["userId"]] = max(read[mark["userId"]], mark["lastReadSeq"])
    return seen, read


async def act(process: Chat, viewer: Viewer, conversation_id: str, dice: random.Random) -> None:
    kind = dice.random()
    if kind < 0.5:
        await process.send(viewer, conversation_id, str(dice.random()))
    elif kind < 0.8:
        await process.reading.read(viewer, conversation_id, dice.randint(0, 80))
    elif kind < 0.9:
        await process.reading.typing(viewer, conversation_id, started=True)
    else:
        await process.activity.flush()


@pytest.mark.parametrize("seed", range(4))
async def test_a_snapshot_and_the_events_after_it_make_the_truth(process: Chat, other: Chat, seed: int) -> None:
    dice = random.Random(seed)
    crowd = await process.crowd(4)
    conversation_id = await process.create("group", *crowd)

    async def live(viewer: Viewer, mine: random.Random) -> None:
        for _ in range(25):
            await act(mine.choice((process, other)), viewer, conversation_id, mine)

    async def look(mine: random.Random) -> list[tuple[State, str, str]]:
        return [await snapshot(mine.choice((process, other)), crowd[0], conversation_id) for _ in range(12)]

    looks, *_ = await asyncio.gather(
        look(random.Random(dice.random())), *(live(viewer, random.Random(dice.random())) for viewer in crowd)
    )
    for each in (process, other):
        await each.quiet()
        await each.activity.flush()
    truth, _, _ = await snapshot(process, crowd[1], conversation_id)
    assert sorted(truth[0]) == list(range(1, len(truth[0]) + 1))
    for state, by_history, by_summary in looks:
        topic = f"conv:{conversation_id}"
        events = await process.log(topic, by_history), await process.log(topic, by_summary)
        assert applied(state, *events) == truth
    assert any(state != truth for state, _, _ in looks), "else nothing was left for the events to do"


async def test_what_was_read_needs_no_event_from_before(process: Chat) -> None:
    ann, bob, conversation_id = await room(process, 3)
    await process.quiet()
    await process.reading.read(bob, conversation_id, 2)
    state, position, by_summary = await snapshot(process, bob, conversation_id)
    assert await process.log(f"conv:{conversation_id}", position) == []
    await process.send(ann, conversation_id, "4")
    await process.quiet()
    topic = f"conv:{conversation_id}"
    seen, marks = applied(state, await process.log(topic, position), await process.log(topic, by_summary))
    assert sorted(seen) == [1, 2, 3, 4] and marks[bob.user_id] == 2


async def test_without_redis_history_is_read_without_positions(migrated: Backing) -> None:
    async with gate(migrated.redis_url) as way, chat(migrated, redis_url=way.url) as process:
        _, bob, conversation_id = await room(process, 2)
        await way.shut()
        history = await process.reading.history(bob, conversation_id, query())
        assert [message["seq"] for message in history.messages] == [1, 2] and history.positions == {}
        assert (await process.reading.read(bob, conversation_id, 2))["unreadCount"] == 0
