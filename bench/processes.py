"""Processes that measure and are measured: cores, CPU and memory of each, and the C programs with their answers."""

import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024
CORES = sorted(os.sched_getaffinity(0))
# The server alone on one core, the load and all that it needs on the other.
SERVER_CORE, LOAD_CORE = {CORES[0]}, {CORES[-1]}
HERE = Path(__file__).parent
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")


class BenchError(Exception):
    """A row can't be measured; the text is one line."""


def build(folder: Path, *sources: Path) -> None:
    """Each source into a program of its name in `folder`."""
    if shutil.which("gcc") is None:
        raise BenchError("gcc is missing (Debian: gcc libc6-dev): the load is written in C")
    for source in sources or sorted(HERE.glob("*.c")):
        # Only our own sources must be free of warnings.
        flags = FLAGS if source.parent == HERE else ("-O2",)
        subprocess.run(["gcc", *flags, "-o", folder / source.stem, source], check=True, timeout=60, capture_output=True)


def allow_files() -> None:
    """Sockets by the thousand, here and in all that is started."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def pin(pid: int, cores: Iterable[int]) -> None:
    """All threads that the process has; those to come inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), cores)
        except ProcessLookupError:
            pass  # it ended meanwhile


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_kib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KIB


def child_named(name: str) -> int:
    """The process of that name which this one started."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = entry.read_text().rpartition(")")
        except OSError:
            continue
        if head.partition("(")[2].startswith(name) and int(tail.split()[1]) == os.getpid():
            return int(entry.parent.name)
    raise BenchError(f"there is no {name} among our processes")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A process of ours that takes lines and answers lines. Leaving the context kills it."""

    def __init__(self, command: Sequence[str | Path], cores: Iterable[int] = LOAD_CORE, **env: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._name = Path(command[0]).name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env={**os.environ, **env},
        )
        self.pid = self._process.pid
        pin(self.pid, cores)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.kill()  # also where it was stopped
        self._process.wait(timeout=10)
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def line(self, timeout_s: float = 60.0) -> str:
        """The next line. Raises BenchError where it does not come."""
        assert self._process.stdout is not None
        came, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        line = self._process.stdout.readline() if came else b""
        if not line.endswith(b"\n"):
            raise BenchError(f"{self._name}: {self.said() or 'no answer'}")
        return line.decode().strip()

    def said(self) -> str:
        """The end of what it wrote to stderr."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][-300:] if lines else ""

    def answer(self, timeout_s: float = 60.0) -> Json:
        return dict(json.loads(self.line(timeout_s)))

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)


class Followers(Child):
    """`lines`: (path, subprotocol, auth frame, subscribe frame), cycled. All are open when this returns."""

    def __init__(
        self, tools: Path, port: int, count: int, lines: Iterable[Sequence[str]], window: int = 100, wait: bool = True
    ) -> None:
        file = write_lines(tools, lines)
        super().__init__([tools / "load", str(port), str(count), str(window), file])
        self.opened: Json = self.answer(120) if wait else {}

    def start(self, seconds: float, frames: int = 0) -> None:
        """Count from now on; the answer comes when each connection has so many, or the time is over."""
        self.tell(f"measure {seconds} {frames}")

    def churn(self, count: int) -> Json:
        self.tell(f"churn {count}")
        return self.answer(180)


class Senders(Child):
    """`lines`: (port, "http" or "ws", path, token, body) a client."""

    def __init__(self, tools: Path, lines: Iterable[Sequence[str]], warm_s: float, seconds: float) -> None:
        file = write_lines(tools, lines)
        super().__init__([tools / "send", str(warm_s), str(seconds), file])
        self._seconds = warm_s + seconds

    def started(self) -> None:
        """Returns when what comes counts."""
        if self.line(60 + self._seconds) != "started":
            raise BenchError("the senders did not start")

    def answer(self, timeout_s: float = 60.0) -> Json:
        return super().answer(timeout_s + self._seconds)


class Publisher(Child):
    """Another process of the product, as far as the topics see."""

    def __init__(self, redis_url: str) -> None:
        super().__init__([sys.executable, "-m", "bench.publisher"], REDIS_URL=redis_url)

    def start(self, topic: str, count: int, rate: float, burst: int = 1) -> None:
        """`count` times `burst` events, `rate` times a second."""
        self.tell(json.dumps({"topic": topic, "count": count, "rate": rate, "burst": burst}))

    def look(self, topics: Sequence[str]) -> dict[str, str]:
        """Their positions."""
        self.tell(json.dumps({"look": list(topics)}))
        return dict(self.answer())


def write_lines(folder: Path, lines: Iterable[Sequence[str]]) -> Path:
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".lines", delete=False) as file:
        file.writelines("\t".join(line) + "\n" for line in lines)
    return Path(file.name)
