"""Migrations of PostgreSQL: the numbered files of `sql/`, each applied once, in order, in a transaction of its own."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from stores.postgres import Postgres, Transaction

FOLDER = Path(__file__).parent / "sql"
NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
LOCK = 0x77656368  # of the database, for all who migrate it
WAIT_S = 600.0  # for a statement, and for another process that migrates

TABLE = """
CREATE TABLE IF NOT EXISTS migrations (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""
TAKE_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"
APPLIED = "SELECT checksum FROM migrations WHERE number = %(number)s"
RECORD = "INSERT INTO migrations (number, name, checksum) VALUES (%(number)s, %(name)s, %(checksum)s)"


class MigrationError(Exception):
    """The files and the database don't fit together; the text is one line that names the file."""


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Applied:
    checksum: str


def read(folder: Path = FOLDER) -> list[Migration]:
    """All migrations in order. Raises MigrationError where a number is missing or there twice."""
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = NAME.fullmatch(path.name)
        if match is None or int(match[1]) != len(found) + 1:
            raise MigrationError(f"{path.name}: the next migration is {len(found) + 1:04d}_<name>.sql")
        found.append(Migration(int(match[1]), path.name, path.read_text("utf-8")))
    return found


async def migrate(postgres: Postgres, migrations: list[Migration]) -> list[str]:
    """Apply what is new. Returns the names applied; safe to run in several processes at once."""
    async with postgres.transaction() as transaction:
        await transaction.execute(TAKE_LOCK, {"lock": LOCK})
        await transaction.execute(TABLE)
    done = []
    for migration in migrations:
        async with postgres.transaction() as transaction:
            if await _apply(transaction, migration):
                done.append(migration.name)
    return done


async def _apply(transaction: Transaction, migration: Migration) -> bool:
    await transaction.execute(TAKE_LOCK, {"lock": LOCK})
    applied = await transaction.one(Applied, APPLIED, {"number": migration.number})
    if applied is None:
        await transaction.execute(migration.sql)
        values = {"number": migration.number, "name": migration.name, "checksum": migration.checksum}
        await transaction.execute(RECORD, values)
    elif applied.checksum != migration.checksum:
        raise MigrationError(f"{migration.name}: the file was changed after it had been applied")
    return applied is None
