"""Accounts over real servers, and what their tests share: people, their tokens, and the HTTP in front."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web
from motor.motor_asyncio import AsyncIOMotorClient
from redis.asyncio import Redis

from handlers.auth import endpoints
from handlers.keys import AUTH, RATES, SETTINGS, STOP
from protocols.accounts import Device, RegisterBody, SignedInDto
from server.middleware import envelope
from services.auth import Auth
from services.passwords import Passwords
from services.profiles import Profiles
from services.rates import Rates
from services.revocations import Revocations
from services.tokens import Tokens, new_key, private_key
from settings import Settings
from stores import migrations
from stores.accounts import Accounts
from stores.buckets import Buckets
from stores.mongo import Client
from stores.postgres import Postgres
from stores.profiles import Profiles as ProfileStore
from stores.topics import Topics
from stores.wire import Line
from tests.backing import Backing

MIGRATIONS = migrations.read()
PASSWORD = "correct horse battery"


@dataclass
class Process:
    """What one process of the product holds for accounts."""

    postgres: Postgres
    accounts: Accounts
    tokens: Tokens
    redis: Redis
    profiles: Profiles
    auth: Auth

    @property
    def revocations(self) -> Revocations:
        return self.auth.revocations


@asynccontextmanager
async def fresh_database(backing: Backing) -> AsyncIterator[str]:
    """The URL of a migrated database of one's own."""
    name = f"t{secrets.token_hex(6)}"
    server = await Postgres.open(backing.database_url, connections_max=1)
    await server.execute(f"CREATE DATABASE {name}")
    url = urlsplit(backing.database_url)._replace(path=f"/{name}").geturl()
    try:
        postgres = await Postgres.open(url, connections_max=1)
        await migrations.migrate(postgres, MIGRATIONS)
        await postgres.close()
        yield url
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await server.close()


@asynccontextmanager
async def process(mongodb_url: str, database_url: str, redis_url: str, pem: bytes) -> AsyncIterator[Process]:
    """A process that shares its stores and its key with others."""
    mongo: Client = AsyncIOMotorClient(mongodb_url, tz_aware=True, serverSelectionTimeoutMS=300)
    profiles = Profiles(ProfileStore(mongo.get_default_database("wechat")))
    postgres, redis = await Postgres.open(database_url), Redis.from_url(redis_url, driver_info=None)
    passwords = Passwords()
    tokens = Tokens(private_key(pem), "http://localhost:8080")
    accounts = Accounts(postgres)
    line = Line(redis_url)
    rates, topics = Rates(Buckets(redis)), Topics(line)
    auth = Auth(accounts, tokens, passwords, Revocations(accounts, tokens), rates, profiles, topics)
    try:
        yield Process(postgres, accounts, tokens, redis, profiles, auth)
    finally:
        passwords.close()
        line.close()
        await redis.aclose()
        mongo.close()
        await postgres.close()


@asynccontextmanager
async def single(backing: Backing, mongodb_url: str | None = None) -> AsyncIterator[Process]:
    """One process on a database of its own."""
    mongodb_url = mongodb_url or backing.mongodb_url
    async with fresh_database(backing) as url, process(mongodb_url, url, backing.redis_url, new_key()) as alone:
        yield alone


def web_app(of: Process, settings: Settings) -> web.Application:
    """The endpoints of accounts alone."""
    app = web.Application(middlewares=[envelope])
    app[STOP] = asyncio.Event()
    app[SETTINGS], app[AUTH], app[RATES] = settings, of.auth, of.auth.rates
    endpoints.install(app)
    return app


def any_address() -> str:
    """An address that no other test was throttled at."""
    return f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.{secrets.randbelow(256)}"


def device() -> Device:
    return Device("tests", any_address())


def some_name() -> str:
    return f"u{secrets.token_hex(5)}"


async def register(auth: Auth, username: str | None = None) -> SignedInDto:
    name = username or some_name()
    body = RegisterBody.model_validate({"username": name, "email": f"{name}@example.org", "password": PASSWORD})
    return await auth.register(body, device())
