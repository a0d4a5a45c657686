"""Access ends at once: every process hears of each revocation, from PostgreSQL each second, from Redis sooner.

The table is the truth. `control` is faster but may lose a message; the poll can't, and it goes on without Redis.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import orjson

from protocols.errors import Failure
from services.tokens import LIFETIME, Revocation, Tokens
from stores.accounts import Accounts, RevocationRow

POLL_S = 0.75  # with the commit and the query it holds within a second
OVERLAP = timedelta(seconds=5)  # a row may show this long after its time: its transaction had not been committed
ROWS_MAX = 1_000  # of one query

log = logging.getLogger(__name__)


class Revocations:
    """`listeners` are called once for each revocation that is new to this process; they neither wait nor raise."""

    def __init__(self, accounts: Accounts, tokens: Tokens) -> None:
        self._accounts, self._tokens = accounts, tokens
        self.listeners: list[Callable[[Revocation], None]] = []
        self._newest: datetime | None = None
        self._away = False

    async def run(self) -> None:
        """Reads for ever, PostgreSQL being there or not; ends by being cancelled."""
        while True:
            try:
                await self.look()
                self._away = False
            except Failure as failure:
                if not self._away:
                    log.warning("revocations can't be read, trying each second: %s", failure.__cause__ or failure)
                self._away = True
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Apply what is new: at first the life of an access token, then what is later than the newest row seen.

        Times are PostgreSQL's alone, so that no clock of ours, a sleeping machine's least of all, opens a hole.
        """
        if self._newest is None:
            rows = await self._accounts.recent_revocations(LIFETIME.total_seconds(), ROWS_MAX)
        else:
            rows = await self._accounts.revocations_after(self._newest - OVERLAP, 0, ROWS_MAX)
        self._apply_rows(rows)
        while len(rows) == ROWS_MAX:
            rows = await self._accounts.revocations_after(rows[-1].created_at, rows[-1].revocation_id, ROWS_MAX)
            self._apply_rows(rows)

    def apply(self, revocation: Revocation) -> None:
        if self._tokens.revoke(revocation):
            for listener in self.listeners:
                listener(revocation)

    def _apply_rows(self, rows: list[RevocationRow]) -> None:
        for row in rows:
            self.apply(Revocation(row.user_id, row.session_id, row.generation))
        if rows:
            self._newest = rows[-1].created_at


def control_data(revocation: Revocation) -> bytes:
    """What an event of `control` carries."""
    data: dict[str, object] = {"userId": revocation.user_id, "sessionId": revocation.session_id}
    if revocation.session_id is None:
        data["generation"] = revocation.generation
    return orjson.dumps(data)


def parse_control(data: bytes) -> Revocation:
    told = orjson.loads(data)
    return Revocation(told["userId"], told["sessionId"], told.get("generation", 0))
