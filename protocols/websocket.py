"""Websocket frames from server to client (RFC 6455, 5.2): unmasked, never fragmented, never compressed.

A frame made here is complete: the same bytes go to any number of connections.
"""

import struct
from enum import IntEnum

PING = b"\x89\x00"
REASON_BYTES_MAX = 123


class Close(IntEnum):
    """Close codes of the native protocol. 4401, 4408, 1001 and 1012 ask to come back, the others don't help by it."""

    SILENT = 1001
    DRAINING = 1012
    BAD_FRAME = 4400
    NOT_SIGNED_IN = 4401
    SUSPENDED = 4403
    TOO_SLOW = 4408
    TOO_LARGE = 4413
    TOO_MANY = 4429


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def text(payload: bytes) -> bytes:
    return _frame(0x1, payload)


def pong(payload: bytes) -> bytes:
    return _frame(0xA, payload)


def close(code: int, reason: str) -> bytes:
    """`reason` is cut to the 123 bytes that fit a control frame, at a character's end, as it must be UTF-8 (5.5.1)."""
    return _frame(0x8, struct.pack("!H", code) + cut(reason))


def cut(reason: str) -> bytes:
    return reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
