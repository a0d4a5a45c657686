"""The Redis client that the adapters share: it fails fast, so that nobody waits for a server that is away."""

from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

CONNECT_S = 1.0
ANSWER_S = 3.0  # the longest script needs milliseconds


def open_redis(url: str) -> Redis:
    """Connects at the first use. One more try, as a pooled connection may have died unseen."""
    return Redis.from_url(
        url,
        driver_info=None,
        socket_connect_timeout=CONNECT_S,
        socket_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 1),
    )


def ping_redis(redis: Redis) -> Callable[[], Awaitable[str | None]]:
    async def look() -> str | None:
        await redis.ping()
        policy = (await redis.config_get("maxmemory-policy")).get("maxmemory-policy")
        return None if policy in (None, "noeviction") else f"maxmemory-policy is {policy}: it must be noeviction"

    return look
