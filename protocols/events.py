"""Events: what a topic carries. The table says which are kept, and how.

LOG        numbered, kept and replayed in order
STATE      numbered; of each key only the newest version is kept
EPHEMERAL  live only, without a number
"""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    LOG = "l"
    STATE = "s"
    EPHEMERAL = "e"


KINDS: dict[str, Kind] = {
    # control: read by every process, by no client
    "SessionRevoked": Kind.LOG,  # on user:, too
    "UserSuspended": Kind.LOG,
    "RolesChanged": Kind.LOG,
    "AccessChanged": Kind.LOG,
    # user:
    "ConversationUpdated": Kind.STATE,
    # conv:
    "MessageReceived": Kind.LOG,
    "MessageRead": Kind.STATE,
    "TypingStarted": Kind.EPHEMERAL,
    "TypingStopped": Kind.EPHEMERAL,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event on its way to a topic.

    data      a JSON object, encoded once, here
    key       of a state event: what it is the state of, within its type; no control characters or quotes
    version   of a state event: only a greater one replaces what is kept; None: the topic stamps it with its clock
    once      of a log event that may be sent again: what it is known by, so that the repeat is refused
    seq       of a message: its number, which must follow the topic's last one
    after_seq of a change to a message: that message's number, which the topic must have reached
    """

    type: str
    data: bytes
    actor_id: str = ""
    key: str = ""
    version: int | None = None
    once: str = ""
    seq: int = 0
    after_seq: int = 0

    @property
    def kind(self) -> Kind:
        return KINDS[self.type]


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as a topic handed it out. `offset` is 0 and `version` None where it has none."""

    offset: int
    type: str
    actor_id: str
    key: str
    version: int | None
    data: bytes
