"""The hot path in: messages that wait at the same time share round trips, and number themselves.

A message's seq is the newest known + 1; the unique index decides who has it (compare-and-append). Waiting messages of
one conversation form a run, stored by one ordered insert, one run in flight a conversation and process; single messages
of many conversations share one unordered insert. Each sender is answered when its own message is durable; publishing
follows, and only then the conversation's next run.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from protocols.chat import MessageKind
from protocols.errors import Failure, invalid_field, unavailable
from protocols.identity import Viewer
from protocols.ids import new_id
from protocols.times import now
from services.chat.publishing import Publisher
from services.chat.roster import Roster, Rosters, apply
from stores.messages import Message, Messages, Outcome

log = logging.getLogger(__name__)

RUN_MESSAGES_MAX = 100
RUN_BYTES_MAX = 1 << 20
FINISH_S = 5.0
SINGLES_MAX = 200
LOST_MAX = 3  # numbers lost in a row to other processes, before asking for a turn
ATTEMPTS_MAX = 200  # of one run to get its numbers; each lost one means that somebody else got theirs


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that has no number yet."""

    conversation_id: str
    sender_id: str
    client_message_id: str
    text: str | None
    reply_to: str | None = None
    kind: MessageKind = "user"
    message_id: str = field(default_factory=new_id)

    @property
    def size(self) -> int:
        return 500 + 4 * len(self.text or "")


@dataclass(frozen=True, slots=True)
class Sent:
    """`repeated`: the message was sent before; this is the first one."""

    message: Message
    repeated: bool


@dataclass(slots=True, eq=False)
class Waiting:
    draft: Draft
    answer: "asyncio.Future[Sent]"


class Sender:
    """`run` owns the inserts; `note` is told of every message that this process stored."""

    def __init__(
        self, messages: Messages, rosters: Rosters, publisher: Publisher, note: Callable[[Sequence[Message]], None]
    ) -> None:
        self._messages, self._rosters, self._publisher, self._note = messages, rosters, publisher, note
        self._queues: dict[str, deque[Waiting]] = {}
        self._busy: set[str] = set()
        self._sharing = False  # the unordered insert is in flight
        self._pumping = False
        self._tasks = asyncio.TaskGroup()
        self._quiet = asyncio.Event()  # nothing waits and nothing is in flight
        self._quiet.set()

    async def run(self) -> None:
        """Ends when what is in hand is stored and published, or after a while without."""
        async with self._tasks:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                async with asyncio.timeout(FINISH_S):
                    await self._quiet.wait()

    async def send(self, viewer: Viewer, draft: Draft) -> Sent:
        """Returns when the message is durable. Raises Failure: conversation_not_found, invalid, unavailable."""
        await self._rosters.member(draft.conversation_id, viewer.user_id)
        if draft.reply_to is not None and await self._messages.get(draft.conversation_id, draft.reply_to) is None:
            raise invalid_field("replyTo", "is no message of this conversation")
        loop = asyncio.get_running_loop()
        waiting = Waiting(draft, loop.create_future())
        self._queues.setdefault(draft.conversation_id, deque()).append(waiting)
        self._quiet.clear()
        self._pump_soon()
        return await waiting.answer

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Start what can start: a run for each conversation in which several wait, one insert for all singles."""
        self._pumping = False
        if not self._queues and not self._busy:
            self._quiet.set()
        singles: list[Waiting] = []
        for conversation_id in [c for c in self._queues if c not in self._busy]:
            queue = self._queues[conversation_id]
            if len(queue) > 1:
                self._busy.add(conversation_id)
                self._tasks.create_task(self._run(conversation_id, self._take(conversation_id)))
            elif not self._sharing and len(singles) < SINGLES_MAX:
                self._busy.add(conversation_id)
                singles += self._take(conversation_id)
        if singles:
            self._sharing = True
            self._tasks.create_task(self._share(singles))

    def _take(self, conversation_id: str) -> list[Waiting]:
        queue = self._queues[conversation_id]
        taken: list[Waiting] = []
        size = 0
        while queue and len(taken) < RUN_MESSAGES_MAX and (not taken or size + queue[0].draft.size <= RUN_BYTES_MAX):
            taken.append(queue.popleft())
            size += taken[-1].draft.size
        if not queue:
            del self._queues[conversation_id]
        return taken

    def _free(self, conversation_id: str) -> None:
        self._busy.discard(conversation_id)
        self._pump_soon()

    async def _run(self, conversation_id: str, batch: list[Waiting]) -> None:
        try:
            stored = await self._store(conversation_id, batch)
            if stored and (waits := await self._publisher.publish({conversation_id: stored})):
                await asyncio.sleep(waits[conversation_id])
        finally:
            self._free(conversation_id)

    async def _share(self, singles: list[Waiting]) -> None:
        """One message each of many conversations. What can't be stored at once goes on as a run of its own."""
        mine = {waiting.draft.conversation_id for waiting in singles}
        stored: dict[str, list[Message]] = {}
        try:
            try:
                ready = await self._authorised(singles)
                messages = [numbered(waiting.draft, roster.as_of + 1) for waiting, roster in ready]
                outcomes = await self._messages.append(messages, ordered=False) if messages else []
            finally:
                self._sharing = False
                self._pump_soon()
            for (waiting, roster), message, outcome in zip(ready, messages, outcomes, strict=True):
                if outcome is Outcome.STORED:
                    apply(roster, message.seq, message.kind)
                    answer(waiting, Sent(message, repeated=False))
                    stored[message.conversation_id] = [message]
                else:
                    mine.discard(message.conversation_id)
                    self._tasks.create_task(self._run(message.conversation_id, [waiting]))
            self._note([message for run in stored.values() for message in run])
            if stored:
                for conversation_id, wait_s in (await self._publisher.publish(stored)).items():
                    mine.discard(conversation_id)
                    asyncio.get_running_loop().call_later(wait_s, self._free, conversation_id)
        except Exception as error:
            log.exception("a shared insert failed")
            refuse(singles, error)
        finally:
            self._busy -= mine
            self._pump_soon()

    async def _store(self, conversation_id: str, batch: list[Waiting]) -> list[Message]:
        """Number and insert until each of the batch is answered. Answers what was stored, ascending."""
        stored: list[Message] = []
        rest, lost = batch, 0
        try:
            for _ in range(ATTEMPTS_MAX):
                authorised = await self._authorised(rest)
                if not authorised:
                    return stored
                rest, roster = [waiting for waiting, _ in authorised], authorised[0][1]
                messages = [numbered(w.draft, roster.as_of + 1 + i) for i, w in enumerate(rest)]
                outcomes = await self._messages.append(messages, ordered=True)
                done = outcomes.count(Outcome.STORED)
                for waiting, message in zip(rest[:done], messages[:done], strict=True):
                    apply(roster, message.seq, message.kind)
                    answer(waiting, Sent(message, repeated=False))
                self._note(messages[:done])
                stored += messages[:done]
                rest = rest[done:]
                if rest:
                    found, rest = await self._settle(roster, rest, outcomes[done])
                    stored += found
                    lost = lost + 1 if not done and outcomes[0] is Outcome.SEQ_TAKEN else 0
                    if lost >= LOST_MAX:
                        await asyncio.sleep(await self._publisher.take_turn(conversation_id, roster.as_of))
            raise unavailable("conversation")
        except Failure as failure:
            self._rosters.drop(conversation_id)
            refuse(rest, failure)
        except Exception as error:
            log.exception("a run of %s failed", conversation_id)
            refuse(rest, error)
        return stored

    async def _settle(
        self, roster: Roster, rest: list[Waiting], outcome: Outcome
    ) -> tuple[list[Message], list[Waiting]]:
        """What stopped a run decides: answer what is known already, read what is newer. Answers which of this run's
        messages turned out to be stored, and those still to do."""
        found: list[Message] = []
        if outcome is not Outcome.SEQ_TAKEN:
            client_ids = [(w.draft.sender_id, w.draft.client_message_id) for w in rest]
            asked = client_ids[:1] if outcome is Outcome.REPEATED else client_ids
            known = await self._messages.known(roster.conversation_id, asked)
            for waiting, client_id in zip(rest, client_ids, strict=True):
                if client_id in known:
                    first = known[client_id]
                    own = first.message_id == waiting.draft.message_id
                    answer(waiting, Sent(first, repeated=not own))
                    found += [first] if own else []
            rest = [w for w, client_id in zip(rest, client_ids, strict=True) if client_id not in known]
        if outcome is not Outcome.REPEATED:
            await self._rosters.catch_up(roster)
        self._note(found)
        return sorted(found, key=lambda message: message.seq), rest

    async def _authorised(self, batch: Sequence[Waiting]) -> list[tuple[Waiting, Roster]]:
        """Those whose sender may send as of now; the others get their answer."""
        pending = [waiting for waiting in batch if not waiting.answer.done()]  # else its caller went away
        while True:
            allowed: list[tuple[Waiting, Roster]] = []
            for waiting in pending:
                try:
                    roster, _ = await self._rosters.member(waiting.draft.conversation_id, waiting.draft.sender_id)
                    allowed.append((waiting, roster))
                except Failure as failure:
                    refuse([waiting], failure)
            pending = [waiting for waiting, _ in allowed]
            # While one row was read another may have been taken back: all must hold in this loop turn.
            if all(waiting.draft.sender_id in roster.members for waiting, roster in allowed):
                return allowed


def numbered(draft: Draft, seq: int) -> Message:
    return Message(
        message_id=draft.message_id,
        conversation_id=draft.conversation_id,
        seq=seq,
        kind=draft.kind,
        sender_id=draft.sender_id,
        client_message_id=draft.client_message_id,
        text=draft.text,
        reply_to=draft.reply_to,
        rev=1,
        created_at=now(),
    )


def answer(waiting: Waiting, sent: Sent) -> None:
    if not waiting.answer.done():
        waiting.answer.set_result(sent)


def refuse(batch: Sequence[Waiting], failure: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(failure)
