"""Memory: how much of the server's memory does an idle connection hold?

The resident memory of the server process with 5,000 native websockets less that with 100, for each one more. Every
connection has signed in, follows its user's topic and one conversation, and rests. The people were made by another
process, whose memory for password hashes would hide what connections need. Where it goes is looked at in a run of its
own, as tracemalloc costs memory itself: what Python allocated, by line, the largest first.

Left out: the kernel's socket buffers, the rest of the framework that each process has once.
"""

import json
import time
import urllib.request

from bench.processes import Followers, rss_kib
from bench.world import FREE, Crowd, Figure, Web, World, one_conversation

FIRST, ALL, TRACED = 100, 5_000, 1_000
AIM_KIB = 20.0
SETTLE_S = 2.0  # for what opening needed to be given back


def run(world: World) -> list[Figure]:
    with world.webs() as [other]:
        crowd = one_conversation(other.url)
    measured = [each_kib(world, crowd) for _ in range(1 if world.quick else 2)]
    figures = [Figure("an idle connection", "KiB", measured, AIM_KIB)]
    return figures + ([] if world.quick else where(world, crowd))


def each_kib(world: World, crowd: Crowd) -> float:
    with world.webs() as [web], Followers(world.tools, web.port, FIRST, crowd.lines):
        time.sleep(SETTLE_S)
        before = rss_kib(web.pid)
        with Followers(world.tools, web.port, ALL - FIRST, crowd.lines):
            time.sleep(SETTLE_S)
            return (rss_kib(web.pid) - before) / (ALL - FIRST)


def where(world: World, crowd: Crowd) -> list[Figure]:
    with world.webs(env={**FREE, "PYTHONTRACEMALLOC": "1"}, module="bench.empty") as [web]:
        with Followers(world.tools, web.port, FIRST, crowd.lines):
            time.sleep(SETTLE_S)
            look(web, crowd)
            with Followers(world.tools, web.port, TRACED, crowd.lines):
                time.sleep(SETTLE_S)
                found = look(web, crowd)
    return [
        Figure(f"of it, {line} ({blocks / TRACED:.1f} blocks)", "bytes", [size / TRACED])
        for line, (size, blocks) in found.items()
    ]


def look(web: Web, crowd: Crowd) -> dict[str, tuple[int, int]]:
    request = urllib.request.Request(web.url + "/bench/memory", headers=crowd.people[0].bearer)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(json.load(answer)["data"])
