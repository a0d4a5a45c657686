"""Storm: what happens when a process dies and all its clients come to another one at once?

2,000 native websockets follow one conversation on a process, which is killed; 20 events later all connect to another
process at once, each naming the positions from which it goes on. Measured until all have every event that they missed,
while 100 other clients of that process follow a conversation with 20 events a second: their latency beside the storm
and before it.

Left out: clients that wait a random moment, as ours do; that spreads what this puts into one second.
"""

import time

from bench.processes import BenchError, Followers, Publisher
from bench.world import Figure, World, follow_line, one_conversation

CLIENTS, OTHERS = 2_000, 100
MISSED, RATE = 20, 20.0
CALM_S, STORM_S, STORM_QUICK_S = 3.0, 12.0, 6.0


def run(world: World) -> list[Figure]:
    runs = [storm(world) for _ in range(1 if world.quick else 2)]
    took, calm, late, resumed = zip(*runs, strict=True)
    return [
        Figure(f"{CLIENTS:,} clients: until all have all", "s", took),
        Figure("positions resumed whole", "share", resumed, 1.0, at_least=True),
        Figure("the others before: p99", "ms", calm),
        Figure("the others meanwhile: p99", "ms", late),
    ]


def storm(world: World) -> tuple[float, float, float, float]:
    """Seconds, the others' p99 before and meanwhile, the share of positions that were resumed."""
    tools, url = world.tools, world.backing.redis_url
    with world.webs(2) as [dying, staying], Publisher(url) as publisher, Publisher(url) as busy:
        crowd, others = one_conversation(dying.url), one_conversation(staying.url)
        topic, other = f"conv:{crowd.conversations[0]}", f"conv:{others.conversations[0]}"
        with (
            Followers(tools, staying.port, OTHERS, others.lines) as beside,
            Followers(tools, dying.port, CLIENTS, crowd.lines) as first,
        ):
            first.start(20, MISSED)
            publisher.start(topic, MISSED, 20)
            publisher.answer()
            if first.answer()["min"] != MISSED:
                raise BenchError("not all had what was published before the storm")
            after = publisher.look([topic, *(f"user:{person.user_id}" for person in crowd.people)])

            beside.start(CALM_S + 5, int(CALM_S * RATE))
            busy.start(other, int(CALM_S * RATE), RATE)
            busy.answer()
            calm = beside.answer()

            seconds = STORM_QUICK_S if world.quick else STORM_S
            dying.process.kill()
            publisher.start(topic, MISSED, 200)
            publisher.answer()
            beside.start(seconds + 5, int(seconds * RATE))
            busy.start(other, int(seconds * RATE), RATE)
            time.sleep(1)
            began = time.monotonic()
            lines = [follow_line(person, topic, after) for person in crowd.people]
            with Followers(tools, staying.port, CLIENTS, lines, window=CLIENTS) as second:
                second.start(20, MISSED)
                got = second.answer()
                took = time.monotonic() - began
                busy.answer()
                late = beside.answer()
    if got["min"] != MISSED or got["max"] != MISSED or late["closed"]:
        raise BenchError(f"each was to get the {MISSED} events that it missed: {got}")
    return took, calm["p99_us"] / 1000, late["p99_us"] / 1000, got["recovered"] / (2 * CLIENTS)
