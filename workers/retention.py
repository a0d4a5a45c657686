"""Retention: rows that have served their time leave PostgreSQL, in small lots, every few minutes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from protocols.errors import Failure
from settings import Settings
from stores.accounts import Accounts
from stores.postgres import Postgres

SWEEP_S = 300.0
RETRY_S = 10.0  # after a sweep that PostgreSQL did not answer
ROWS_MAX = 1_000  # of one delete, so that none holds locks for long
LOTS_MAX = 100  # of one table and sweep; what is left waits for the next
SESSION_DAYS = 30  # an ended session stays visible to whoever looks into an abuse for a month
REVOCATION_S = 3_600.0  # four times the life of the access tokens that a process at its start must refuse

log = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Sweeps for ever, PostgreSQL being there or not; ends by being cancelled."""
    postgres = await Postgres.open(settings.database_url, connections_max=1)
    try:
        while True:
            try:
                purged = await sweep(Accounts(postgres))
                log.info("retention purged %s", purged)
                pause = SWEEP_S
            except Failure as failure:
                log.warning("retention will try again: %s", failure.__cause__ or failure)
                pause = RETRY_S
            await asyncio.sleep(pause)
    finally:
        await postgres.close()


async def sweep(accounts: Accounts) -> dict[str, int]:
    """One round over all tables. Returns how many rows of each are gone; several workers may sweep at once."""
    return {
        "refresh_tokens": await lots(lambda: accounts.purge_refresh_tokens(ROWS_MAX)),
        "sessions": await lots(lambda: accounts.purge_sessions(SESSION_DAYS, ROWS_MAX)),
        "revocations": await lots(lambda: accounts.purge_revocations(REVOCATION_S, ROWS_MAX)),
    }


async def lots(purge: Callable[[], Awaitable[int]]) -> int:
    """Purge lot after lot until one is not full."""
    total = 0
    for _ in range(LOTS_MAX):
        purged = await purge()
        total += purged
        if purged < ROWS_MAX:
            break
    return total
