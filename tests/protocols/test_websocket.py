"""Websocket frames, byte for byte (RFC 6455, 5.2)."""

import pytest

from protocols import websocket
from protocols.websocket import Close


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (1, b"\x81\x01"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_the_length_takes_the_shortest_of_three_forms(size: int, head: bytes) -> None:
    assert websocket.text(b"x" * size) == head + b"x" * size


def test_a_text_of_the_rfc_is_framed_as_there() -> None:
    assert websocket.text(b"Hello") == bytes.fromhex("810548656c6c6f")  # 5.7


def test_a_ping_is_empty_and_a_pong_gives_back_what_the_ping_held() -> None:
    assert bytes.fromhex("8900") == websocket.PING
    assert websocket.pong(b"Hello") == bytes.fromhex("8a0548656c6c6f")


def test_a_close_holds_its_code_in_network_order_and_the_reason() -> None:
    assert websocket.close(Close.TOO_SLOW, "slow") == b"\x88\x06\x11\x38slow"


def test_a_reason_is_cut_to_what_a_control_frame_holds() -> None:
    frame = websocket.close(Close.BAD_FRAME, "r" * 500)
    assert frame[:2] == b"\x88\x7d"  # 125: the most a control frame may hold (5.5)
    assert frame[2:] == b"\x11\x30" + b"r" * 123


def test_a_cut_reason_is_still_utf_8() -> None:
    frame = websocket.close(Close.BAD_FRAME, "é" * 100)
    assert frame[1] == 2 + 122
    assert frame[4:].decode() == "é" * 61  # 5.5.1: the reason must be UTF-8


def test_the_close_codes_are_those_of_the_protocol() -> None:
    assert {code.name: code.value for code in Close} == {
        "SILENT": 1001,
        "DRAINING": 1012,
        "BAD_FRAME": 4400,
        "NOT_SIGNED_IN": 4401,
        "SUSPENDED": 4403,
        "TOO_SLOW": 4408,
        "TOO_LARGE": 4413,
        "TOO_MANY": 4429,
    }
