"""Giving out positions: of a topic that has no epoch one is made, and of a conversation's that needs the newest seq."""

import asyncio
import logging
from collections.abc import Sequence

from protocols.errors import Failure
from stores.messages import Messages
from stores.topics import Chunk, Topics

log = logging.getLogger(__name__)


class Positions:
    def __init__(self, topics: Topics, messages: Messages) -> None:
        self._topics, self._messages = topics, messages

    async def look(self, topics: Sequence[str]) -> list[Chunk]:
        """Each topic's position. Raises Failure (unavailable)."""
        plain = {topic: 0 for topic in topics if not topic.startswith("conv:")}
        chunks = await self._topics.look(topics, plain)
        missing = [topic for topic, chunk in zip(topics, chunks, strict=True) if chunk is None]
        if missing:
            # Read before the epoch is made: whoever takes the position reads later than this.
            seqs = await asyncio.gather(*(self._messages.newest_seq(topic[5:]) for topic in missing))
            made = iter(await self._topics.look(missing, dict(zip(missing, seqs, strict=True))))
            chunks = [chunk or next(made) for chunk in chunks]
        return [chunk for chunk in chunks if chunk is not None]

    async def before_read(self, *topics: str) -> dict[str, str]:
        """What stands beside an answer, to be taken before its query. Without Redis reads go on, without positions."""
        try:
            return {topic: str(c.position) for topic, c in zip(topics, await self.look(topics), strict=True)}
        except Failure as failure:
            log.warning("an answer goes without positions: %s", failure)
            return {}
