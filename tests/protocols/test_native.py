"""The native protocol's frames, as text in plain sight."""

import json

import pytest

from protocols import native
from protocols.errors import Failure
from protocols.events import Entry


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('{"op":"auth","token":"t"}', native.Auth(op="auth", token="t")),
        ('{"op":"auth","token":"t","after":"k3f9ab2c:9"}', native.Auth(op="auth", token="t", after="k3f9ab2c:9")),
        ('{"op":"ping"}', native.Ping(op="ping")),
        (
            '{"op":"subscribe","ref":1,"topics":[{"topic":"feed"},{"topic":"conv:1","after":"k3f9ab2c:7"}]}',
            native.Subscribe(
                op="subscribe",
                ref=1,
                topics=[native.TopicAfter(topic="feed"), native.TopicAfter(topic="conv:1", after="k3f9ab2c:7")],
            ),
        ),
        (
            '{"op":"unsubscribe","ref":"a","topics":["feed"]}',
            native.Unsubscribe(op="unsubscribe", ref="a", topics=["feed"]),
        ),
        (
            '{"op":"call","ref":0,"method":"MarkRead","args":{"seq":3}}',
            native.CallMethod(op="call", ref=0, method="MarkRead", args={"seq": 3}),
        ),
    ],
)
def test_a_clients_frame_is_read(text: str, frame: native.Frame) -> None:
    assert native.parse(text) == frame


def test_fields_of_a_newer_client_are_passed_over() -> None:
    assert native.parse('{"op":"ping","colour":"red"}') == native.Ping(op="ping")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '"ping"',
        "{}",
        '{"op":null}',
        '{"op":"fly"}',
        '{"op":["ping"]}',
        '{"op":"auth"}',
        '{"op":"auth","token":7}',
        '{"op":"auth","token":null}',
        '{"op":"subscribe"}',
        '{"op":"subscribe","topics":"feed"}',
        '{"op":"subscribe","topics":["feed"]}',
        '{"op":"subscribe","topics":[{"topic":7}]}',
        '{"op":"subscribe","topics":[{"topic":"feed","after":7}]}',
        '{"op":"subscribe","ref":-1,"topics":[]}',
        '{"op":"subscribe","ref":9007199254740992,"topics":[]}',
        '{"op":"subscribe","ref":1.5,"topics":[]}',
        '{"op":"subscribe","ref":true,"topics":[]}',
        '{"op":"unsubscribe","topics":[{"topic":"feed"}]}',
        '{"op":"unsubscribe","topics":["%s"]}' % ("x" * 101),
        '{"op":"call","ref":1}',
        '{"op":"call","ref":1,"method":"m","args":[]}',
        '{"op":"call","ref":"%s","method":"m"}' % ("x" * 65),
        '{"op":"ping"} {"op":"ping"}',
        '{"op":"unsubscribe","topics":["\\ud800"]}',
        "[" * 5_000,
    ],
)
def test_what_is_no_frame_is_refused_as_bad_frame(text: str) -> None:
    with pytest.raises(Failure) as refused:
        native.parse(text)
    assert refused.value.code == "bad_frame"


def test_a_refusal_names_the_place_and_never_repeats_the_input() -> None:
    with pytest.raises(Failure) as refused:
        native.parse('{"op":"subscribe","topics":[{"topic":"feed"},{"topic":{"secret":"hunter2"}}]}')
    assert "topics.1.topic" in refused.value.message
    assert "hunter2" not in refused.value.message


LOG = Entry(1736, "MessageReceived", "ann", "7:text", None, b'{"text":"hi"}')
STATE = Entry(9, "MessageRead", "ann", "bob", 41, b"{}")
TYPING = Entry(0, "TypingStarted", "ann", "", None, b"{}")
NOBODY = Entry(1, "SessionRevoked", "", "", None, b"{}")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (LOG, '"id":"k3f9ab2c:1736","type":"MessageReceived","actorId":"ann","data":{"text":"hi"}}'),
        (STATE, '"id":"k3f9ab2c:9","type":"MessageRead","actorId":"ann","key":"bob","version":41,"data":{}}'),
        (TYPING, '"type":"TypingStarted","actorId":"ann","data":{}}'),
        (NOBODY, '"id":"k3f9ab2c:1","type":"SessionRevoked","data":{}}'),
    ],
    ids=["log", "state", "ephemeral", "without actor"],
)
def test_an_event_says_what_its_kind_has(entry: Entry, text: str) -> None:
    frame = payload(native.event("t", "k3f9ab2c", entry))
    assert frame == ('{"op":"event","topic":"t",' + text).encode()
    json.loads(frame)


def payload(frame: bytes) -> bytes:
    """Of a text frame of under 64 KiB."""
    assert frame[0] == 0x81
    start = 4 if frame[1] == 126 else 2
    size = int.from_bytes(frame[2:4], "big") if frame[1] == 126 else frame[1]
    assert len(frame) == start + size
    return frame[start:]


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (
            native.hello("c", "u", 25_000, [{"topic": "user:u", "position": "k3f9ab2c:9", "recovered": True}]),
            b'{"op":"hello","connectionId":"c","userId":"u","heartbeatMs":25000,'
            b'"topics":[{"topic":"user:u","position":"k3f9ab2c:9","recovered":true}]}',
        ),
        (native.authenticated("soon"), b'{"op":"authenticated","expiresAt":"soon"}'),
        (native.subscribed(1, []), b'{"op":"subscribed","ref":1,"topics":[]}'),
        (native.subscribed(0, []), b'{"op":"subscribed","ref":0,"topics":[]}'),
        (native.subscribed(None, []), b'{"op":"subscribed","topics":[]}'),
        (native.lost("feed", "k3f9ab2c:0"), b'{"op":"lost","topic":"feed","position":"k3f9ab2c:0"}'),
        (native.unsubscribed(["feed"], 2), b'{"op":"unsubscribed","ref":2,"topics":["feed"]}'),
        (
            native.unsubscribed(["feed"], error={"code": "not_member", "message": "m"}),
            b'{"op":"unsubscribed","topics":["feed"],"error":{"code":"not_member","message":"m"}}',
        ),
        (native.result("r", {"seq": 1}), b'{"op":"result","ref":"r","data":{"seq":1}}'),
        (native.error(3, {"code": "c", "message": "m"}), b'{"op":"error","ref":3,"error":{"code":"c","message":"m"}}'),
        (native.reconnect(1_730), b'{"op":"reconnect","inMs":1730}'),
        (native.PONG, b'{"op":"pong"}'),
    ],
)
def test_a_servers_frame_is_exactly_this(frame: bytes, text: bytes) -> None:
    assert payload(frame) == text
