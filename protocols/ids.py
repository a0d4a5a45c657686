"""Ids: UUIDv7 strings, lower case, ordered by creation."""

import re

from uuid_utils import uuid7

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    return str(uuid7())


def is_id(text: str) -> bool:
    return _UUID.fullmatch(text) is not None
