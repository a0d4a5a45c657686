"""Keeps one backing server running: starts it again when it dies, after a delay that grows."""

import threading
import time
from collections.abc import Callable

from deploy.local.process import Server, StartError, say

FIRST_DELAY_S = 0.2
MAX_DELAY_S = 15.0
STEADY_S = 60.0  # who lived that long starts with the first delay again


class Keeper(threading.Thread):
    """Owns a server from its start to `stop`. Its address stays the same, so clients find it again."""

    def __init__(self, name: str, start: Callable[[], Server]) -> None:
        """Start the server. Raises StartError."""
        super().__init__(name=f"keep {name}", daemon=True)
        self._start_server = start
        self._stopping = threading.Event()
        self.server = start()
        self.start()

    def run(self) -> None:
        delay = FIRST_DELAY_S
        while True:
            began = time.monotonic()
            code = self.server.process.wait()
            if self._stopping.is_set():
                return
            say(f"{self.name.removeprefix('keep ')} died ({describe(code)}): starting it again")
            if time.monotonic() - began > STEADY_S:
                delay = FIRST_DELAY_S
            delay = self._restart(delay)

    def _restart(self, delay: float) -> float:
        """Try until it runs; returns the delay before the next restart."""
        while not self._stopping.wait(delay):
            delay = min(2 * delay, MAX_DELAY_S)
            try:
                self.server = self._start_server()
            except StartError as error:
                say(f"{error}; trying again in {delay:.1f} s")
                continue
            if self._stopping.is_set():
                self.server.stop()
            else:
                say(f"{self.name.removeprefix('keep ')} runs again")
            break
        return delay

    def stop(self) -> None:
        """Stop the server and wait for it."""
        self._stopping.set()
        self.server.stop()
        self.join()


def describe(code: int) -> str:
    """An exit code in words."""
    return f"signal {-code}" if code < 0 else f"code {code}"
