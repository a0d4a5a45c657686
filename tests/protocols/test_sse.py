"""Event streams, byte by byte."""

import pytest

from protocols import sse
from protocols.events import Entry
from protocols.positions import Position

LOG = Entry(1736, "MessageReceived", "ann", "7:user", None, b'{"text":"hi"}')
STATE = Entry(9, "MessageRead", "ann", "bob", 41, b"{}")
LIVE = Entry(0, "TypingStarted", "", "", None, b"{}")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (LOG, b'event: MessageReceived\ndata: {"topic":"t","actorId":"ann","data":{"text":"hi"}}\n\n'),
        (STATE, b'event: MessageRead\ndata: {"topic":"t","actorId":"ann","key":"bob","version":41,"data":{}}\n\n'),
        (LIVE, b'event: TypingStarted\ndata: {"topic":"t","data":{}}\n\n'),
    ],
)
def test_an_event_is_made_once_for_all_streams(entry: Entry, text: bytes) -> None:
    assert sse.event("t", "k3f9ab2c", entry) == text


def test_what_the_server_says_by_itself() -> None:
    assert sse.lost("t", Position("k3f9ab2c", 7)) == b'event: lost\ndata: {"topic":"t","position":"k3f9ab2c:7"}\n\n'
    assert sse.RENEW == b"event: renew\ndata: {}\n\n"
    assert sse.retry(2_000) == b"retry: 2000\n\n"
    assert sse.unsubscribed(["t"], "not_member", "over") == (
        b'event: unsubscribed\ndata: {"topics":["t"],"error":{"code":"not_member","message":"over"}}\n\n'
    )


def test_a_chunk_says_its_length_in_hexadecimal() -> None:
    assert sse.chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_an_id_has_a_place_for_each_topic() -> None:
    assert sse.write_id(["aaaaaaaa:1", "-", "bbbbbbbb:0"]) == b"id: aaaaaaaa:1,-,bbbbbbbb:0\n"
    assert sse.read_id("aaaaaaaa:1,-,bbbbbbbb:0", 3) == ["aaaaaaaa:1", None, "bbbbbbbb:0"]


@pytest.mark.parametrize(
    "text", ["", "aaaaaaaa:1", "aaaaaaaa:1,-,-", "aaaaaaaa:1,x", "aaaaaaaa:1,AAAAAAAA:1", ",", "-,"]
)
def test_an_id_that_does_not_fit_counts_as_none(text: str) -> None:
    assert sse.read_id(text, 2) is None
