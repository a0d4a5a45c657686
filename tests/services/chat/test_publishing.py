"""A conversation's topic has its messages in order of seq, whoever publishes."""

from protocols.ids import new_id
from protocols.times import now
from services.chat.publishing import MISSING_A_READ
from services.chat.recovery import Recovery
from stores.leases import Leases
from stores.messages import Message, Outcome
from tests.backing import Backing
from tests.chat import Chat, chat
from tests.gate import gate


async def append(process: Chat, conversation_id: str, sender_id: str, seqs: range) -> list[Message]:
    """Stored, and not published: their process died."""
    messages = [
        Message(new_id(), conversation_id, seq, "user", sender_id, new_id(), str(seq), None, 1, now()) for seq in seqs
    ]
    assert await process.messages.append(messages, ordered=True) == [Outcome.STORED] * len(messages)
    return messages


async def published(process: Chat, conversation_id: str, after: str) -> list[int]:
    log = await process.log(f"conv:{conversation_id}", after, "MessageReceived")
    return [int(entry.key.partition(":")[0]) for entry in log]


async def test_the_next_sender_publishes_what_a_dead_process_stored(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    after = await process.position(f"conv:{conversation_id}")
    missing = 2 * MISSING_A_READ + 50
    await append(process, conversation_id, bob.user_id, range(1, missing + 1))
    sent = await process.send(ann, conversation_id)
    await process.quiet()
    assert sent.message.seq == missing + 1
    assert await published(process, conversation_id, after) == list(range(1, missing + 2))


async def test_a_late_publisher_adds_nothing(process: Chat, other: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    after = await process.position(f"conv:{conversation_id}")
    late = await append(process, conversation_id, bob.user_id, range(1, 4))
    await other.send(ann, conversation_id)
    await other.quiet()
    await process.publisher.publish({conversation_id: late})
    await process.publisher.publish({conversation_id: late[1:]})
    assert await published(process, conversation_id, after) == [1, 2, 3, 4]


async def test_where_nobody_follows_nothing_is_kept_and_a_follower_begins_at_the_newest(process: Chat) -> None:
    ann, bob = await process.crowd(2)
    conversation_id = await process.create("direct", ann, bob)
    await process.topics.remove(f"conv:{conversation_id}")
    await process.send(ann, conversation_id)
    await process.quiet()
    assert await process.topics.look([f"conv:{conversation_id}"]) == [None]
    after = await process.position(f"conv:{conversation_id}")
    await process.send(ann, conversation_id)
    await process.quiet()
    assert await published(process, conversation_id, after) == [2]


async def test_what_redis_missed_for_a_moment_is_published_without_another_send(migrated: Backing, other: Chat) -> None:
    async with gate(migrated.redis_url) as way, chat(migrated, redis_url=way.url) as process:
        ann, bob = await process.crowd(2)
        rooms = [await process.create("group", ann, bob) for _ in range(3)]
        after = {room: await other.position(f"conv:{room}") for room in rooms}
        recovery = Recovery(Leases(process.redis), process.messages, process.publisher, new_id())
        await recovery.look()
        await way.shut()
        for room in rooms:
            await process.send_many(ann, room, ["1", "2"])
        await process.quiet()
        way.open()  # before the lease is renewed again: to it Redis was never away
        await recovery.look()
        assert [await published(other, room, after[room]) for room in rooms] == [[1, 2]] * 3
