"""Sends: how many messages a second does one process take, and what does one cost?

64 clients that each send, wait for the answer (which waits for the message's durability), and send again: by REST and
by the native websocket, in 64 conversations and in one. Beside it in the same run an empty endpoint (the same wrapper,
token, JSON in and out, no store) and the naive way to send (a counter, an insert, a script call for each request).
Limits are on, and too high to be reached, but for websockets, which may send 20 frames a second then. The server is
kept on one core, the load on another; mongod and Valkey run on both.

Left out: TLS, followers of the conversations, connections that come and go, attachments.
"""

from collections.abc import Sequence
from typing import NamedTuple

from bench.processes import CORES, BenchError, Senders, child_named, cpu_seconds
from bench.world import LIMITED, Figure, Web, World, with_people
from tests.web import Person

CLIENTS = 64
CPU_AIM, RATE_AIM = 2.5, 5.0
BODY = '{"clientMessageId":"@@@@@@@@@@@@@@@@","text":"hello, this is a message of usual length"}'
MESSAGES = "/api/chat/conversations/{}/messages"
WARM_S = 0.7


class Sent(NamedTuple):
    """Of one run: answers a second, latency in ms, CPU in us an answer of the server, mongod and Valkey."""

    rate: float
    p50: float
    p99: float
    server: float
    mongod: float
    valkey: float


class Places(NamedTuple):
    """The same people in conversations of two, one for each, and in one of all."""

    people: list[Person]
    many: list[str]
    one: str


def run(world: World) -> list[Figure]:
    world.pin_backing(set(CORES))
    with world.webs(env=LIMITED, module="bench.empty") as [web], world.webs() as [unlimited]:
        # Each kind has conversations of its own: no process has to learn what another one stored.
        naive, rest, ws = with_people(web.url, CLIENTS, make_places)
        kinds = {
            "empty endpoint": posts(web, naive, "/bench/empty"),
            "naive, 64 conversations": posts(web, naive, "/bench/naive/{}"),
            "naive, one conversation": posts(web, naive, "/bench/naive/{}", one=True),
            "REST, 64 conversations": posts(web, rest),
            "REST, one conversation": posts(web, rest, one=True),
            "websocket, 64 conversations": frames(unlimited, ws),
            "websocket, one conversation": frames(unlimited, ws, one=True),
        }
        runs: dict[str, list[Sent]] = {name: [] for name in kinds}
        for _ in range(2 if world.quick else 3):
            for name, lines in kinds.items():
                runs[name].append(measure(world, unlimited if lines[0][1] == "ws" else web, lines))
    return [figure for name, each in runs.items() for figure in figures_of(name, each, runs)]


async def make_places(everyone: list[Person]) -> list[Places]:
    async def places() -> Places:
        many = [await p.group(everyone[(i + 1) % CLIENTS]) for i, p in enumerate(everyone)]
        return Places(everyone, many, await everyone[0].group(*everyone[1:]))

    return [await places() for _ in range(3)]


def figures_of(name: str, each: Sequence[Sent], runs: dict[str, list[Sent]]) -> list[Figure]:
    durable, rest = not name.startswith(("empty", "naive")), name.startswith("REST")
    figures = [
        Figure(name, "a second", [sent.rate for sent in each]),
        Figure(f"{name}: server", "us CPU each", [sent.server for sent in each]),
    ]
    if name.startswith("empty"):
        return figures
    figures.append(Figure(f"{name}: p99", "ms", [sent.p99 for sent in each]))
    figures.append(Figure(f"{name}: mongod", "us CPU each", [sent.mongod for sent in each]))
    figures.append(Figure(f"{name}: Valkey", "us CPU each", [sent.valkey for sent in each]))
    if durable:
        empty, naive = runs["empty endpoint"], runs["naive" + name[name.index(",") :]]
        more = [mine.server / other.server for mine, other in zip(each, empty, strict=True)]
        faster = [mine.rate / other.rate for mine, other in zip(each, naive, strict=True)]
        figures.append(Figure(f"{name}: server's CPU", "x empty", more, CPU_AIM if rest else None))
        figures.append(Figure(f"{name}: rate", "x naive", faster, RATE_AIM, at_least=True))
    return figures


def posts(web: Web, places: Places, path: str = MESSAGES, one: bool = False) -> list[tuple[str, ...]]:
    return [
        (str(web.port), "http", path.format(places.one if one else own), str(person.tokens["accessToken"]), BODY)
        for person, own in zip(places.people, places.many, strict=True)
    ]


def frames(web: Web, places: Places, one: bool = False) -> list[tuple[str, ...]]:
    head = '{{"op":"call","ref":1,"method":"SendMessage","args":{{"conversationId":"{}",'
    return [
        (port, "ws", "/ws", token, head.format(conversation) + BODY[1:] + "}")
        for port, _, conversation, token, _ in posts(web, places, "{}", one)
    ]


def measure(world: World, web: Web, lines: list[tuple[str, ...]]) -> Sent:
    pids = web.pid, child_named("mongod"), child_named("valkey-server")
    with Senders(world.tools, lines, WARM_S, world.seconds) as senders:
        senders.started()
        before = [cpu_seconds(pid) for pid in pids]
        got = senders.answer()
        used = [cpu_seconds(pid) - began for pid, began in zip(pids, before, strict=True)]
        if got["errors"] or got["stuck"] or not got["good"]:
            raise BenchError(f"{got['errors']} errors, {got['stuck']} without an answer: {senders.said()}")
    server, mongod, valkey = (1e6 * each / got["all"]["answers"] for each in used)
    return Sent(
        got["good"] / got["seconds"], got["all"]["p50_us"] / 1e3, got["all"]["p99_us"] / 1e3, server, mongod, valkey
    )
