"""Children end with their parent, whatever ends it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import process
from deploy.local.process import StartError, last_line, spawn, wait_ready

ROOT = Path(__file__).parents[2]


def test_a_child_ends_when_its_parent_is_killed() -> None:
    script = """
import os, signal
from deploy.local.process import spawn
child = spawn(["sh", "-c", "echo ready; exec sleep 600"])
input()
os.kill(os.getpid(), signal.SIGKILL)
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        output, _ = parent.communicate("go\n")  # the pipe ends when the child, too, has gone
    assert output == ""


def test_a_server_that_ends_at_once_is_told_with_its_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = spawn(["sh", "-c", "echo first; echo no disk; exit 7"], log=log)
    with pytest.raises(StartError, match="thing ended with code 7: no disk"):
        wait_ready("thing", child, log, lambda: None)


def test_a_command_that_is_not_there_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert spawn(["/no/such/command"], log=log).wait() == 1
    assert last_line(log) == "/no/such/command: No such file or directory"


def test_a_long_log_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    os.truncate(log, process.LOG_MAX_BYTES + 1)
    spawn(["echo", "new"], log=log).wait()
    assert log.read_text() == "new\n"
    assert (tmp_path / "log.1").stat().st_size == process.LOG_MAX_BYTES + 1
