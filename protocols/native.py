"""The native protocol, `wechat.v1`: JSON in websocket text frames. docs/protocol.md lists every frame.

`parse` reads a client's frame; all others make the server's, as complete websocket frames.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import orjson
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from protocols import websocket
from protocols.contracts import Body
from protocols.errors import Failure, malformed
from protocols.events import Entry

SUBPROTOCOL = "wechat.v1"
FRAME_BYTES_MAX = 64 << 10
TOPICS_A_FRAME_MAX = 500

Ref = Annotated[int, Field(ge=0, lt=1 << 53)] | Annotated[str, StringConstraints(max_length=64)]
Name = Annotated[str, StringConstraints(max_length=100)]


class Auth(Body):
    op: Literal["auth"]
    token: str
    after: str | None = None


class TopicAfter(Body):
    topic: Name
    after: Name | None = None


class Subscribe(Body):
    op: Literal["subscribe"]
    ref: Ref | None = None
    topics: list[TopicAfter]


class Unsubscribe(Body):
    op: Literal["unsubscribe"]
    ref: Ref | None = None
    topics: list[Name]


class CallMethod(Body):
    op: Literal["call"]
    ref: Ref | None = None
    method: Name
    args: dict[str, object] = {}


class Ping(Body):
    op: Literal["ping"]


Frame = Auth | Subscribe | Unsubscribe | CallMethod | Ping
_FRAME: TypeAdapter[Frame] = TypeAdapter(Annotated[Frame, Field(discriminator="op")])


def parse(text: str) -> Frame:
    """Raises Failure (bad_frame) for what is no frame of ours."""
    try:
        return _FRAME.validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise malformed(f"{where}: {fault['msg']}" if where else fault["msg"], "bad_frame") from None


def _text(frame: dict[str, object]) -> bytes:
    return websocket.text(orjson.dumps(frame))


def _ref(ref: Ref | None) -> dict[str, object]:
    return {} if ref is None else {"ref": ref}


def hello(connection_id: str, user_id: str, heartbeat_ms: int, topics: Sequence[dict[str, object]]) -> bytes:
    return _text(
        {
            "op": "hello",
            "connectionId": connection_id,
            "userId": user_id,
            "heartbeatMs": heartbeat_ms,
            "topics": topics,
        }
    )


def authenticated(expires_at: str) -> bytes:
    return _text({"op": "authenticated", "expiresAt": expires_at})


def subscribed(ref: Ref | None, topics: Sequence[dict[str, object]]) -> bytes:
    return _text({"op": "subscribed", **_ref(ref), "topics": topics})


def unsubscribed(topics: Sequence[str], ref: Ref | None = None, error: dict[str, object] | None = None) -> bytes:
    told: dict[str, object] = {} if error is None else {"error": error}
    return _text({"op": "unsubscribed", **_ref(ref), "topics": topics, **told})


def lost(topic: str, position: str) -> bytes:
    return _text({"op": "lost", "topic": topic, "position": position})


def result(ref: Ref | None, data: object) -> bytes:
    return _text({"op": "result", **_ref(ref), "data": data})


def error(ref: Ref | None, fault: dict[str, object]) -> bytes:
    return _text({"op": "error", **_ref(ref), "error": fault})


def reconnect(in_ms: int) -> bytes:
    return _text({"op": "reconnect", "inMs": in_ms})


PONG = websocket.text(b'{"op":"pong"}')


def event(topic: str, epoch: str, entry: Entry) -> bytes:
    """One event for all its followers. Put together from ready parts: `data` is not decoded again."""
    head = f'{{"op":"event","topic":"{topic}"'
    if entry.offset:
        head += f',"id":"{epoch}:{entry.offset}"'
    head += f',"type":"{entry.type}"'
    if entry.actor_id:
        head += f',"actorId":"{entry.actor_id}"'
    if entry.version is not None:
        head += f',"key":"{entry.key}","version":{entry.version}'
    return websocket.text(b'%s,"data":%s}' % (head.encode(), entry.data))


def too_many_topics() -> Failure:
    return malformed("That is more topics than one connection may follow, or one frame may name.", "too_many_topics")
