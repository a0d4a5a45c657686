"""`python -m server`: one web process, or WEB_CONCURRENCY of them that share the port."""

import asyncio
import ctypes
import logging
import os
import resource
import signal
import socket
import subprocess
import sys

import uvloop
from aiohttp import web

from handlers.keys import CONNECTIONS, STOP
from server import logs
from server.app import make_app
from services.tokens import Tokens
from settings import Settings, SettingsError

log = logging.getLogger("server")

PR_SET_PDEATHSIG = 1
BACKLOG = 4096
ACCEPT_TURNS = 5
SHUTDOWN_S = 10.0  # for requests in hand, after the drain


async def serve(settings: Settings, access: logs.AccessLines | None) -> None:
    """Until SIGTERM or SIGINT: then stop accepting, send the clients elsewhere, finish what is in hand."""
    app = make_app(settings, access)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, app[STOP].set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, handler_cancellation=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG, reuse_port=True)
        await site.start()
        log.info("serving on %s port %d", settings.host, settings.port)
        await app[STOP].wait()
        log.info("draining")
        for _ in range(ACCEPT_TURNS):  # what waits in the socket's queue is accepted: closing it would reset them
            await asyncio.sleep(0)
        await site.stop()
        await app[CONNECTIONS].drain(settings.drain_seconds)
    finally:
        await runner.cleanup()


def check_port(settings: Settings) -> str | None:
    """SO_REUSEPORT would share a port with a stranger of the same user: look first, without it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            return f"port {settings.port} can't be used ({error.strerror}): stop what uses it, or set PORT"
    return None


def allow_descriptors() -> None:
    """As many connections as the machine lets this user have; the usual soft limit is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def many(settings: Settings) -> int:
    """Processes of one kind, replaced when they die; they end together."""
    environment = os.environ | {"WEB_CONCURRENCY": "1", "WEB_CHILD": "1"}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "server"], env=environment)

    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            child.terminate()

    children: list[subprocess.Popen[bytes]] = []
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    children += [start() for _ in range(settings.web_concurrency)]
    code = 0
    while children:
        pid, status = os.wait()
        dead = next((child for child in children if child.pid == pid), None)
        if dead is None:
            continue
        children.remove(dead)
        dead.returncode = os.waitstatus_to_exitcode(status)
        if not stopping:
            log.error("a web process ended with %d: another one starts", dead.returncode)
            children.append(start())
        elif dead.returncode:
            code = 1
    return code


def main() -> int:
    try:
        settings = Settings.load()
        Tokens.load(settings)  # made once, before several processes want it, and a bad one is said here
    except SettingsError as error:
        print(f"server: {error}", file=sys.stderr)
        return 2
    access = logs.set_up(settings)
    if "WEB_CHILD" in os.environ:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # a child does not outlive its parent
    if "WEB_CHILD" not in os.environ and (fault := check_port(settings)) is not None:
        print(f"server: {fault}", file=sys.stderr)
        return 1
    if settings.web_concurrency > 1:
        return many(settings)
    allow_descriptors()
    uvloop.run(serve(settings, access))
    return 0


if __name__ == "__main__":
    sys.exit(main())
