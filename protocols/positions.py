"""A position in a topic: `epoch:offset`. An offset means nothing outside its epoch."""

import re
from dataclasses import dataclass

from protocols.errors import Failure, malformed

_POSITION = re.compile(r"([0-9a-z]{8}):(0|[1-9][0-9]{0,14})")


@dataclass(frozen=True, slots=True)
class Position:
    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


def is_position(text: str) -> bool:
    return _POSITION.fullmatch(text) is not None


def parse_position(text: str) -> Position:
    """Raises Failure (bad_position) for anything that no server ever gave out."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise bad_position()
    return Position(match[1], int(match[2]))


def bad_position() -> Failure:
    return malformed("A position is epoch:offset, as a server gave it.", "bad_position")
