import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, make_dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.local import postgres as server
from deploy.local.process import Server
from protocols.errors import Failure, Kind
from protocols.ids import new_id
from stores import accounts, migrations
from stores.migrations import Migration, MigrationError
from stores.postgres import Conflict, Postgres
from tests.accounts import MIGRATIONS, fresh_database
from tests.backing import Backing

SIZE = 3  # connections of the pools here


@dataclass(frozen=True)
class Number:
    n: int


@pytest.fixture
async def url(backing: Backing) -> AsyncIterator[str]:
    async with fresh_database(backing) as url:
        yield url


@pytest.fixture
async def postgres(url: str) -> AsyncIterator[Postgres]:
    opened = await Postgres.open(url, connections_max=SIZE)
    yield opened
    await opened.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server to kill."""
    started = server.start(tmp_path / "pg")
    yield started
    started.kill()


async def fill(postgres: Postgres) -> None:
    """Have all connections of the pool open and idle."""
    await asyncio.gather(*(postgres.one(Number, "SELECT 1 AS n FROM pg_sleep(0.05)") for _ in range(SIZE)))


async def count(postgres: Postgres) -> int:
    return await postgres.execute("SELECT FROM x")


async def test_columns_go_to_the_fields_of_their_names(postgres: Postgres) -> None:
    @dataclass(frozen=True)
    class Odds:
        text: str
        id: str
        at: datetime
        none: str | None
        list: list[str]

    moment, identity = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC), new_id()
    values = {"text": "100 % \\ ' \" ♥", "id": identity, "at": moment, "list": ["a", "b"]}
    sql = "SELECT NULL AS none, %(text)s AS text, %(id)s::uuid AS id, %(at)s::timestamptz(3) AS at, %(list)s AS list"
    row = await postgres.one(Odds, sql, values)
    assert row == Odds(none=None, **values)  # type: ignore[arg-type]


async def test_no_row_is_none(postgres: Postgres) -> None:
    assert await postgres.one(Number, "SELECT 1 AS n WHERE false") is None


async def test_a_transaction_commits_at_its_end_and_rolls_back_where_it_raises(postgres: Postgres) -> None:
    await postgres.execute("CREATE TABLE x (n int)")
    async with postgres.transaction() as transaction:
        await transaction.execute("INSERT INTO x VALUES (1)")
        assert await count(postgres) == 0
    with pytest.raises(KeyError):
        async with postgres.transaction() as transaction:
            await transaction.execute("INSERT INTO x VALUES (2)")
            raise KeyError
    assert await postgres.fetch(Number, "SELECT n FROM x") == [Number(1)]


async def test_a_cancelled_transaction_rolls_back_and_frees_its_connection(postgres: Postgres) -> None:
    await postgres.execute("CREATE TABLE x (n int)")
    inside = asyncio.Event()

    async def write(forever: bool) -> None:
        async with postgres.transaction() as transaction:
            await transaction.execute("INSERT INTO x VALUES (1)")
            inside.set()
            await (asyncio.Event().wait() if forever else transaction.execute("SELECT pg_sleep(60)"))

    for forever in (True, False) * SIZE:
        inside.clear()
        task = asyncio.create_task(write(forever))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await count(postgres) == 0


async def test_a_constraint_names_itself(postgres: Postgres) -> None:
    await postgres.execute("CREATE TABLE x (n int CONSTRAINT only_once UNIQUE)")
    with pytest.raises(Conflict) as caught:
        async with postgres.transaction() as transaction:
            await transaction.execute("INSERT INTO x VALUES (1), (1)")
    assert caught.value.constraint == "only_once"
    assert await postgres.execute("INSERT INTO x VALUES (1)") == 1


async def test_a_pool_in_full_use_is_unavailable_after_a_bounded_wait(url: str) -> None:
    postgres = await Postgres.open(url, connections_max=1, wait_s=0.2)
    async with postgres.transaction():
        with pytest.raises(Failure) as caught:
            await postgres.one(Number, "SELECT 1 AS n")
    assert caught.value.kind is Kind.UNAVAILABLE
    await postgres.close()


async def test_who_waits_for_a_connection_gets_the_place_of_one_that_was_lost(url: str) -> None:
    postgres = await Postgres.open(url, connections_max=1)

    async def lose() -> None:
        async with postgres.transaction() as transaction:
            inside.set()
            await transaction.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    inside = asyncio.Event()
    losing = asyncio.create_task(lose())
    await inside.wait()
    started = time.monotonic()
    assert await postgres.one(Number, "SELECT 1 AS n") == Number(1)
    assert time.monotonic() - started < 1
    with pytest.raises(Failure):
        await losing
    await postgres.close()


async def test_a_slow_statement_is_unavailable_once_and_not_repeated(url: str) -> None:
    postgres = await Postgres.open(url, connections_max=SIZE, wait_s=0.5)
    started = time.monotonic()
    with pytest.raises(Failure) as caught:
        await postgres.fetch(Number, "SELECT 1 AS n FROM pg_sleep(60)")
    assert caught.value.kind is Kind.UNAVAILABLE and time.monotonic() - started < 1
    assert await postgres.one(Number, "SELECT 1 AS n") == Number(1)
    await postgres.close()


async def test_a_statement_that_the_server_cancels_does_not_cancel_the_task(postgres: Postgres) -> None:
    told: list[object] = []  # aiopg reports it to the loop as well
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    with pytest.raises(Failure) as caught:
        async with postgres.transaction() as transaction:
            await transaction.execute("SET LOCAL statement_timeout = '50ms'")
            await transaction.execute("SELECT pg_sleep(60)")
    assert caught.value.kind is Kind.UNAVAILABLE
    assert await postgres.one(Number, "SELECT 1 AS n") == Number(1)


async def test_connections_that_the_server_closed_are_passed_over(postgres: Postgres, backing: Backing) -> None:
    await postgres.execute("CREATE TABLE x (n int)")
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %(name)s"
    other = await Postgres.open(backing.database_url, connections_max=1)
    row = await postgres.fetch(Name, "SELECT current_database() AS name")
    for _ in range(2):
        await fill(postgres)
        await other.execute(terminate, {"name": row[0].name})
        assert await postgres.one(Number, "SELECT 1 AS n") == Number(1)
        await fill(postgres)
        await other.execute(terminate, {"name": row[0].name})
        async with postgres.transaction() as transaction:
            await transaction.execute("INSERT INTO x VALUES (1)")
    assert await count(postgres) == 2
    await other.close()


@dataclass(frozen=True)
class Name:
    name: str


async def test_it_heals_after_the_server_was_away(own_server: Server, tmp_path: Path) -> None:
    postgres = await Postgres.open(own_server.url, connections_max=SIZE)
    await fill(postgres)
    await asyncio.to_thread(own_server.kill)
    started = time.monotonic()
    for _ in range(SIZE + 2):
        with pytest.raises(Failure) as caught:
            await postgres.one(Number, "SELECT 1 AS n")
        assert (caught.value.kind, caught.value.retry_after) == (Kind.UNAVAILABLE, 1)
        with pytest.raises(Failure):
            async with postgres.transaction():
                pass
    assert time.monotonic() - started < 1
    again = await asyncio.to_thread(server.start, tmp_path / "pg")
    assert await postgres.one(Number, "SELECT 1 AS n") == Number(1)
    await postgres.close()
    await asyncio.to_thread(again.kill)


async def test_a_server_that_hangs_is_unavailable_after_a_bounded_wait() -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # connects, and then says nothing
    port = silent.getsockname()[1]
    postgres = await Postgres.open(f"postgresql://x@127.0.0.1:{port}/x", connections_max=1, wait_s=0.3)
    started = time.monotonic()
    results = await asyncio.gather(*(postgres.execute("SELECT") for _ in range(10)), return_exceptions=True)
    assert all(isinstance(result, Failure) for result in results) and time.monotonic() - started < 1
    await postgres.close()
    silent.close()


async def test_a_fault_in_our_sql_is_no_failure(postgres: Postgres) -> None:
    with pytest.raises(Exception, match="nothing_here"):
        await postgres.execute("SELECT nothing_here")


# Migrations


async def test_migrations_are_applied_once_however_many_run_them(postgres: Postgres, url: str) -> None:
    two = [*MIGRATIONS, Migration(len(MIGRATIONS) + 1, "next", "CREATE TABLE x (n int); INSERT INTO x VALUES (1)")]
    others = [await Postgres.open(url, connections_max=1) for _ in range(4)]
    done = await asyncio.gather(*(migrations.migrate(other, two) for other in others))
    assert sorted(done) == [[], [], [], ["next"]]
    assert await count(postgres) == 1
    for other in others:
        await other.close()


async def test_a_migration_that_fails_leaves_nothing_behind(postgres: Postgres) -> None:
    half = Migration(len(MIGRATIONS) + 1, "half", "CREATE TABLE x (n int); SELECT nothing_here")
    with pytest.raises(Exception, match="nothing_here"):
        await migrations.migrate(postgres, [*MIGRATIONS, half])
    whole = Migration(half.number, "whole", "CREATE TABLE x (n int)")
    assert await migrations.migrate(postgres, [*MIGRATIONS, whole]) == ["whole"]


async def test_a_migration_changed_afterwards_is_told(postgres: Postgres) -> None:
    with pytest.raises(MigrationError, match="0001"):
        await migrations.migrate(postgres, [Migration(1, "0001", "SELECT 1")])


def test_a_gap_in_the_numbers_is_told(tmp_path: Path) -> None:
    (tmp_path / "0002_x.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="0001"):
        migrations.read(tmp_path)


# Queries of accounts

QUERIES = {
    name: sql
    for name, sql in vars(accounts).items()
    if name.isupper() and isinstance(sql, str) and re.match("SELECT|UPDATE|DELETE", sql)
}
NUMBERS = {"limit": 10, "newest": 10, "seconds": 1, "days": 1, "after": 1}
TIMES = dict.fromkeys(["at", "since", "expires_at"], datetime(2026, 1, 1, tzinfo=UTC))
HASHES = dict.fromkeys(["token_hash", "used_key"], b"x")


@pytest.mark.parametrize("name", QUERIES)
async def test_an_index_serves_the_query(postgres: Postgres, name: str) -> None:
    ids = {key: new_id() for key in re.findall(r"%\((\w+)\)s", QUERIES[name])}
    plan = make_dataclass("Plan", ["text"], namespace={"__init__": lambda self, **row: setattr(self, "text", str(row))})
    async with postgres.transaction() as transaction:
        await transaction.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        values = ids | NUMBERS | TIMES | HASHES
        lines = await transaction.fetch(plan, f"EXPLAIN (COSTS OFF) {QUERIES[name]}", values)
    text = "\n".join(line.text for line in lines)
    assert "Index" in text and "Seq Scan" not in text and "Sort" not in text, text
