"""Churn: does the server's memory stay what it was when clients come and go?

10,000 native websockets connect, sign in, subscribe and leave, 100 at a time; half of them say goodbye, the others are
just gone. The resident memory of the server process after the first 1,000 against that at the end.

Left out: hours; leaks of a few bytes a connection.
"""

import time

from bench.processes import Followers, rss_kib
from bench.world import Figure, World, one_conversation

AT_ONCE, FIRST, ALL, ALL_QUICK = 100, 1_000, 10_000, 4_000
AIM = 1.1
SETTLE_S = 2.0


def run(world: World) -> list[Figure]:
    count = ALL_QUICK if world.quick else ALL
    with world.webs() as [other]:
        crowd = one_conversation(other.url)
    with world.webs() as [web], Followers(world.tools, web.port, AT_ONCE, crowd.lines) as followers:
        followers.churn(FIRST - AT_ONCE)
        time.sleep(SETTLE_S)
        before = rss_kib(web.pid)
        rest = followers.churn(count - FIRST)
        time.sleep(SETTLE_S)
        after = rss_kib(web.pid)
    return [
        Figure(f"memory after {count:,} connections, of that after 1,000", "x", [after / before], AIM),
        Figure("memory after 1,000", "MiB", [before / 1024]),
        Figure("connections that came and went", "a second", [(count - FIRST) / rest["seconds"]]),
    ]
