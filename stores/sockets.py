"""How many sockets a user has open, over all processes: `{sockets:<user>}`, entries that run out unless renewed."""

from collections.abc import Sequence
from importlib.resources import files

from redis.asyncio import Redis
from redis.exceptions import RedisError

from protocols.errors import unavailable

SCRIPT = (files("stores") / "lua" / "sockets.lua").read_text()


class SocketStore:
    """Each method is one round trip. Raises Failure (unavailable)."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = redis.register_script(SCRIPT)

    async def hold(self, sockets: Sequence[tuple[str, str]], ttl_ms: int, most: int) -> list[bool]:
        """Enter or renew (user, connection) each; False where the user has `most` others."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for user_id, connection_id in sockets:
                    await self._script(keys=[key(user_id)], args=[connection_id, ttl_ms, most], client=pipeline)
                return [bool(held) for held in await pipeline.execute()]
        except (RedisError, OSError) as error:
            raise unavailable("realtime store") from error

    async def release(self, user_id: str, connection_id: str) -> None:
        try:
            await self._redis.zrem(key(user_id), connection_id)
        except (RedisError, OSError) as error:
            raise unavailable("realtime store") from error


def key(user_id: str) -> str:
    return f"{{sockets:{user_id}}}"
