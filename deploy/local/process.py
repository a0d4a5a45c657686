"""A child process that can't outlive this one, and a backing server made of it."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

START_TIMEOUT_S = 60.0  # recovery of a large journal on a slow disk
STOP_TIMEOUT_S = 20.0  # a clean stop takes about 1 s
LOCK_TIMEOUT_S = 10.0  # the processes of a killed server may need a moment to go
POLL_S = 0.02
LOG_MAX_BYTES = 16 << 20  # a longer log is set aside at the next start

T = TypeVar("T")

# The kernel sends the parent-death signal when the *thread* that started the child ends, hence one that stays.
_spawner = ThreadPoolExecutor(1, "spawner")


class StartError(Exception):
    """Something can't start; the text is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running backing server. It dies with this process; starting again on its folder repairs what a kill left."""

    url: str
    process: subprocess.Popen[bytes]
    stop_signal: signal.Signals = signal.SIGTERM

    def stop(self) -> None:
        """Stop cleanly and wait; after STOP_TIMEOUT_S kill."""
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL and wait."""
        self.process.kill()
        self.process.wait()


def say(text: str) -> None:
    """Tell the person at the terminal one line."""
    with contextlib.suppress(OSError):  # the terminal may be gone, and stopping must go on
        print(f"[local] {text}", file=sys.stderr, flush=True)


def spawn(
    command: Sequence[str | Path],
    *,
    lock: int | None = None,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    when_parent_dies: signal.Signals = signal.SIGKILL,
    uid: int = -1,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, so that Ctrl-C reaches only this process.

    `lock` is inherited: it stays held until the last process of the server is gone. Output goes to the end of `log`.
    """
    bound = [sys.executable, "-I", "-S", str(Path(__file__).with_name("bound.py"))]
    program = shutil.which(command[0]) or command[0]
    words = [int(when_parent_dies), os.getpid(), uid, program, *command[1:]]
    output = _open_log(log) if log else None

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*bound, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            env=env,
            pass_fds=() if lock is None else (lock,),
            start_new_session=True,
        )

    try:
        return _spawner.submit(start).result()
    finally:
        if output:
            os.close(output)


def _open_log(path: Path) -> int:
    if path.exists() and path.stat().st_size > LOG_MAX_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def lock_folder(folder: Path, timeout_s: float = LOCK_TIMEOUT_S) -> int:
    """Make the folder (0700) and take its lock: a descriptor to pass on and close. Raises StartError if held."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"can't write in {folder} ({error.strerror}): choose a folder with DATA_DIR") from None
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(lock)
                raise StartError(f"{folder} is in use by another process: stop it, or set another DATA_DIR") from None
            time.sleep(POLL_S)


def wait_ready(name: str, process: subprocess.Popen[bytes], log: Path, ready: Callable[[], T | None]) -> T:
    """Ask `ready` until it gives a value. Otherwise ends the process and raises StartError with the log's last line."""
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while time.monotonic() < deadline:
            value = ready()
            if value is not None:
                return value
            if process.poll() is not None:
                raise StartError(f"{name} ended with code {process.returncode}: {last_line(log)} (all of it: {log})")
            time.sleep(POLL_S)
        raise StartError(f"{name} was not ready within {START_TIMEOUT_S:.0f} s: {last_line(log)} (all of it: {log})")
    except BaseException:
        process.kill()
        process.wait()
        raise


def last_line(log: Path) -> str:
    """The last line of a log, or a dash."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1][:300] if lines else "-"
