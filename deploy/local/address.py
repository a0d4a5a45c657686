"""Where a server's socket lies: in its own folder, or in a short private one where that can't be."""

import hashlib
import os
import re
import socket
import stat
import tempfile
from pathlib import Path

from deploy.local.process import StartError

SOCKET_PATH_MAX_BYTES = 107  # sun_path, less its final zero
LONGEST_NAME = "/.s.PGSQL.5432"  # of the sockets made here
NOBODY = 65534  # the account of servers that refuse root, where user namespaces are forbidden
# Drivers fold hosts to lower case, and servers split lists of addresses at commas: such paths are replaced.
PLAIN_PATH = re.compile(r"[a-z0-9._/-]+")


def socket_folder(folder: Path) -> Path:
    """A folder (0700) that may hold sockets; the same one each time for the same folder. Raises StartError."""
    folder = folder.resolve()
    if _suits(folder):
        return folder
    name = f"wechat-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    short = Path(tempfile.gettempdir()) / name
    if not _suits(short):
        short = Path("/tmp") / name
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()  # the name can be guessed: another user's folder or a link is refused
    owners = (os.geteuid(), NOBODY) if os.geteuid() == 0 else (os.geteuid(),)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
        raise StartError(f"{short} belongs to someone else: remove it, or choose a DATA_DIR with a shorter path")
    return short


def _suits(folder: Path) -> bool:
    path = str(folder)
    return len(os.fsencode(path + LONGEST_NAME)) <= SOCKET_PATH_MAX_BYTES and PLAIN_PATH.fullmatch(path) is not None


def answers(path: Path) -> bool | None:
    """True when something listens on the Unix socket, else None."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return None
    return True


def answers_tcp(port: int) -> bool | None:
    """True when something listens on the loopback port, else None."""
    with socket.socket() as probe:
        return True if probe.connect_ex(("127.0.0.1", port)) == 0 else None


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there, next to connections of one that has just ended."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
