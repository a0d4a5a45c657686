"""The Procfile's processes from release to stop, told by one queue of events: signals, and processes that ended."""

import http.client
import math
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType

from deploy.local import orphans, procfile
from deploy.local.keeper import describe
from deploy.local.process import say

SIGNAL = "signal"
STOP_TIMEOUT_S = 30.0  # longer than the web process's drain
ECHO_S = 1.0  # a second signal after this long means: now
READY_POLL_S = 0.1
READY_TIMEOUT_S = 5.0  # of one question


class Run:
    """Starts, watches and stops; `stop` may be called at any point."""

    def __init__(self) -> None:
        self._events: SimpleQueue[tuple[str, int]] = SimpleQueue()
        self._alive: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()
        self._began = time.monotonic()
        self._signalled = -math.inf

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """A signal handler. One signal may arrive twice, from the terminal and from make: the echo is left out."""
        now = time.monotonic()
        if now - self._signalled > ECHO_S:
            self._events.put((SIGNAL, number))
            self._signalled = now

    def processes(self, commands: Mapping[str, str], env: Mapping[str, str]) -> int:
        """Run `release` to its end, then the others until a signal comes or one of them ends. Returns the exit code."""
        if self._signalled > 0:  # while the servers were started
            return self._told(SIGNAL, 0)
        if "release" in commands:
            self._start("release", commands["release"], env)
            name, code = self._next()
            if name == SIGNAL or code:
                return self._told(name, code)
        for name, command in commands.items():
            if name != "release":
                self._start(name, command, env)
        if "web" in commands:
            threading.Thread(target=self._announce, args=[int(env["PORT"])], daemon=True).start()
        return self._told(*self._next())

    def stop(self, data: Path | None) -> None:
        """SIGTERM to each process, SIGKILL after STOP_TIMEOUT_S or a second signal; then whatever they left."""
        self._stopping.set()
        for process in self._alive.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._alive:
            try:
                name, _ = self._next(max(deadline - time.monotonic(), 0))
            except Empty:
                name = SIGNAL
            if name == SIGNAL:
                say(f"killing {', '.join(self._alive)}")
                break
        for process in self._alive.values():
            process.kill()
            process.wait()
        if data is not None:
            orphans.end(data)

    def _start(self, name: str, command: str, env: Mapping[str, str]) -> None:
        process = procfile.start(command, env)
        self._alive[name] = process
        threading.Thread(target=lambda: self._events.put((name, process.wait())), daemon=True).start()

    def _next(self, timeout_s: float | None = None) -> tuple[str, int]:
        name, code = self._events.get(timeout=timeout_s)
        self._alive.pop(name, None)
        return name, code

    def _told(self, name: str, code: int) -> int:
        if name == SIGNAL:
            say("stopping")
            return 0
        say(f"{name} ended with {describe(code)}: stopping")
        return code if code >= 0 else 128 - code

    def _announce(self, port: int) -> None:
        while not self._stopping.wait(READY_POLL_S):
            if _is_ready(port):
                say(f"ready after {time.monotonic() - self._began:.1f} s: http://localhost:{port} (Ctrl-C stops)")
                return


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
