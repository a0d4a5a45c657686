"""Sockets a user: at most 20 open, 60 new ones a minute, over all processes. While Redis is away all are let in."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from protocols.errors import Failure, Kind
from services.rates import Rates
from stores.sockets import SocketStore

log = logging.getLogger(__name__)

OPEN_MAX = 20
TTL_MS = 90_000  # a crashed process's sockets count for this long
RENEW_S = 30.0
RENEWED_AT_ONCE = 200


class Sockets:
    def __init__(self, store: SocketStore, rates: Rates, enabled: bool) -> None:
        self._store, self._rates, self._enabled = store, rates, enabled

    async def admit(self, user_id: str, connection_id: str) -> None:
        """Raises Failure (rate_limited, too_many_sockets)."""
        if not self._enabled:
            return
        await self._rates.admit(user_id, "socket")
        try:
            [held] = await self._store.hold([(user_id, connection_id)], TTL_MS, OPEN_MAX)
        except Failure:
            return
        if not held:
            raise Failure(Kind.RATE_LIMITED, "too_many_sockets", "This user has too many sockets open.", retry_after=5)

    async def release(self, user_id: str, connection_id: str) -> None:
        if not self._enabled:
            return
        try:
            await self._store.release(user_id, connection_id)
        except Failure:
            pass  # the entry runs out by itself

    async def renew_for_ever(self, held: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """`held` names what this process has open, (user, connection) each."""
        while self._enabled:
            await asyncio.sleep(RENEW_S)
            sockets = list(held())
            try:
                for i in range(0, len(sockets), RENEWED_AT_ONCE):
                    await self._store.hold(sockets[i : i + RENEWED_AT_ONCE], TTL_MS, OPEN_MAX)
            except Failure as failure:
                log.warning("open sockets are not renewed: %s", failure)
