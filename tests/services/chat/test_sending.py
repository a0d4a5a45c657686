"""A message on its way in: its number, its repeats, and what may happen meanwhile."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import pytest

from protocols.errors import Failure
from protocols.identity import Viewer
from protocols.ids import new_id
from protocols.times import now
from services.chat.roster import CATCH_UP_MESSAGES
from services.chat.sending import RUN_BYTES_MAX, RUN_MESSAGES_MAX, Draft, Sent
from stores.messages import Message, Messages, Outcome
from stores.mongo import Database
from tests.backing import Backing
from tests.chat import Chat, chat
from tests.commands import Commands
from tests.gate import gate
from tests.web import people

Step = Callable[[Sequence[Message]], Awaitable[list[Outcome] | None]]


class Watched(Messages):
    """The store, with a step before each insert, which may answer in its stead; what was asked is noted."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.step: Step | None = None
        self.runs: list[list[Message]] = []
        self.reads = 0
        self.sharing = self.sharing_most = 0

    async def append(self, messages: Sequence[Message], ordered: bool) -> list[Outcome]:
        self.runs.append(list(messages))
        self.sharing += not ordered
        self.sharing_most = max(self.sharing, self.sharing_most)
        try:
            answer = await self.step(messages) if self.step is not None else None
            return await super().append(messages, ordered) if answer is None else answer
        finally:
            self.sharing -= not ordered

    async def after(self, conversation_id: str, seq: int, most: int) -> list[Message]:
        self.reads += 1
        return await super().after(conversation_id, seq, most)


def once(step: Step, store: Watched) -> Step:
    """The step for the next insert only."""

    async def run(messages: Sequence[Message]) -> list[Outcome] | None:
        store.step = None
        return await step(messages)

    return run


async def held(process: Chat, sender: Viewer, conversation_id: str) -> tuple[asyncio.Event, "asyncio.Task[Sent]"]:
    """A first message whose insert waits for the event, so that what is sent meanwhile waits together."""
    reached, release = asyncio.Event(), asyncio.Event()

    async def wait(_: Sequence[Message]) -> None:
        reached.set()
        await release.wait()

    store = process.messages
    assert isinstance(store, Watched)
    store.step = once(wait, store)
    first = asyncio.create_task(process.send(sender, conversation_id, "first"))
    await reached.wait()
    return release, first


async def remove(process: Chat, conversation_id: str, user_id: str, seq: int) -> None:
    """Take somebody out, as another process would: the row goes and a system message takes the number."""
    await process.database["conversation_members"].delete_one({"conversationId": conversation_id, "userId": user_id})
    told = Message(new_id(), conversation_id, seq, "system", user_id, new_id(), None, None, 1, now())
    assert await process.messages.append([told], ordered=True) == [Outcome.STORED]


async def texts(process: Chat, conversation_id: str) -> list[str | None]:
    """In order of seq, which must be 1, 2, 3 ..."""
    stored = await process.stored(conversation_id)
    assert [message.seq for message in stored] == list(range(1, len(stored) + 1))
    return [message.text for message in stored]


async def test_messages_count_from_one(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    sent = [await process.send(who, conversation_id, text) for who, text in ((ann, "a"), (bob, "b"), (ann, "c"))]
    assert [each.message.seq for each in sent] == [1, 2, 3]
    assert await texts(process, conversation_id) == ["a", "b", "c"]


async def test_a_repeat_is_answered_with_the_first_on_any_process(process: Chat, other: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    first = await process.send(ann, conversation_id, "hello", "same")
    again = [await each.send(ann, conversation_id, "changed", "same") for each in (process, other)]
    assert not first.repeated and all(each == Sent(first.message, repeated=True) for each in again)
    mine = await process.send(bob, conversation_id, "hi", "same")
    assert not mine.repeated and mine.message.seq == 2, "another sender's clientMessageId is another one"


async def test_a_repeat_is_answered_only_when_the_first_is_durable(migrated: Backing) -> None:
    commands = Commands()
    async with chat(migrated, listeners=[commands]) as process:
        ann, bob = await process.crowd(2)
        conversation_id = await process.create("direct", ann, bob)
        await process.send(ann, conversation_id, "hello", "same")
        commands.clear()
        assert (await process.send(ann, conversation_id, "hello", "same")).repeated
        [read_back] = [each for each in commands.seen if "clientMessageId" in str(each.get("filter"))]
        assert read_back["readConcern"]["level"] == "majority"


async def test_a_repeat_inside_one_run_takes_no_number(migrated: Backing) -> None:
    async with chat(migrated, Watched) as process:
        ann, bob = await process.crowd(2)
        conversation_id = await process.create("direct", ann, bob)
        release, first = await held(process, ann, conversation_id)
        sends = [process.send(ann, conversation_id, name, name) for name in ("a", "b", "a", "c", "b", "d")]
        waiting = asyncio.gather(*sends)
        await asyncio.sleep(0)
        release.set()
        sent = await waiting
        assert (await first).message.seq == 1
        assert [each.message.seq for each in sent] == [2, 3, 2, 4, 3, 5]
        assert [each.repeated for each in sent] == [False, False, True, False, True, False]
        assert await texts(process, conversation_id) == ["first", "a", "b", "c", "d"]


async def test_one_sockets_sends_are_stored_in_order_of_arrival(http: aiohttp.ClientSession, app_url: str) -> None:
    ann, bob = await people(http, app_url, 2)
    conversation_id = await ann.direct(bob)
    socket = await ann.socket()
    for i in range(15):
        args = {"conversationId": conversation_id, "clientMessageId": f"n{i}", "text": str(i)}
        await socket.send({"op": "call", "ref": i, "method": "SendMessage", "args": args})
    results = [await socket.next("result") for _ in range(15)]
    assert [result["ref"] for result in results] == list(range(15))
    assert [(result["data"]["text"], result["data"]["seq"]) for result in results] == [
        (str(i), i + 1) for i in range(15)
    ]


async def test_what_waits_together_is_stored_in_runs_of_a_hundred(migrated: Backing) -> None:
    async with chat(migrated, Watched) as process:
        assert isinstance(process.messages, Watched)
        ann, bob = await process.crowd(2)
        conversation_id = await process.create("direct", ann, bob)
        release, _ = await held(process, ann, conversation_id)
        waiting = asyncio.gather(*(process.send(ann, conversation_id, str(i)) for i in range(250)))
        await asyncio.sleep(0)
        release.set()
        await waiting
        assert [len(run) for run in process.messages.runs] == [1, RUN_MESSAGES_MAX, RUN_MESSAGES_MAX, 50]
        assert await texts(process, conversation_id) == ["first", *map(str, range(250))]


async def test_a_run_holds_a_mebibyte_at_most(migrated: Backing) -> None:
    async with chat(migrated, Watched) as process:
        assert isinstance(process.messages, Watched)
        ann, bob = await process.crowd(2)
        conversation_id = await process.create("direct", ann, bob)
        release, _ = await held(process, ann, conversation_id)
        waiting = asyncio.gather(*(process.send(ann, conversation_id, "\U0001f600" * 4_000) for _ in range(100)))
        await asyncio.sleep(0)
        release.set()
        await waiting
        sizes = [
            sum(len(json.dumps(m.text, ensure_ascii=False).encode()) for m in run) for run in process.messages.runs
        ]
        assert len(sizes) == 3 and max(sizes) <= RUN_BYTES_MAX and max(sizes) > RUN_BYTES_MAX * 0.9


async def test_single_messages_of_many_conversations_share_one_insert_at_a_time(migrated: Backing) -> None:
    async with chat(migrated, Watched) as process:
        assert isinstance(process.messages, Watched)
        ann, bob = await process.crowd(2)
        rooms = [await process.create("group", ann, bob) for _ in range(20)]
        release, first = await held(process, ann, await process.create("direct", ann, bob))

        async def talk(conversation_id: str) -> None:
            for i in range(10):
                await process.send(ann, conversation_id, str(i))

        half = [asyncio.create_task(talk(room)) for room in rooms[:10]]
        release.set()
        await first  # the first ten are being stored while the others come
        await asyncio.gather(*half, *map(talk, rooms[10:]))
        assert process.messages.sharing_most == 1
        assert max(len(run) for run in process.messages.runs) > 1
        assert [await texts(process, room) for room in rooms] == [list(map(str, range(10)))] * 20


async def test_who_loses_a_number_takes_the_next(process: Chat, other: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    await process.send(ann, conversation_id, "0")
    await other.send(bob, conversation_id, "1")  # now both processes know the conversation
    await asyncio.gather(
        process.send_many(ann, conversation_id, [f"a{i}" for i in range(60)]),
        other.send_many(bob, conversation_id, [f"b{i}" for i in range(60)]),
    )
    said = await texts(process, conversation_id)
    assert [text for text in said if text and text[0] == "a"] == [f"a{i}" for i in range(60)]
    assert [text for text in said if text and text[0] == "b"] == [f"b{i}" for i in range(60)]


async def test_a_process_far_behind_does_not_read_all_that_it_missed(migrated: Backing, other: Chat) -> None:
    async with chat(migrated, Watched) as process:
        assert isinstance(process.messages, Watched)
        ann, bob = await process.crowd(2)
        conversation_id = await process.create("direct", ann, bob)
        await process.send(ann, conversation_id)
        for i in range(4):
            texts_ = [str(i)] * CATCH_UP_MESSAGES
            await other.send_many(bob, conversation_id, texts_)
        process.messages.reads = 0
        sent = await process.send(ann, conversation_id)
        assert sent.message.seq == 2 + 4 * CATCH_UP_MESSAGES
        assert process.messages.reads == 1


async def test_a_removal_between_authorising_and_storing_refuses_the_send(migrated: Backing, other: Chat) -> None:
    async with chat(migrated, Watched) as process:
        assert isinstance(process.messages, Watched)
        ann, bob, eve = await process.crowd(3)
        conversation_id = await process.create("group", ann, bob, eve)
        await process.send(eve, conversation_id, "in")

        async def removal(_: Sequence[Message]) -> None:
            await remove(other, conversation_id, eve.user_id, 2)

        process.messages.step = once(removal, process.messages)
        sends = [process.send(who, conversation_id, text) for who, text in ((eve, "out"), (ann, "on"))]
        refused, allowed = await asyncio.gather(*sends, return_exceptions=True)
        assert isinstance(refused, Failure) and refused.code == "conversation_not_found"
        assert isinstance(allowed, Sent) and allowed.message.seq == 3
        assert await texts(process, conversation_id) == ["in", None, "on"]


async def test_a_removed_members_repeat_is_refused_like_any_send(process: Chat, other: Chat) -> None:
    ann, bob, eve = await process.crowd(3)
    conversation_id = await process.create("group", ann, bob, eve)
    await process.send(eve, conversation_id, "in", "same")
    await remove(other, conversation_id, eve.user_id, 2)
    with pytest.raises(Failure, match="conversation_not_found"):
        await process.send(eve, conversation_id, "out")
    with pytest.raises(Failure, match="conversation_not_found"):
        await process.send(eve, conversation_id, "in", "same")


@pytest.mark.parametrize("stored", [0, 1, 3, 5])
async def test_an_insert_whose_answer_is_lost_is_read_back(migrated: Backing, stored: int) -> None:
    async with chat(migrated, Watched) as process:
        store = process.messages
        assert isinstance(store, Watched)
        ann, bob = await process.crowd(2)
        conversation_id = await process.create("direct", ann, bob)
        before = await process.position(f"conv:{conversation_id}")
        await process.rosters.member(conversation_id, bob.user_id)
        release, _ = await held(process, ann, conversation_id)

        async def lose(messages: Sequence[Message]) -> list[Outcome]:
            if stored:
                await Messages.append(store, messages[:stored], ordered=True)
            return [Outcome.UNKNOWN] * len(messages)

        waiting = asyncio.gather(*(process.send(bob, conversation_id, str(i)) for i in range(5)))
        await asyncio.sleep(0)
        store.step = once(lose, store)
        release.set()
        sent = await waiting
        assert [(each.message.seq, each.repeated) for each in sent] == [(i + 2, False) for i in range(5)]
        await process.quiet()
        log = await process.log(f"conv:{conversation_id}", before, "MessageReceived")
        assert [entry.key for entry in log] == [f"{seq}:user" for seq in range(1, 7)]


async def test_a_shared_insert_whose_answer_is_lost_is_read_back(migrated: Backing) -> None:
    async with chat(migrated, Watched) as process:
        store = process.messages
        assert isinstance(store, Watched)
        ann, bob = await process.crowd(2)
        rooms = [await process.create("group", ann, bob) for _ in range(3)]

        async def lose(messages: Sequence[Message]) -> list[Outcome]:
            assert len(messages) == 3
            await Messages.append(store, messages[:2], ordered=False)
            return [Outcome.UNKNOWN] * len(messages)

        await asyncio.gather(*(process.rosters.member(room, ann.user_id) for room in rooms))
        store.step = once(lose, store)
        sent = await asyncio.gather(*(process.send(ann, room) for room in rooms))
        assert [(each.message.seq, each.repeated) for each in sent] == [(1, False)] * 3
        assert [await texts(process, room) for room in rooms] == [["hello"]] * 3


async def test_an_insert_that_goes_on_after_it_was_given_up_stores_nothing_twice(migrated: Backing) -> None:
    async with chat(migrated, Watched) as process:
        store = process.messages
        assert isinstance(store, Watched)
        ann, bob = await process.crowd(2)
        conversation_id = await process.create("direct", ann, bob)
        await process.rosters.member(conversation_id, bob.user_id)
        release, _ = await held(process, ann, conversation_id)
        late: list[Message] = []

        async def lose(messages: Sequence[Message]) -> list[Outcome]:
            late.extend(messages)
            store.step = arrive
            return [Outcome.UNKNOWN] * len(messages)

        async def arrive(_: Sequence[Message]) -> None:
            store.step = None
            await Messages.append(store, late, ordered=True)

        waiting = asyncio.gather(*(process.send(bob, conversation_id, str(i)) for i in range(5)))
        await asyncio.sleep(0)
        store.step = once(lose, store)
        release.set()
        sent = await waiting
        assert [(each.message.seq, each.repeated) for each in sent] == [(i + 2, False) for i in range(5)]
        assert await texts(process, conversation_id) == ["first", *map(str, range(5))]


async def test_a_sender_who_goes_away_leaves_no_gap(migrated: Backing) -> None:
    async with chat(migrated, Watched) as process:
        ann, bob = await process.crowd(2)
        conversation_id = await process.create("direct", ann, bob)
        await process.rosters.member(conversation_id, bob.user_id)
        release, first = await held(process, ann, conversation_id)
        waiting = [asyncio.create_task(process.send(bob, conversation_id, str(i))) for i in range(4)]
        await asyncio.sleep(0)
        first.cancel()  # being stored already
        waiting[1].cancel()  # not yet
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await texts(process, conversation_id) == ["first", "0", "2", "3"]
        assert [task.result().message.seq for task in (waiting[0], *waiting[2:])] == [2, 3, 4]


async def test_without_redis_a_send_is_stored_and_the_next_one_publishes_it(migrated: Backing, other: Chat) -> None:
    async with gate(migrated.redis_url) as way, chat(migrated, redis_url=way.url) as process:
        ann, bob = await process.crowd(2)
        conversation_id = await process.create("direct", ann, bob)
        before = await other.position(f"conv:{conversation_id}")
        await process.send(ann, conversation_id, "1")
        await process.quiet()
        await way.shut()
        for text in ("2", "3"):
            assert not (await process.send(ann, conversation_id, text)).repeated
        await process.quiet()
        assert len(await other.log(f"conv:{conversation_id}", before, "MessageReceived")) == 1
        way.open()
        await process.send(ann, conversation_id, "4")
        await process.quiet()
        log = await other.log(f"conv:{conversation_id}", before, "MessageReceived")
        assert [json.loads(entry.data)["text"] for entry in log] == ["1", "2", "3", "4"]


async def test_a_stranger_and_an_absent_conversation_are_refused_alike(process: Chat) -> None:
    ann, bob, eve = await process.crowd(3)
    refusals = []
    for conversation_id in (await process.create("direct", ann, bob), new_id()):
        with pytest.raises(Failure) as caught:
            await process.sender.send(eve, Draft(conversation_id, eve.user_id, "x", "hello"))
        refusals.append((caught.value.kind, caught.value.code, caught.value.message))
    assert refusals[0] == refusals[1]


async def test_a_reply_is_to_a_message_of_the_same_conversation(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    here, elsewhere = await process.create("group", ann, bob), await process.create("group", ann, bob)
    first, foreign = await process.send(ann, here), await process.send(ann, elsewhere)
    reply = Draft(here, bob.user_id, new_id(), "yes", reply_to=first.message.message_id)
    assert (await process.sender.send(bob, reply)).message.reply_to == first.message.message_id
    for strange in (foreign.message.message_id, new_id()):
        with pytest.raises(Failure) as refused:
            await process.sender.send(bob, Draft(here, bob.user_id, new_id(), "no", reply_to=strange))
        assert [fault.field for fault in refused.value.details] == ["replyTo"]
