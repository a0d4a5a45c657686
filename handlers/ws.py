"""The native websocket, `GET /ws`: authenticate, loop, undo. docs/protocol.md has the frames."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from aiohttp import WSCloseCode, WSMessage, WSMsgType, hdrs, web

from handlers.answers import error_object
from handlers.following import begin, follow, told
from handlers.keys import AUTH, CONNECTIONS, RESUME, SETTINGS, SOCKETS
from handlers.methods import call
from protocols import native, websocket
from protocols.errors import Failure, Kind
from protocols.identity import Viewer
from protocols.ids import new_id
from protocols.positions import Position
from protocols.times import iso
from protocols.websocket import Close
from realtime.connection import Connection
from realtime.connections import HEARTBEAT_S

log = logging.getLogger(__name__)

AUTH_S = 10.0
FRAMES_A_SECOND_MAX = 20
TALK = frozenset({WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG})


class NativeFraming:
    """The wire format that all native websockets share."""

    shared = True
    heartbeat = websocket.PING
    event = staticmethod(native.event)

    def lost(self, topic: str, position: Position) -> bytes:
        return native.lost(topic, str(position))

    def unsubscribed(self, topics: Sequence[str], code: str, message: str) -> bytes:
        return native.unsubscribed(topics, error={"code": code, "message": message})

    def reconnect(self, in_ms: int) -> bytes:
        return native.reconnect(in_ms)


FRAMING = NativeFraming()


class Socket(web.WebSocketResponse):
    """aiohttp's websocket, without its own heartbeat (a timer each), pongs and compression, and with our close code for
    a frame over the limit."""

    def __init__(self) -> None:
        super().__init__(
            protocols=(native.SUBPROTOCOL,),
            max_msg_size=native.FRAME_BYTES_MAX + 1,  # the framework refuses what reaches it
            compress=False,
            autoping=False,
            timeout=5.0,
        )

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        if code == WSCloseCode.MESSAGE_TOO_BIG:
            code, message = Close.TOO_LARGE, b"a frame holds 64 KiB at most"
        return await super().close(code=code, message=message, drain=drain)


async def ws(request: web.Request) -> web.WebSocketResponse:
    socket = Socket()
    await socket.prepare(request)
    try:
        viewer, after = await signed_in(request, socket)
        await Session(request, socket, viewer).live(after)
    except Failure as failure:
        await socket.close(code=close_code(failure), message=websocket.cut(failure.message))
    return socket


def close_code(failure: Failure) -> Close:
    if failure.kind is Kind.UNAUTHENTICATED:
        return Close.NOT_SIGNED_IN
    if failure.kind is Kind.FORBIDDEN:
        return Close.SUSPENDED
    return Close.TOO_MANY if failure.kind is Kind.RATE_LIMITED else Close.BAD_FRAME


async def signed_in(request: web.Request, socket: Socket) -> tuple[Viewer, str | None]:
    """Who it is, and from where `user:` goes on. By header, by query, or by the first frame."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    token = token if scheme.lower() == "bearer" else request.query.get("access_token", "")
    if token:
        return request.app[AUTH].authenticate(token), request.query.get("after")
    try:
        async with asyncio.timeout(AUTH_S):
            message = await socket.receive()
    except TimeoutError:
        raise Failure(Kind.UNAUTHENTICATED, "unauthenticated", "No auth frame came in time.") from None
    frame = native.parse(message.data) if message.type is WSMsgType.TEXT else None
    if not isinstance(frame, native.Auth):
        raise Failure(Kind.UNAUTHENTICATED, "unauthenticated", "The first frame must be auth.")
    return request.app[AUTH].authenticate(frame.token), frame.after or request.query.get("after")


class Session:
    """One signed-in socket, from hello to the end."""

    def __init__(self, request: web.Request, socket: Socket, viewer: Viewer) -> None:
        assert request.transport is not None
        self._app, self._socket, self._viewer = request.app, socket, viewer
        self._transport = request.transport
        self._connection = Connection(new_id(), viewer, FRAMING, request.transport, request.writer.drain, self._end)
        self._limited = request.app[SETTINGS].rate_limits == "on"
        self._second, self._frames = 0, 0

    async def live(self, after: str | None) -> None:
        connection, connections = self._connection, self._app[CONNECTIONS]
        connections.add(connection)  # before the first wait: a session that is revoked from now on ends it
        try:
            await self._greet(after)
            while True:
                message = await self._socket.receive()
                connection.silent = 0
                if message.type not in TALK:
                    break
                if not connection.closing:
                    await self._receive(message)
        finally:
            connections.remove(connection)
            await self._app[SOCKETS].release(self._viewer.user_id, connection.id)
            # What was written leaves first; the framework's own closing handshake has nothing left to do.
            self._transport.close()

    def _end(self, code: int, reason: str) -> None:
        connection = self._connection
        if not connection.closing:
            connection.write(websocket.close(code, reason))
            self._app[CONNECTIONS].closes(connection)

    async def _receive(self, message: WSMessage) -> None:
        if message.type is WSMsgType.PING:
            self._connection.write(websocket.pong(message.data))
        elif message.type is WSMsgType.BINARY:
            self._end(Close.BAD_FRAME, "frames are JSON in text")
        elif message.type is WSMsgType.TEXT:
            if self._limited and self._too_fast():
                self._end(Close.TOO_MANY, "too many frames a second")
                return
            try:
                await self._frame(native.parse(message.data))
            except Failure as failure:
                self._end(close_code(failure), failure.message)

    def _too_fast(self) -> bool:
        second = int(time.monotonic())
        self._frames = self._frames + 1 if second == self._second else 1
        self._second = second
        return self._frames > FRAMES_A_SECOND_MAX

    async def _frame(self, frame: native.Frame) -> None:
        if isinstance(frame, native.CallMethod):
            await self._call(frame)
        elif isinstance(frame, native.Subscribe):
            await self._subscribe(frame)
        elif isinstance(frame, native.Unsubscribe):
            for topic in frame.topics:
                self._app[RESUME].leave(self._connection, topic)
            self._connection.write(native.unsubscribed(frame.topics, frame.ref))
        elif isinstance(frame, native.Ping):
            self._connection.write(native.PONG)
        else:
            self._renew(frame)

    async def _call(self, frame: native.CallMethod) -> None:
        try:
            data = await call(self._app, self._viewer, frame.method, frame.args)
            self._connection.write(native.result(frame.ref, data))
        except Failure as failure:
            self._connection.write(native.error(frame.ref, error_object(failure)))

    def _renew(self, frame: native.Auth) -> None:
        viewer = self._app[AUTH].authenticate(frame.token)
        if (viewer.user_id, viewer.session_id) != (self._viewer.user_id, self._viewer.session_id):
            raise Failure(Kind.UNAUTHENTICATED, "unauthenticated", "That is another session's token.")
        self._viewer = self._connection.viewer = viewer
        expires = datetime.fromtimestamp(viewer.expires_at, UTC)
        self._connection.write(native.authenticated(iso(expires)))

    async def _greet(self, after: str | None) -> None:
        try:
            await self._app[SOCKETS].admit(self._viewer.user_id, self._connection.id)
        except Failure as failure:
            self._end(close_code(failure), failure.message)
        if not self._connection.closing:
            await self._hello(after)

    async def _hello(self, after: str | None) -> None:
        topic = f"user:{self._viewer.user_id}"
        outcome = await follow(self._app, self._connection, {topic: after})
        self._connection.write(
            native.hello(
                self._connection.id, self._viewer.user_id, HEARTBEAT_S * 1000, [told(*item) for item in outcome.items()]
            )
        )
        begin(self._app, self._connection, outcome)

    async def _subscribe(self, frame: native.Subscribe) -> None:
        if len(frame.topics) > native.TOPICS_A_FRAME_MAX:
            self._connection.write(native.error(frame.ref, error_object(native.too_many_topics())))
            return
        outcome = await follow(self._app, self._connection, {wanted.topic: wanted.after for wanted in frame.topics})
        self._connection.write(native.subscribed(frame.ref, [told(*item) for item in outcome.items()]))
        begin(self._app, self._connection, outcome)


def setup(app: web.Application) -> None:
    app.router.add_get("/ws", ws)
