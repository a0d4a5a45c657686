"""Token buckets in Redis, shared by all processes: `{rate:<who>:<route>}`, by one script, on Redis's own clock."""

import asyncio
from dataclasses import dataclass
from importlib.resources import files

from redis.asyncio import Redis
from redis.exceptions import RedisError

from protocols.errors import unavailable

WAIT_S = 0.5  # longer than a fail-over's blink, shorter than anyone should wait for a limit
SCRIPT = files("stores").joinpath("lua/bucket.lua").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Grant:
    """`granted` tokens, at most as many as were wanted; the next one is there in `retry_s` seconds."""

    granted: int
    retry_s: float


class Buckets:
    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(SCRIPT)

    async def take(self, who: str, route: str, *, burst: int, per_minute: int, wanted: int) -> Grant:
        """One round trip; with `wanted` below 0 tokens are given back. Raises Failure (unavailable)."""
        try:
            async with asyncio.timeout(WAIT_S):
                granted, retry_ms = await self._take([f"{{rate:{who}:{route}}}"], [burst, per_minute, wanted])
        except (RedisError, OSError, TimeoutError) as error:
            raise unavailable("rate limiter") from error
        return Grant(granted, retry_ms / 1000)
