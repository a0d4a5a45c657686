"""All connections of this process: by user, their heartbeats, and the ends that come from the server.

One sweep a second serves them all; a timer a connection would cost memory and wake-ups.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterator

from protocols.websocket import Close
from realtime.connection import Connection
from realtime.hub import end_slow
from realtime.resume import Resume

log = logging.getLogger(__name__)

HEARTBEAT_S = 25
SILENT_MAX = 2  # heartbeats without a sign of life
STOPS = "this process stops: connect again"
EXPIRING_S = 30.0  # before a token runs out
CLOSING_S = 5.0  # for a client to answer a close frame, or to read what waits


class Connections:
    """`add` and `remove` frame a connection's life; `remove` undoes all that it followed."""

    def __init__(self, resume: Resume) -> None:
        self._resume = resume
        self._by_user: dict[str, set[Connection]] = {}
        self._beats: list[dict[Connection, None]] = [{} for _ in range(HEARTBEAT_S)]
        self._closing: dict[Connection, float] = {}
        self.draining = False

    def __iter__(self) -> Iterator[Connection]:
        return (connection for beat in self._beats for connection in beat)

    def __len__(self) -> int:
        return sum(map(len, self._beats))

    def of(self, user_id: str) -> list[Connection]:
        return list(self._by_user.get(user_id, ()))

    def add(self, connection: Connection) -> None:
        self._by_user.setdefault(connection.viewer.user_id, set()).add(connection)
        self._beats[hash(connection) // 64 % HEARTBEAT_S][connection] = None
        if self.draining:
            connection.end(Close.DRAINING, STOPS)

    def remove(self, connection: Connection) -> None:
        self._resume.end(connection)
        self._closing.pop(connection, None)
        self._beats[hash(connection) // 64 % HEARTBEAT_S].pop(connection, None)
        mine = self._by_user.get(connection.viewer.user_id)
        if mine is not None:
            mine.discard(connection)
            if not mine:
                del self._by_user[connection.viewer.user_id]

    def closes(self, connection: Connection) -> None:
        """A close frame was written; nothing more is delivered, and the transport goes if the client doesn't."""
        self._resume.end(connection)
        self._closing[connection] = time.monotonic() + CLOSING_S

    def end_access(self, user_id: str, session_id: str | None, suspended: bool = False) -> None:
        """A session was revoked, or all of a user's."""
        code, reason = (
            (Close.SUSPENDED, "the account is suspended") if suspended else (Close.NOT_SIGNED_IN, "the session ended")
        )
        for connection in self.of(user_id):
            if session_id is None or connection.viewer.session_id == session_id:
                connection.end(code, reason)

    async def run(self) -> None:
        """The sweep: heartbeats, tokens that ran out, clients that can't keep up or don't answer."""
        tick = 0
        while True:
            await asyncio.sleep(1)
            tick = (tick + 1) % HEARTBEAT_S
            now = time.time()
            for connection in list(self):
                if connection.transport.is_closing() and not connection.framing.heartbeat:
                    connection.end(Close.SILENT, "the client has gone")
                elif connection.viewer.expires_at < now:
                    connection.end(Close.NOT_SIGNED_IN, "the token expired")
                elif connection.viewer.expires_at < now + EXPIRING_S:
                    connection.expiring()
            end_slow(list(self))
            for connection in list(self._beats[tick]):
                if not connection.framing.heartbeat:
                    continue
                if connection.silent >= SILENT_MAX:
                    connection.end(Close.SILENT, "no sign of life")
                else:
                    connection.silent += 1
                    connection.write(connection.framing.heartbeat)
            for connection, until in list(self._closing.items()):
                if until < time.monotonic():
                    connection.transport.abort()

    async def drain(self, seconds: float) -> None:
        """Send every client elsewhere, each at its own moment within `seconds`: they shall not all arrive at once.
        Who connects from now on is sent on at once."""
        self.draining = True
        clients = list(self)
        random.shuffle(clients)
        for i, connection in enumerate(clients):
            connection.write(connection.framing.reconnect(int(seconds * 1000 * i / len(clients))))
        pause = seconds / max(1, len(clients))
        for i, connection in enumerate(clients):
            connection.end(Close.DRAINING, STOPS)
            if pause > 0.001 or i % 100 == 0:
                await asyncio.sleep(pause if pause > 0.001 else pause * 100)
