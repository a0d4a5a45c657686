"""Our server-sent events (WHATWG HTML, 9.2), inside HTTP/1.1 chunks (RFC 9112, 7.1).

An event's `event:` and `data:` lines are made once for all streams; each stream puts its own `id:` line before them,
which holds a position for every topic of its URL, in that order: `user:` first, `-` for one that is not followed.
"""

from collections.abc import Sequence

import orjson

from protocols.events import Entry
from protocols.positions import Position, is_position

TOPICS_MAX = 50
NOT_FOLLOWED = "-"
RETRY_MS = 2_000


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(topic: str, epoch: str, entry: Entry) -> bytes:
    """All but the id of one event; `data` is not decoded again."""
    head = f'{{"topic":"{topic}"'
    if entry.actor_id:
        head += f',"actorId":"{entry.actor_id}"'
    if entry.version is not None:
        head += f',"key":"{entry.key}","version":{entry.version}'
    return b'event: %b\ndata: %b,"data":%b}\n\n' % (entry.type.encode(), head.encode(), entry.data)


def named(name: str, data: dict[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))


def subscribed(topics: Sequence[dict[str, object]]) -> bytes:
    return named("subscribed", {"topics": topics})


def lost(topic: str, position: Position) -> bytes:
    return named("lost", {"topic": topic, "position": str(position)})


def unsubscribed(topics: Sequence[str], code: str, message: str) -> bytes:
    return named("unsubscribed", {"topics": topics, "error": {"code": code, "message": message}})


RENEW = named("renew", {})


def retry(ms: int) -> bytes:
    return b"retry: %d\n\n" % ms


def write_id(places: Sequence[str]) -> bytes:
    return b"id: %b\n" % ",".join(places).encode()


def read_id(text: str, many: int) -> list[str | None] | None:
    """A position a place, None where none is followed; None for an id that can't be of this URL."""
    places = text.split(",")
    if len(places) != many:
        return None
    if not all(place == NOT_FOLLOWED or is_position(place) for place in places):
        return None
    return [None if place == NOT_FOLLOWED else place for place in places]
