"""PostgreSQL by a bounded pool of aiopg connections.

Statements give plain dataclasses: a column goes to the field of its name. The driver's errors leave this module as

  Failure (unavailable)  the server is away, too slow, or took its connection back: the caller may try again
  Conflict               a constraint refused the row; it carries the constraint's name

and every wait is bounded, so a lost server costs a request seconds, never its life. The pool opens lazily and drops
what died, so it heals by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Self, TypeVar

import aiopg
import psycopg2
from psycopg2 import errors

from protocols.errors import Failure, unavailable

Row = TypeVar("Row")
Result = TypeVar("Result")
Values = Mapping[str, object]

CONNECTIONS_MAX = 10  # a process; each is a process on the server
WAIT_S = 5.0  # to get a connection, to connect, and for each statement
SERVER_WAIT_FACTOR = 2  # the server gives up a statement later than we do: aiopg takes its cancelling for the task's
IDLE_IN_TRANSACTION_S = 4  # a stalled process's transaction ends before readers of `revocations` stop looking for it

AWAY = (psycopg2.OperationalError, psycopg2.InterfaceError, errors.ReadOnlySqlTransaction, OSError)


class Conflict(Exception):
    """A constraint of the database refused the row."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class Transaction:
    """The statements of one transaction, on one connection; each is one round trip."""

    def __init__(self, connection: aiopg.Connection) -> None:
        self._connection = connection

    async def fetch(self, into: type[Row], sql: str, values: Values | None = None) -> list[Row]:
        return await _rows(self._connection, into, sql, values)

    async def one(self, into: type[Row], sql: str, values: Values | None = None) -> Row | None:
        rows = await self.fetch(into, sql, values)
        return rows[0] if rows else None

    async def execute(self, sql: str, values: Values | None = None) -> int:
        """Returns how many rows it touched."""
        return await _count(self._connection, sql, values)


class Postgres:
    """`fetch` and `one` are for reads only, as they are tried again; writes go by `execute` or `transaction`."""

    def __init__(self, pool: aiopg.Pool, connections_max: int, wait_s: float) -> None:
        self._pool, self._wait_s = pool, wait_s
        # aiopg wakes nobody when a lost connection comes back to it, so that callers queue up here.
        self._places = asyncio.Semaphore(connections_max)
        self._tries_max = connections_max + 1  # every connection may have died, and then comes a new one

    @classmethod
    async def open(cls, url: str, *, connections_max: int = CONNECTIONS_MAX, wait_s: float = WAIT_S) -> Self:
        """Connects at the first use, so that a process starts while the server is away."""

        async def prepare(connection: aiopg.Connection) -> None:
            try:
                async with connection.cursor() as cursor:
                    await cursor.execute(
                        f"SET TIME ZONE 'UTC'; SET statement_timeout = '{wait_s * SERVER_WAIT_FACTOR:.0f}s'; "
                        f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_S}s'"
                    )
            except BaseException:
                connection.close()
                raise

        # Ids stay texts, and nothing is looked up in the catalogue at connect.
        pool = await aiopg.create_pool(
            url,
            minsize=0,
            maxsize=connections_max,
            timeout=wait_s,
            on_connect=prepare,
            enable_uuid=False,
            enable_hstore=False,
        )
        return cls(pool, connections_max, wait_s)

    async def close(self) -> None:
        self._pool.terminate()
        await self._pool.wait_closed()

    async def fetch(self, into: type[Row], sql: str, values: Values | None = None) -> list[Row]:
        connection, rows = await self._start(lambda connection: _rows(connection, into, sql, values))
        await self._release(connection)
        return rows

    async def one(self, into: type[Row], sql: str, values: Values | None = None) -> Row | None:
        rows = await self.fetch(into, sql, values)
        return rows[0] if rows else None

    async def execute(self, sql: str, values: Values | None = None) -> int:
        """One write, never tried again. Returns how many rows it touched."""
        connection = await self._acquire()
        try:
            return await _count(connection, sql, values)
        finally:
            await self._release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits at the end of the block, rolls back where it raises. Two round trips beside its statements."""
        connection, _ = await self._start(lambda connection: _count(connection, "BEGIN"))
        try:
            yield Transaction(connection)
            await _count(connection, "COMMIT")
        except Exception:
            with suppress(Failure):
                await _count(connection, "ROLLBACK")
            raise
        except BaseException:
            connection.close()  # cancelled: no time for a round trip, and closing rolls back
            raise
        finally:
            await self._release(connection)

    async def _start(self, first: Callable[[aiopg.Connection], Awaitable[Result]]) -> tuple[aiopg.Connection, Result]:
        """A connection on which `first`, which may be repeated, has succeeded. Dead ones are passed over."""
        for tries_left in reversed(range(self._tries_max)):
            connection = await self._acquire()
            try:
                return connection, await first(connection)
            except BaseException as error:
                lost = connection.closed and isinstance(error, Failure)
                slow = isinstance(error.__cause__, TimeoutError)
                await self._release(connection)
                if slow or not (lost and tries_left):
                    raise
        raise AssertionError("the last try returns or raises")

    async def _acquire(self) -> aiopg.Connection:
        with _driver_errors():
            async with asyncio.timeout(self._wait_s):
                await self._places.acquire()
            try:
                return await self._pool.acquire()
            except BaseException:
                self._places.release()
                raise

    def _release(self, connection: aiopg.Connection) -> Awaitable[None]:
        self._places.release()
        return self._pool.release(connection)


async def _rows(connection: aiopg.Connection, into: type[Row], sql: str, values: Values | None) -> list[Row]:
    with _driver_errors():
        async with connection.cursor() as cursor:
            await cursor.execute(sql, values)
            names = [column.name for column in cursor.description or ()]
            return [into(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]


async def _count(connection: aiopg.Connection, sql: str, values: Values | None = None) -> int:
    with _driver_errors():
        async with connection.cursor() as cursor:
            await cursor.execute(sql, values)
            return int(cursor.rowcount)


@contextmanager
def _driver_errors() -> Iterator[None]:
    """The one place where the driver's errors become ours; what is left is a fault in our SQL."""
    try:
        yield
    except errors.IntegrityError as error:
        raise Conflict(error.diag.constraint_name or "") from error
    except AWAY as error:
        raise unavailable("database") from error
    except psycopg2.DatabaseError as error:
        if error.pgcode is None:  # not said by the server: the connection broke in mid-answer
            raise unavailable("database") from error
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise unavailable("database") from error  # the server cancelled the statement, not someone our task


def ping_postgres(postgres: Postgres) -> Callable[[], Awaitable[str | None]]:
    async def look() -> str | None:
        await postgres.execute("SELECT 1")
        return None

    return look
