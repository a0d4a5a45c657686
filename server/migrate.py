"""`python -m server.migrate`: bring PostgreSQL's tables and MongoDB's indexes up to this code. Safe to repeat."""

import asyncio
import sys

from protocols.errors import Failure
from settings import Settings, SettingsError
from stores import migrations
from stores.mongo import ensure_indexes, open_mongo
from stores.postgres import Postgres


async def run(settings: Settings) -> list[str]:
    """Returns the names of the migrations applied. Raises MigrationError, or Failure where a server is away."""
    postgres = await Postgres.open(settings.database_url, connections_max=1, wait_s=migrations.WAIT_S)
    try:
        applied = await migrations.migrate(postgres, migrations.read())
    finally:
        await postgres.close()
    mongo = open_mongo(settings.mongodb_url)
    try:
        await ensure_indexes(mongo.get_default_database("wechat"))
    finally:
        mongo.close()
    return applied


def main() -> int:
    try:
        applied = asyncio.run(run(Settings.load()))
    except (SettingsError, migrations.MigrationError, Failure) as error:
        print(f"migrate: {error.__cause__ or error}", file=sys.stderr)
        return 1
    print(f"migrate: {', '.join(applied) or 'nothing new'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
