"""Server-sent events, `GET /events?topic=..&topic=..`: authenticate, stream, undo. docs/protocol.md has the events."""

import random
from collections.abc import Mapping, Sequence

from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse

from handlers.endpoints import authenticate
from handlers.following import begin, follow, told
from handlers.keys import AUTH, CONNECTIONS, SOCKETS
from protocols import sse
from protocols.errors import Failure, Kind, malformed, unauthenticated
from protocols.events import Entry
from protocols.identity import Viewer
from protocols.ids import new_id
from protocols.positions import Position
from realtime.connection import Connection
from realtime.resume import Followed

PING_S = 15.0
LAST_EVENT_ID = "Last-Event-ID"


class SseFraming:
    """What all streams share of an event; the id is each stream's own."""

    shared = False
    heartbeat = b""  # aiohttp-sse writes comments by itself
    event = staticmethod(sse.event)
    lost = staticmethod(sse.lost)
    unsubscribed = staticmethod(sse.unsubscribed)

    def reconnect(self, in_ms: int) -> bytes:
        """A browser comes back this long after the stream's end, which is drawn for each anyway."""
        return sse.retry(random.randint(0, sse.RETRY_MS))


FRAMING = SseFraming()


class Stream(Connection):
    """A connection whose events carry the positions of all its topics: `places`, in the URL's order."""

    __slots__ = ("_at", "_connections", "_renewing", "_response", "_started", "places")

    def __init__(
        self, request: web.Request, response: EventSourceResponse, viewer: Viewer, topics: Sequence[str]
    ) -> None:
        assert request.transport is not None
        super().__init__(new_id(), viewer, FRAMING, request.transport, request.writer.drain, self._end)
        self._response, self._connections = response, request.app[CONNECTIONS]
        self._at = {topic: place for place, topic in enumerate(topics)}
        self._renewing = self._started = False
        self.places = [sse.NOT_FOLLOWED] * len(topics)
        write = request.transport.write
        self.send = lambda data: write(sse.chunk(bytes(data)))

    def start(self, outcome: Mapping[str, Followed | Failure], wanted: Mapping[str, str | None]) -> None:
        """The first event: what became of each topic. Where something is still to come, its place is before that."""
        self._started = True
        for topic, item in outcome.items():
            if isinstance(item, Followed):
                self.places[self._at[topic]] = str(item.after if item.after is not None else item.channel.position)
            elif item.kind is Kind.UNAVAILABLE:  # to be followed from there when it is back
                self.places[self._at[topic]] = wanted[topic] or sse.NOT_FOLLOWED
        answers = [told(topic, item) for topic, item in outcome.items()]
        self.write(sse.retry(sse.RETRY_MS) + sse.write_id(self.places) + sse.subscribed(answers))

    def write(self, data: bytes) -> None:
        if self._started:  # before that, the headers have not left
            super().write(data)

    def deliver(self, topic: str, epoch: str, entries: Sequence[Entry], frames: Sequence[bytes]) -> None:
        place, parts = self._at[topic], []
        for entry, frame in zip(entries, frames, strict=True):
            if entry.offset:
                self.places[place] = f"{epoch}:{entry.offset}"
                parts.append(sse.write_id(self.places))
            parts.append(frame)
        self.write(b"".join(parts))

    def lost(self, topic: str, position: Position) -> None:
        self.places[self._at[topic]] = str(position)
        self.write(sse.write_id(self.places) + sse.lost(topic, position))

    def unsubscribed(self, topics: Sequence[str], code: str, message: str) -> None:
        for topic in topics:
            if code != "unavailable":
                self.places[self._at[topic]] = sse.NOT_FOLLOWED
        self.write(sse.write_id(self.places) + sse.unsubscribed(topics, code, message))

    def expiring(self) -> None:
        if not self._renewing:
            self._renewing = True
            self.write(sse.RENEW)

    def _end(self, code: int, reason: str) -> None:
        if not self.closing:
            self._connections.closes(self)
            if self._response.prepared:
                self._response.stop_streaming()


async def events(request: web.Request) -> web.StreamResponse:
    viewer = signed_in(request)
    topics = named_topics(request, viewer)
    response = EventSourceResponse(sep="\n", ping_interval=PING_S)
    response.headers[hdrs.CACHE_CONTROL] = "no-cache, no-transform"
    stream = Stream(request, response, viewer, topics)
    request.app[CONNECTIONS].add(stream)  # before the first wait: a session that is revoked from now on ends it
    outcome: Mapping[str, Followed | Failure] = {}
    try:
        wanted = dict(zip(topics, last_places(request, len(topics)), strict=True))
        outcome = await follow(request.app, stream, wanted)
        failures = [item for item in outcome.values() if isinstance(item, Failure)]
        # What is away comes back: the stream begins, says so, and ends. On an error a browser would give up for ever.
        away = len(failures) == len(outcome) and any(failure.kind is Kind.UNAVAILABLE for failure in failures)
        if len(failures) == len(outcome) and not away:
            raise failures[0]
        await request.app[SOCKETS].admit(viewer.user_id, stream.id)
        if stream.closing:
            raise unauthenticated()
        await response.prepare(request)
        await response.write(b": \n\n")  # the headers leave with the first bytes
        if stream.closing:
            return response
        stream.start(outcome, wanted)
        begin(request.app, stream, outcome)
        outcome = {}
        if away:
            response.stop_streaming()
        await response.wait()
    finally:
        stream.closing = True
        begin(request.app, stream, outcome)  # closing: what did not begin is let go
        request.app[CONNECTIONS].remove(stream)
        await request.app[SOCKETS].release(viewer.user_id, stream.id)
    return response


def signed_in(request: web.Request) -> Viewer:
    """By header, or by query: a browser's EventSource can't set headers."""
    token = request.query.get("access_token")
    viewer = request.app[AUTH].authenticate(token) if token else authenticate(request)
    if viewer is None:
        raise unauthenticated()
    return viewer


def named_topics(request: web.Request, viewer: Viewer) -> list[str]:
    own = [] if request.query.get("user") == "0" else [f"user:{viewer.user_id}"]
    topics = list(dict.fromkeys(own + request.query.getall("topic", [])))
    if len(topics) > sse.TOPICS_MAX:
        raise malformed(f"A stream follows {sse.TOPICS_MAX} topics at most.", "too_many_topics")
    if not topics:
        raise malformed("Name a topic to follow.", "no_topics")
    return topics


def last_places(request: web.Request, many: int) -> list[str | None]:
    """Where the client was; nowhere, where it doesn't say so in a way that fits this URL."""
    last = request.headers.get(LAST_EVENT_ID) or request.query.get("lastEventId") or ""
    return sse.read_id(last, many) or [None] * many


def setup(app: web.Application) -> None:
    app.router.add_get("/events", events)
