"""Processes that a killed launcher left: recognised by a variable that every descendant inherits."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.local.process import POLL_S

MARKER = "LOCAL_RUN"  # the data folder, in the environment of the Procfile's processes and all below them
KILL_TIMEOUT_S = 10.0


def end(data: Path) -> int:
    """Kill what still runs on the data folder and wait until it is gone. Returns how many there were."""
    found: set[int] = set()
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while time.monotonic() < deadline:
        alive = set(_marked(data))
        if not alive:
            break
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        found |= alive
        time.sleep(POLL_S)
    return len(found)


def _marked(data: Path) -> Iterator[int]:
    wanted = f"{MARKER}={data}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # gone, or another user's
            continue
        if wanted in environment.split(b"\0") and int(entry.name) != os.getpid():
            yield int(entry.name)
