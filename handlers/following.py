"""Following topics on behalf of a connection, whatever its protocol: who may, from where, and what it is told."""

from collections.abc import Mapping

from aiohttp import web

from handlers.answers import error_object
from handlers.keys import ACCESS, RESUME
from protocols.errors import Failure
from protocols.native import too_many_topics
from protocols.positions import Position, parse_position
from realtime.connection import Connection
from realtime.resume import Followed

TOPICS_MAX = 1_000


async def follow(
    app: web.Application, connection: Connection, wanted: Mapping[str, str | None]
) -> dict[str, Followed | Failure]:
    """Each topic (with the position to go on from) judged and opened, in the order given. The caller writes `told` of
    each and calls `begin` with those that are `Followed`, in the loop turn in which this returns."""
    outcome: dict[str, Followed | Failure] = {}
    allowed: list[tuple[str, Position | None]] = []
    for topic in wanted:  # one that is followed already begins again
        app[RESUME].leave(connection, topic)
    room = TOPICS_MAX - len(connection.topics)
    for topic, refusal in (await judged(app, connection, wanted)).items():
        try:
            after = wanted[topic]
            position = None if after is None else parse_position(after)
            if refusal is not None:
                raise refusal
            if len(allowed) >= room:
                raise too_many_topics()
            allowed.append((topic, position))
        except Failure as failure:
            outcome[topic] = failure
    followed = await app[RESUME].follow(allowed) if allowed else []
    outcome |= {topic: item for (topic, _), item in zip(allowed, followed, strict=True)}
    return {topic: outcome[topic] for topic in wanted}


async def judged(
    app: web.Application, connection: Connection, wanted: Mapping[str, str | None]
) -> Mapping[str, Failure | None]:
    try:
        return await app[ACCESS].judge(connection.viewer, list(wanted))
    except Failure as failure:
        return dict.fromkeys(wanted, failure)


def begin(app: web.Application, connection: Connection, outcome: Mapping[str, Followed | Failure]) -> None:
    app[RESUME].begin(connection, [item for item in outcome.values() if isinstance(item, Followed)])


def told(topic: str, item: Followed | Failure) -> dict[str, object]:
    """One topic of an answer: its position, and whether what was missed comes, or why it is not followed."""
    if isinstance(item, Failure):
        return {"topic": topic, "error": error_object(item)}
    answer: dict[str, object] = {"topic": topic, "position": str(item.channel.position)}
    if item.recovered is not None:
        answer["recovered"] = item.recovered
    return answer
