"""Leases of web processes: a sorted set of process ids by when they were last seen, on Redis's clock, without expiry.

Each method is one round trip. Raises Failure (unavailable).
"""

from dataclasses import dataclass
from importlib.resources import files

from redis.asyncio import Redis
from redis.exceptions import RedisError

from protocols.errors import unavailable

KEY = "leases"
SCRIPT = (files("stores") / "lua" / "leases.lua").read_text()


@dataclass(frozen=True, slots=True)
class Lease:
    """`seen_ms`: Redis's clock when the process renewed it last."""

    process_id: str
    seen_ms: int


class Leases:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = redis.register_script(SCRIPT)

    async def renew(self, process_id: str, stale_ms: int) -> tuple[int, list[Lease]]:
        """Say that one lives; Redis's time, and the leases that nobody has renewed for so long."""
        try:
            now, *stale = await self._script(keys=[KEY], args=[process_id, stale_ms])
        except (RedisError, OSError) as error:
            raise unavailable("realtime store") from error
        pairs = zip(stale[::2], stale[1::2], strict=True)
        return int(now), [Lease(name.decode(), int(seen)) for name, seen in pairs]

    async def remove(self, lease: Lease) -> None:
        """Unless it was renewed since."""
        try:
            await self._redis.eval(REMOVE, 1, KEY, lease.process_id, lease.seen_ms)
        except (RedisError, OSError) as error:
            raise unavailable("realtime store") from error

    async def leave(self, process_id: str) -> None:
        """A process that ended well needs nobody to sweep after it."""
        try:
            await self._redis.zrem(KEY, process_id)
        except (RedisError, OSError) as error:
            raise unavailable("realtime store") from error


REMOVE = """
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) == tonumber(ARGV[2]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
"""
