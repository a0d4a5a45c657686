"""The application: what a web process is made of, in the order in which it is put together."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Coroutine

from aiohttp import web
from redis.asyncio import Redis

from handlers import auth, chat, health, pages, profiles, sse, ws
from handlers.endpoints import BODY_BYTES_MAX, Endpoints
from handlers.keys import (
    ACCESS,
    AUTH,
    CONNECTIONS,
    CONVERSATIONS,
    HEALTH,
    PROFILES,
    RATES,
    READING,
    RESUME,
    SENDER,
    SETTINGS,
    SOCKETS,
    STOP,
    TOKENS,
)
from protocols.ids import new_id
from realtime.connections import Connections
from realtime.hub import Hub
from realtime.resume import Resume
from server.control import Control
from server.middleware import ACCESS_LOG, AccessLog, envelope
from services.access import Access
from services.auth import Auth
from services.chat.activity import Activity
from services.chat.conversations import Conversations
from services.chat.publishing import Publisher
from services.chat.reading import Reading, render_member
from services.chat.recovery import Recovery
from services.chat.roster import Rosters
from services.chat.sending import Sender
from services.chat.summaries import Summaries
from services.health import Health
from services.outbox import Outbox
from services.passwords import Passwords
from services.positions import Positions
from services.profiles import Profiles
from services.rates import Rates
from services.revocations import Revocations
from services.sockets import Sockets
from services.tokens import Tokens
from settings import Settings
from stores.accounts import Accounts
from stores.buckets import Buckets
from stores.conversations import Conversations as ConversationStore
from stores.leases import Leases
from stores.messages import Messages
from stores.mongo import Client, open_mongo, ping_mongo
from stores.outbox import OutboxStore
from stores.postgres import Postgres, ping_postgres
from stores.profiles import Profiles as ProfileStore
from stores.redis import open_redis, ping_redis
from stores.sockets import SocketStore
from stores.subscriber import Subscriber
from stores.topics import Kept, Topics
from stores.wire import Line

log = logging.getLogger(__name__)

RESOURCES: tuple[Endpoints, ...] = (auth.endpoints, profiles.endpoints, chat.endpoints)
STREAMS = {"ws": ws.setup, "sse": sse.setup, "pages": pages.setup}


# The MongoDB driver works in threads. One that has its answer waits this long for a loop that is busy to let it go on,
# several times a call; with the default of 5 ms an insert took 20 ms and more under load.
SWITCH_S = 0.0005


def make_app(settings: Settings, access: AccessLog | None = None) -> web.Application:
    sys.setswitchinterval(SWITCH_S)
    app = web.Application(middlewares=[envelope], client_max_size=BODY_BYTES_MAX)
    if access is not None:
        app[ACCESS_LOG] = access
    app[SETTINGS], app[STOP] = settings, asyncio.Event()
    app[TOKENS] = Tokens.load(settings)  # from a file, perhaps: before the loop has anybody to serve
    app.cleanup_ctx.append(running)
    health.setup(app)
    served = {name.strip() for name in settings.serve.split(",") if name.strip()}
    for endpoints in RESOURCES:
        if not served or endpoints.name in served:
            endpoints.install(app)
    for name, setup in STREAMS.items():
        if not served or name in served:
            setup(app)
    return app


async def running(app: web.Application) -> AsyncIterator[None]:
    """Stores, services and the loops that live as long as the process, opened and closed around its life."""
    settings = app[SETTINGS]
    postgres = await Postgres.open(settings.database_url)
    mongo = open_mongo(settings.mongodb_url)
    redis, line = open_redis(settings.redis_url), Line(settings.redis_url)
    passwords = Passwords()
    loops: list[asyncio.Task[None]] = []
    try:
        loops += [
            asyncio.create_task(alive(app, name, loop), name=name)
            for name, loop in wire(app, postgres, mongo, redis, line, passwords).items()
        ]
        yield
    finally:
        for loop in reversed(loops):  # one after the other: what a loop finishes may need those above it
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
        passwords.close()
        line.close()
        await redis.aclose()
        await asyncio.to_thread(mongo.close)  # it says goodbye to the server, and waits
        await postgres.close()


async def alive(app: web.Application, name: str, loop: Coroutine[None, None, None]) -> None:
    """A loop that ends by an error takes the process with it: another one starts clean in its place."""
    try:
        await loop
    except Exception:
        log.critical("%s failed: the process stops", name, exc_info=True)
        app[STOP].set()


def wire(
    app: web.Application, postgres: Postgres, mongo: Client, redis: Redis, line: Line, passwords: Passwords
) -> dict[str, Coroutine[None, None, None]]:
    """Everything by name, what it needs passed in; answers the loops that must run, to be ended from the last on."""
    settings = app[SETTINGS]
    database = mongo.get_default_database("wechat")
    limited = settings.rate_limits == "on"
    kept = Kept(settings.topic_entries_max, settings.topic_age_max_s * 1000, settings.topic_bytes_max)
    topics, subscriber = Topics(line, kept), Subscriber(settings.redis_url)

    accounts, tokens = Accounts(postgres), app[TOKENS]
    revocations = Revocations(accounts, tokens)
    people = Profiles(ProfileStore(database))
    rates = Rates(Buckets(redis), enabled=limited, factor=settings.rate_limit_factor)

    stored, messages = ConversationStore(mongo, database), Messages(database)
    positions = Positions(topics, messages)
    process_id = new_id()
    rosters, publisher = Rosters(stored, messages), Publisher(topics, messages, process_id)
    summaries = Summaries(stored, messages, people)
    marks = Outbox(OutboxStore(database, "conversation_members", "conversationId"), topics, render_member)
    activity = Activity(stored, summaries, marks, topics)
    sender = Sender(messages, rosters, publisher, activity.note)

    access, sockets = Access(stored), Sockets(SocketStore(redis), rates, enabled=limited)
    control = Control(rosters, revocations)
    hub = Hub(topics, subscriber, positions.look, control.hear, control.lost)
    resume = Resume(hub, topics)
    connections = Connections(resume)

    app[AUTH] = Auth(accounts, tokens, passwords, revocations, rates, people, topics)
    app[RATES], app[PROFILES], app[ACCESS], app[SOCKETS] = rates, people, access, sockets
    app[CONVERSATIONS] = Conversations(stored, rosters, summaries, activity, people, positions)
    app[READING] = Reading(stored, messages, rosters, marks, activity, topics, positions)
    app[SENDER], app[RESUME], app[CONNECTIONS] = sender, resume, connections
    app[HEALTH] = Health(
        {"mongodb": ping_mongo(database), "postgresql": ping_postgres(postgres), "redis": ping_redis(redis)}
    )
    revocations.listeners.append(lambda gone: connections.end_access(gone.user_id, gone.session_id))
    return {
        "subscriber": subscriber.run(),
        "hub": hub.run(),
        "resume": resume.run(),
        "connections": connections.run(),
        "control": control.run(hub, connections, access, resume),
        "revocations": revocations.run(),
        "recovery": Recovery(Leases(redis), messages, publisher, process_id).run(),
        "outbox: marks": marks.run(),
        "activity": activity.run(),
        "sender": sender.run(),
        "sockets": sockets.renew_for_ever(lambda: ((c.viewer.user_id, c.id) for c in connections)),
    }
