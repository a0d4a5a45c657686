"""Messages into their topics, in order of seq, whoever comes first.

The topic knows the last seq that it published. It refuses a repeat, and a message that is early; then what is missing
is read from the store and published with it. So the log has the order of the store, and the next sender fills what a
process that died left out.
"""

import logging
from collections.abc import Mapping, Sequence

import orjson

from protocols.chat import ChatMessageDto
from protocols.errors import Failure
from protocols.events import Event
from protocols.times import iso
from services.chat.roster import message_key
from stores.messages import Message, Messages
from stores.topics import Topics

log = logging.getLogger(__name__)

MISSING_A_READ = 200
TURN_MS = 250  # of a process that kept losing; long enough for dozens of runs
MISSED_MAX = 10_000  # conversations to offer again; where Redis is away for that many a sweep follows anyway
RETRIED_AT_ONCE = 200
ROUNDS_MAX = 50  # more than the log keeps: what is behind that far is re-read by everyone anyway


def message_event(message: Message) -> ChatMessageDto:
    """The message as all see it alike."""
    return {
        "messageId": message.message_id,
        "conversationId": message.conversation_id,
        "seq": message.seq,
        "kind": message.kind,
        "system": None,
        "senderId": message.sender_id,
        "clientMessageId": message.client_message_id,
        "text": message.text,
        "media": [],
        "replyTo": message.reply_to,
        "mentions": [],
        "reactions": {},
        "rev": message.rev,
        "createdAt": iso(message.created_at),
        "editedAt": None,
        "deletedAt": None,
    }


def message_dto(message: Message) -> ChatMessageDto:
    """The message as its viewer sees it."""
    return {**message_event(message), "myReaction": None}


def received(message: Message) -> Event:
    return Event(
        "MessageReceived",
        orjson.dumps(message_event(message)),
        actor_id=message.sender_id,
        key=message_key(message),
        seq=message.seq,
    )


class Publisher:
    """`holder` names this process where turns are taken."""

    def __init__(self, topics: Topics, messages: Messages, holder: str) -> None:
        self._topics, self._messages, self._holder = topics, messages, holder
        self._missed: dict[str, Message] = {}  # the newest message of each conversation that Redis did not take

    async def publish(self, runs: Mapping[str, Sequence[Message]]) -> dict[str, float]:
        """Each conversation's messages, ascending; one pipeline for all. Answers for how many seconds to stay away
        from conversations in which it is another process's turn. What Redis can't take now is filled by the next
        sender, by `retry` or by the sweep, so nothing is raised."""
        try:
            return await self.offer(runs)
        except Failure as failure:
            log.warning("messages of %d conversations are not published yet: %s", len(runs), failure)
            if len(self._missed) < MISSED_MAX:
                self._missed.update((conversation_id, run[-1]) for conversation_id, run in runs.items())
            return {}

    async def retry(self) -> None:
        """Offer again what was missed. Raises Failure (unavailable)."""
        while self._missed:
            again = dict(list(self._missed.items())[:RETRIED_AT_ONCE])
            await self.offer({conversation_id: [message] for conversation_id, message in again.items()})
            for conversation_id, message in again.items():
                if self._missed.get(conversation_id) is message:
                    del self._missed[conversation_id]

    async def offer(self, runs: Mapping[str, Sequence[Message]]) -> dict[str, float]:
        """The same, for who wants to know of it. Raises Failure (unavailable)."""
        waits: dict[str, float] = {}
        batches = [(f"conv:{conversation_id}", [received(m) for m in run]) for conversation_id, run in runs.items()]
        answers = await self._topics.publish(batches)
        for (conversation_id, run), answer in zip(runs.items(), answers, strict=True):
            early = next((each for each in answer.each if each.startswith("early:")), None)
            if early is not None:
                await self._fill(conversation_id, int(early[6:]), run[-1].seq)
            if answer.turn is not None and answer.turn.holder != self._holder:
                waits[conversation_id] = answer.turn.left_ms / 1000
        return waits

    async def take_turn(self, conversation_id: str, newest_seq: int) -> float:
        """Ask for a turn of one's own; answers for how many seconds it is another process's."""
        topic = f"conv:{conversation_id}"
        try:
            await self._topics.look([topic], {topic: newest_seq})  # a turn needs an epoch to stand in
            turn = await self._topics.take_turn(topic, self._holder, TURN_MS)
        except Failure:
            return 0.0
        return 0.0 if turn is None or turn.holder == self._holder else turn.left_ms / 1000

    async def _fill(self, conversation_id: str, last: int, until: int) -> None:
        """Publish all that is stored above `last`, up to `until`."""
        for _ in range(ROUNDS_MAX):
            missing = await self._messages.after(conversation_id, last, MISSING_A_READ)
            if not missing:
                return
            [answer] = await self._topics.publish([(f"conv:{conversation_id}", [received(m) for m in missing])])
            last = missing[-1].seq
            if answer.dropped or last >= until:
                return
