"""Topics on Redis: a numbered log with states, and the publishing of what enters it, in one step.

Keys of a topic: `{topic}:meta`, `{topic}:log`, `{topic}:known`; its channel is the topic's name. What they hold and how
it is trimmed stands in lua/topic.lua. Every method is one round trip for all that it is given, and raises Failure
(unavailable) where Redis can't be reached.
"""

import hashlib
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Self, cast

from protocols.errors import unavailable
from protocols.events import Entry, Event
from protocols.positions import Position
from stores.wire import Argument, Command, Line

TOKEN_ALPHABET = string.ascii_lowercase + string.digits
TTL_MS = 30 * 24 * 3600 * 1000
# A phone that was away for less than this finds everything logged; who stays away reads anew anyway.
TTL_BY_KIND_MS = {"user": 15 * 60 * 1000, "timeline": 15 * 60 * 1000, "conn": 30 * 1000}


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of a topic is kept."""

    entries: int = 1_000
    age_ms: int = 600_000
    bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is to append to a conversation, for how many milliseconds yet."""

    holder: str
    left_ms: int


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of a batch: for each event "ok", "old" or "early:<last seq>". `dropped`: nobody holds a position."""

    each: tuple[str, ...]
    dropped: bool = False
    turn: Turn | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A moment of a topic. All that is kept in (after, reached] stands in `entries`, if `holds(after)`."""

    epoch: str
    offset: int
    floor: int
    reached: int
    entries: tuple[Entry, ...]

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset)

    def holds(self, after: Position) -> bool:
        """Whether nothing is missing above `after`."""
        return self.epoch == after.epoch and self.floor <= after.offset <= self.offset


def parse_line(line: bytes) -> Entry:
    offset, _ms, _mark, kind, actor, key, version, data = line.split(b"\t", 7)
    return Entry(int(offset or 0), kind.decode(), actor.decode(), key.decode(), int(version) if version else None, data)


def parse_message(payload: bytes) -> tuple[str, list[Entry]]:
    """What a channel carries: an epoch and its new entries."""
    epoch, *lines = payload.split(b"\n")
    return epoch.decode(), [parse_line(line) for line in lines]


def keys(topic: str) -> tuple[str, str, str]:
    return f"{{{topic}}}:meta", f"{{{topic}}}:log", f"{{{topic}}}:known"


def new_epoch() -> str:
    return "".join(secrets.choice(TOKEN_ALPHABET) for _ in range(8))


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script: its text and the digest that calls it."""

    text: str
    sha: str

    @classmethod
    def load(cls, name: str) -> Self:
        folder = files("stores") / "lua"
        text = (folder / "topic.lua").read_text() + (folder / f"{name}.lua").read_text()
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


PUBLISH, READ, TURN = Script.load("publish"), Script.load("read"), Script.load("turn")


class Topics:
    def __init__(self, line: Line, kept: Kept = Kept()) -> None:
        self._line, self._kept = line, kept

    async def publish(self, batches: Sequence[tuple[str, Sequence[Event]]]) -> list[Answers]:
        """Enter and publish each topic's events, in order."""
        calls = [(topic, [topic, *_flat(events)]) for topic, events in batches]
        answers = []
        for (_, events), raw in zip(batches, await self._run(PUBLISH, calls), strict=True):
            if raw:
                answers.append(Answers(tuple(answer.decode() for answer in raw[3:]), turn=_turn(raw[2])))
            else:
                answers.append(Answers(("ok",) * len(events), dropped=True))
        return answers

    async def look(self, topics: Sequence[str], seqs: dict[str, int] | None = None) -> list[Chunk | None]:
        """Each topic's position. An epoch is made where there is none and `seqs` names the topic (with the newest
        stored seq of a conversation, else 0); elsewhere None."""
        seqs = seqs or {}
        calls: list[tuple[str, Sequence[Argument]]] = [
            (topic, (new_epoch() if topic in seqs else "", seqs.get(topic, 0), "", 0, 0)) for topic in topics
        ]
        return [_chunk(raw) for raw in await self._run(READ, calls)]

    async def read(self, topic: str, after: Position, most: int) -> Chunk | None:
        """The next entries above `after`, `most` at the most; None where the topic has no epoch."""
        [raw] = await self._run(READ, [(topic, ("", 0, after.epoch, after.offset, most))])
        return _chunk(raw)

    async def take_turn(self, topic: str, holder: str, for_ms: int) -> Turn | None:
        """Ask for the turn to append; answers who has it now. None: the topic has no epoch, and so no turns."""
        [raw] = await self._run(TURN, [(topic, (holder, for_ms))])
        return _turn(raw[0]) if raw else None

    async def remove(self, topic: str) -> None:
        """Forget the topic: what it held is gone, and its next epoch tells every follower."""
        await self._line.ask([("DEL", *keys(topic)), ("PUBLISH", topic, "")])

    async def _run(self, script: Script, calls: Sequence[tuple[str, Sequence[Argument]]]) -> list[list[bytes]]:
        if not calls:
            return []
        commands = [self._command(script, topic, arguments) for topic, arguments in calls]
        results = await self._line.ask(commands)
        lost = [i for i, result in enumerate(results) if str(result).startswith("NOSCRIPT")]
        if lost:  # a new server process knows no scripts
            _, *again = await self._line.ask([("SCRIPT", "LOAD", script.text), *(commands[i] for i in lost)])
            for i, result in zip(lost, again, strict=True):
                results[i] = result
        for result in results:
            if isinstance(result, Exception):
                raise unavailable("realtime store") from result
        return cast(list[list[bytes]], results)

    def _command(self, script: Script, topic: str, arguments: Sequence[Argument]) -> Command:
        ttl, kept = TTL_BY_KIND_MS.get(topic.partition(":")[0], TTL_MS), self._kept
        limits = (ttl, kept.entries, kept.age_ms, kept.bytes)
        return ("EVALSHA", script.sha, 3, *keys(topic), *limits, *arguments)


def _flat(events: Sequence[Event]) -> list[Argument]:
    flat: list[Argument] = []
    for e in events:
        version = "" if e.version is None else e.version
        flat += (e.kind.value, e.type, e.actor_id, e.key, version, e.once, e.seq, e.after_seq, e.data)
    return flat


def _turn(raw: bytes) -> Turn | None:
    holder, _, left = raw.decode().rpartition(":")
    return Turn(holder, int(left)) if holder else None


def _chunk(raw: list[bytes]) -> Chunk | None:
    if not raw:
        return None
    epoch, offset, floor, reached, *lines = raw
    return Chunk(epoch.decode(), int(offset), int(floor), int(reached), tuple(map(parse_line, lines)))
