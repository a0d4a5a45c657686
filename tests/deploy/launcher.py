"""Starts `python -m deploy.local` as a person would, and looks at what runs on its data folder."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from deploy.local.address import free_port

ROOT = Path(__file__).parents[2]
STANDIN = Path(__file__).with_name("standin.py")
URLS = ("MONGODB_URL", "DATABASE_URL", "REDIS_URL", "ENV", "FFMPEG", "FFPROBE")


def command(*arguments: str) -> str:
    return shlex.join([sys.executable, str(STANDIN), *arguments])


PROCESSES = {"release": command("release"), "web": command("web"), "worker": "sleep 600"}


class Launcher:
    """One launcher on a data folder; its lines, from both streams, are read as they come."""

    def __init__(self, procfile: Path, data: Path, processes: dict[str, str] = PROCESSES, **env: str) -> None:
        self.port = int(env.setdefault("PORT", str(free_port())))
        procfile.write_text("".join(f"{name}: {line}\n" for name, line in processes.items()))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "--procfile", procfile],
            cwd=ROOT,
            env={**{k: v for k, v in os.environ.items() if k not in URLS}, "DATA_DIR": str(data), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_line(self, pattern: str) -> str:
        """The next line that matches; the test's time-out is the deadline."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"no line like {pattern!r} in:\n{''.join(seen)}")

    def child(self, program: str) -> int:
        """The process id of its child that runs the program."""
        lists = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = [pid for file in lists for pid in file.read_text().split()]
        (found,) = [pid for pid in children if program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return int(found)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; the exit code and the lines not yet read. A killed one's output ends with its orphans."""
        self.process.send_signal(number)
        return self.finish()

    def close(self) -> None:
        """For a test that failed: stop, if it runs still, and close the pipe."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def finish(self) -> tuple[int, str]:
        output, _ = self.process.communicate()
        return self.process.returncode, output


def pids(data: Path) -> list[int]:
    """Processes that run on the data folder: it stands in their arguments or in their environment."""
    return [
        int(entry.name)
        for entry in Path("/proc").glob("[0-9]*")
        if int(entry.name) != os.getpid() and str(data).encode() in _text(entry)
    ]


def _text(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
    except OSError:
        return b""
