"""Fan-out: what does one delivery cost the server, and how late does it come?

CPU seconds of the server process per million deliveries of one `conv:` topic to native websockets, 20,000 a second in
all, beside the C floor that only writes. The product does all of it: signed-in connections that subscribed, events that
another process publishes through Redis and the log. All servers hold their followers through all runs, each in turn is
asked to deliver; only one works at a time. The ratio is taken within a run. Latency goes from the clock's reading just
before the script call (at the floor and nchan: before the first write, the POST) to the read of the last byte.

Left out: the CPU of Redis and of the publisher, TLS, followers elsewhere than on this machine, compression.
"""

import http.client
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.processes import SERVER_CORE, BenchError, Child, Followers, Publisher, build, cpu_seconds, free_port
from bench.publisher import make_frame
from bench.world import Crowd, Figure, Web, World, one_conversation

DELIVERIES_A_SECOND = 20_000
SIZES = (100, 1_000, 5_000)
AIMS = {"100 followers": 1.75, "1,000 followers": 1.38}
BURST, BURST_AIM = 10, 0.5
LATE_AIM = 1.3  # p99, as a multiple of nchan's
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors; load_module {module};
{user} worker_rlimit_nofile 20000; events {{ worker_connections 8000; }}
http {{ access_log off; server {{ listen 127.0.0.1:{port} backlog=4096;
location = /ws {{ nchan_subscriber websocket; nchan_channel_id t; }}
location = /pub {{ nchan_publisher http; nchan_channel_id t; nchan_message_buffer_length 0; }} }} }}
"""


class Cost(NamedTuple):
    """Of one run: CPU seconds per million deliveries, latencies in ms."""

    cpu: float
    p50: float
    p99: float


# Publish for so many seconds, and say what it cost.
Deliver = Callable[[float], Cost]


def run(world: World) -> list[Figure]:
    with world.webs() as [web], Publisher(world.backing.redis_url) as publisher:
        crowd = one_conversation(web.url)
        return [figure for size in SIZES for figure in at_size(world, size, Product(web, publisher, crowd))]


class Product(NamedTuple):
    web: Web
    publisher: Publisher
    crowd: Crowd


def at_size(world: World, size: int, ours: Product) -> list[Figure]:
    """All servers at once, a run of each in turn."""
    rate = DELIVERIES_A_SECOND / size
    with ExitStack() as stack:
        contenders = {"floor": stack.enter_context(floor(world, world.tools / "floor", size, rate))}
        plain, bursts = stack.enter_context(product(world, ours, size, rate))
        contenders["product"] = plain
        if size == 1_000:
            contenders["bursts"] = bursts
            for name, peer in (("their floor", peer_floor), ("nchan", nchan)):
                try:
                    contenders[name] = stack.enter_context(peer(world, size, rate))
                except BenchError as reason:
                    print(f"without {name}: {reason}", flush=True)
        for deliver in contenders.values():
            deliver(0.5)  # warm
        runs = [{name: deliver(world.seconds) for name, deliver in contenders.items()} for _ in range(world.runs)]
    return figures_of(f"{size:,} followers", {name: [each[name] for each in runs] for name in contenders})


def figures_of(where: str, runs: dict[str, list[Cost]]) -> list[Figure]:
    def ratios(name: str, to: str = "floor") -> list[float]:
        return [mine.cpu / other.cpu for mine, other in zip(runs[name], runs[to], strict=True)]

    product = runs["product"]
    aim = AIMS.get(where)
    figures = [
        Figure(f"{where}: C floor", "CPU s a million", [cost.cpu for cost in runs["floor"]]),
        Figure(f"{where}: product", "x floor", ratios("product"), aim),
        Figure(f"{where}: product, p50", "ms", [cost.p50 for cost in product]),
        Figure(f"{where}: product, p99", "ms", [cost.p99 for cost in product]),
        Figure(f"{where}: C floor, p99", "ms", [cost.p99 for cost in runs["floor"]]),
    ]
    if "bursts" in runs:
        figures.append(Figure(f"{where}: product, bursts of {BURST}", "x floor", ratios("bursts"), BURST_AIM))
    if "their floor" in runs:
        figures.append(Figure(f"{where}: our C floor", "x the peers'", [1 / ratio for ratio in ratios("their floor")]))
    if "nchan" in runs:
        late = [mine.p99 / other.p99 for mine, other in zip(product, runs["nchan"], strict=True)]
        figures.append(Figure(f"{where}: nchan", "x floor", ratios("nchan")))
        figures.append(Figure(f"{where}: nchan, p99", "ms", [cost.p99 for cost in runs["nchan"]]))
        figures.append(Figure(f"{where}: product, p99", "x nchan's", late, LATE_AIM))
    return figures


def cost(pid: int, followers: Followers, seconds: float, frames: int, publish: Callable[[], None]) -> Cost:
    """What the server needs from now until each follower has so many frames (0: until the time is over)."""
    before = cpu_seconds(pid)
    followers.start(seconds + 10 * bool(frames), frames)
    publish()
    got = followers.answer()
    used = cpu_seconds(pid) - before
    if not got["frames"] or (frames and (got["min"], got["max"]) != (frames, frames)):
        raise BenchError(f"{frames} frames for each were to come: {got}")
    return Cost(used / got["frames"] * 1e6, got["p50_us"] / 1000, got["p99_us"] / 1000)


@contextmanager
def floor(world: World, program: Path, size: int, rate: float) -> Iterator[Deliver]:
    """Stopped between its runs, as it would send for ever."""
    port = free_port()
    with Child([program, str(port), str(rate)], SERVER_CORE) as server:
        time.sleep(0.2)
        with Followers(world.tools, port, size, [("/ws", "", "", "")]) as followers:
            server.pause()

            def deliver(seconds: float) -> Cost:
                server.go_on()
                followers.start(0.3)  # the stop may have come between two writes of one event
                followers.answer()
                try:
                    return cost(server.pid, followers, seconds, 0, lambda: None)
                finally:
                    server.pause()

            yield deliver


@contextmanager
def product(world: World, ours: Product, size: int, rate: float) -> Iterator[tuple[Deliver, Deliver]]:
    """One event a publish, and BURST of them."""
    topic = f"conv:{ours.crowd.conversations[0]}"
    with Followers(world.tools, ours.web.port, size, ours.crowd.lines) as followers:

        def deliver(burst: int, seconds: float) -> Cost:
            calls = max(1, int(rate * seconds / burst))
            publish = partial(ours.publisher.start, topic, calls, rate / burst, burst)
            used = cost(ours.web.pid, followers, seconds, calls * burst, publish)
            ours.publisher.answer()
            return used

        yield partial(deliver, 1), partial(deliver, BURST)


def peer_floor(world: World, size: int, rate: float) -> AbstractContextManager[Deliver]:
    if world.peers is None:
        raise BenchError("PEERS_DIR does not name the peers' sources")
    folder = world.tools / "peers"
    folder.mkdir(exist_ok=True)
    build(folder, world.peers / "floor.c")
    return floor(world, folder / "floor", size, rate)


@contextmanager
def nchan(world: World, size: int, rate: float) -> Iterator[Deliver]:
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None or not NCHAN.exists():
        raise BenchError("nginx with nchan is not installed (Debian: nginx libnginx-mod-nchan)")
    port, folder = free_port(), world.tools / "nchan"
    folder.mkdir(exist_ok=True)
    config = folder / "conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(NGINX.format(folder=folder, module=NCHAN, user=user, port=port))
    with Child([program, "-p", folder, "-c", config], SERVER_CORE) as server:
        time.sleep(0.5)
        with Followers(world.tools, port, size, [("/ws", "", "", "")]) as followers:

            def deliver(seconds: float) -> Cost:
                calls = max(1, int(rate * seconds))
                return cost(server.pid, followers, seconds, calls, lambda: post(port, calls, rate))

            yield deliver


def post(port: int, calls: int, rate: float) -> None:
    """The same bytes into nchan's channel, as often."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    due = time.monotonic()
    for i in range(calls):
        time.sleep(max(0.0, due - time.monotonic()))
        due += 1 / rate
        connection.request("POST", "/pub", make_frame("conv:0198f0aa-3f6e-7cc1-9e5b-0242ac120002", i + 1))
        connection.getresponse().read()
    connection.close()
