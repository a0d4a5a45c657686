"""Rate limits: a token bucket for each user (or address) and route, kept in Redis, leased to processes in small lots.

A lease spares the round trip: the process spends what it was given, for a second at most, then asks again.
While Redis is away everything is admitted: a limit is no reason to be down.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from protocols.errors import Failure, rate_limited
from stores.buckets import Buckets

LEASE_S = 1.0
LEASE_SHARE = 10  # of a burst that one lease may take: other processes want theirs, and what is left over is lost
LEASES_MAX = 50_000  # users (or addresses) and routes a process remembers, some 400 bytes each


@dataclass(frozen=True, slots=True)
class Limit:
    """`burst` tokens at most, `per_minute` of them come back a minute."""

    burst: int
    per_minute: int

    @property
    def lease(self) -> int:
        """No more than comes back while it lasts, so that leftovers never starve who asked; small limits: one."""
        return max(1, min(self.burst // LEASE_SHARE, int(self.per_minute / 60 * LEASE_S)))


DEFAULT = Limit(burst=120, per_minute=600)

LOGIN_ACCOUNT = "login:account"
LOGIN_ADDRESS = "login:address"

LIMITS: Mapping[str, Limit] = {
    # Failed sign-ins, where passwords are guessed: one account from anywhere, and one address at any account.
    LOGIN_ACCOUNT: Limit(burst=10, per_minute=6),
    LOGIN_ADDRESS: Limit(burst=100, per_minute=60),  # also as many at a time
    "POST /api/auth/register": Limit(burst=300, per_minute=60),  # a school, or a carrier's whole town
    "POST /api/auth/refresh": Limit(burst=60, per_minute=60),
    "POST /api/auth/password": Limit(burst=10, per_minute=6),
    # Chat: as fast as people and their bots write; typing repeats each 3 s and conversation.
    "POST /api/chat/conversations": Limit(burst=30, per_minute=60),
    "POST /api/chat/conversations/{conversationId}/messages": Limit(burst=60, per_minute=600),
    "PUT /api/chat/conversations/{conversationId}/read": Limit(burst=120, per_minute=600),
    "SendMessage": Limit(burst=60, per_minute=600),
    "MarkRead": Limit(burst=120, per_minute=600),
    "TypingStarted": Limit(burst=30, per_minute=120),
    "TypingStopped": Limit(burst=30, per_minute=120),
}


@dataclass(slots=True)
class Lease:
    """What this process may spend of a bucket until `until` (monotonic seconds); `wait_s` above 0: nothing so long."""

    tokens: int = 0
    until: float = 0.0
    wait_s: float = 0.0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def spend(self, now: float) -> bool:
        """Whether a token was there. Raises Failure (rate_limited) where Redis has just said no."""
        if now >= self.until:
            return False
        if self.wait_s:
            raise rate_limited(math.ceil(self.wait_s))
        self.tokens -= 1
        return self.tokens >= 0


class Rates:
    """`factor` multiplies every limit; `enabled` False admits everything."""

    def __init__(
        self,
        buckets: Buckets,
        limits: Mapping[str, Limit] = LIMITS,
        enabled: bool = True,
        factor: float = 1.0,
    ) -> None:
        self._buckets, self._enabled = buckets, enabled
        self._limits = {route: scaled(limit, factor) for route, limit in limits.items()}
        self._default = scaled(DEFAULT, factor)
        self._leases: OrderedDict[tuple[str, str], Lease] = OrderedDict()
        self._away_until = 0.0  # monotonic: Redis did not answer, and is not asked again before

    async def admit(self, who: str, route: str) -> None:
        """Take one token of `who` for `route`. Raises Failure (rate_limited). Mostly without a round trip."""
        if not self._enabled:
            return
        lease = self._lease((who, route))
        if lease.spend(time.monotonic()):
            return
        async with lease.asking:  # one question at a time, or a crowd of requests would lease the bucket empty
            if not lease.spend(time.monotonic()):
                await self._ask(lease, who, route)

    async def give_back(self, who: str, route: str) -> None:
        """Return the token that `admit` took for what turned out to be harmless."""
        if not self._enabled:
            return
        limit = self._limits.get(route, self._default)
        try:
            await self._buckets.take(who, route, burst=limit.burst, per_minute=limit.per_minute, wanted=-1)
        except Failure:
            pass  # Redis is away, and nothing was taken, or one token comes back later by itself

    async def _ask(self, lease: Lease, who: str, route: str) -> None:
        limit = self._limits.get(route, self._default)
        now = time.monotonic()
        if now < self._away_until:
            return
        try:
            grant = await self._buckets.take(
                who, route, burst=limit.burst, per_minute=limit.per_minute, wanted=limit.lease
            )
        except Failure:
            self._away_until = time.monotonic() + LEASE_S  # from when it failed: it may have taken its time
            return
        if grant.granted:
            lease.tokens, lease.until, lease.wait_s = grant.granted - 1, now + LEASE_S, 0.0
        else:
            lease.until, lease.wait_s = now + min(grant.retry_s, LEASE_S), grant.retry_s
            raise rate_limited(math.ceil(grant.retry_s))

    def _lease(self, key: tuple[str, str]) -> Lease:
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = Lease()
            if len(self._leases) > LEASES_MAX:
                self._leases.popitem(last=False)
        else:
            self._leases.move_to_end(key)
        return lease


def scaled(limit: Limit, factor: float) -> Limit:
    return Limit(max(1, int(limit.burst * factor)), max(1, int(limit.per_minute * factor)))
