"""Fixtures for all tests."""

import importlib.util
import inspect
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from blockbuster import BlockBuster, blockbuster_ctx

from server.app import make_app
from settings import Settings
from tests.backing import Backing, running
from tests.web import Web

# A blocking call counts when one of these is on the stack: tests may read files as they like.
GUARDED = ("server", "workers", "handlers", "realtime", "services", "stores", "protocols", "settings")


@pytest.fixture(scope="session")
def backing() -> Iterator[Backing]:
    """Real MongoDB, PostgreSQL and Valkey, shared by the run: take a database name or key prefix of your own."""
    with running(os.environ.get("PATH", os.defpath)) as servers:
        yield servers


@pytest.fixture(autouse=True)
def blockbuster(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """A blocking call of the product on the event loop fails an async test."""
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield None
        return
    with blockbuster_ctx([name for name in GUARDED if importlib.util.find_spec(name)]) as guard:
        # a client looks once, when it is made, whether it runs in a container
        guard.functions["os.stat"].can_block_in("pymongo/pool_options.py", "get_container_env_info")
        yield guard


@pytest.fixture(scope="session")
def migrated(backing: Backing) -> Backing:
    """The backing servers with tables and indexes."""
    subprocess.run([sys.executable, "-m", "server.migrate"], env={**os.environ, **backing.env}, check=True)
    return backing


@pytest.fixture(scope="session")
def web_url(migrated: Backing) -> Iterator[str]:
    """A real web process, shared by the run: register people of your own."""
    process = Web.start(migrated.env).ready()
    yield process.url
    assert process.stop() == 0, process.output()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def app(migrated: Backing, monkeypatch: pytest.MonkeyPatch) -> web.Application:
    """The application inside the test's own loop, where a blocking call fails the test."""
    for name, value in {**migrated.env, "RATE_LIMIT_FACTOR": "1000"}.items():
        monkeypatch.setenv(name, value)
    return make_app(Settings.load())


@pytest.fixture
async def app_url(app: web.Application) -> AsyncIterator[str]:
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")
