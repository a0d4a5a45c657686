"""The Procfile's processes: a name and a shell command a line, as a PaaS reads them."""

import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.local.process import StartError, spawn

LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(\S.*)")


def read(path: Path) -> dict[str, str]:
    """Names and commands in the file's order. Raises StartError when it can't be read."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise StartError(f"can't read {path} ({error.strerror}): start in the folder that holds it") from None
    commands: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = LINE.fullmatch(line.strip())
        if match is None:
            raise StartError(f"{path}, line {number} is not of the form `name: command`")
        commands[match[1]] = match[2]
    return commands


def start(command: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start one. When this process is killed it gets SIGTERM, so that it can end its own children."""
    return spawn(["/bin/sh", "-c", f"exec {command}"], env=env, when_parent_dies=signal.SIGTERM)
