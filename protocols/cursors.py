"""Cursors: opaque to clients, the last row's sort key inside."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import orjson

from protocols.errors import Failure, malformed

A = TypeVar("A", str, int, datetime)
B = TypeVar("B", str, int, datetime)

TEXT_MAX = 200
NUMBER_MAX = 1 << 53
EPOCH, MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
MOMENT_MS_MAX = 32_503_680_000_000  # the year 3000


def write_cursor(*key: str | int | datetime) -> str:
    parts = [(part - EPOCH) // MILLISECOND if isinstance(part, datetime) else part for part in key]
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def read_cursor(text: str, kind: type[A]) -> A:
    """The key of a list sorted by one column. Raises Failure (bad_cursor) for what `write_cursor` never made."""
    [part] = _parts(text, 1)
    return _part(part, kind)


def read_cursor_pair(text: str, first: type[A], second: type[B]) -> tuple[A, B]:
    """The same for two columns."""
    one, two = _parts(text, 2)
    return _part(one, first), _part(two, second)


def _parts(text: str, many: int) -> list[object]:
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        raise bad_cursor() from None
    if not isinstance(parts, list) or len(parts) != many:
        raise bad_cursor()
    return parts


def _part(part: object, kind: type[A]) -> A:
    if kind is datetime and type(part) is int and 0 <= part < MOMENT_MS_MAX:
        part = datetime.fromtimestamp(part // 1000, UTC).replace(microsecond=part % 1000 * 1000)
    if type(part) is not kind or (isinstance(part, str) and len(part) > TEXT_MAX):
        raise bad_cursor()
    if isinstance(part, int) and not 0 <= part < NUMBER_MAX:
        raise bad_cursor()
    return part


def bad_cursor() -> Failure:
    return malformed("The cursor is none that this list gave out.", "bad_cursor")
