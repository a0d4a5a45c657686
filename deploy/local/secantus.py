"""SecantusDB in place of MongoDB, where no mongod runs: slower by far, and without text indexes."""

import os
import sys
from pathlib import Path

from deploy.local.address import answers_tcp, free_port, port_is_free
from deploy.local.process import Server, StartError, lock_folder, say, spawn, wait_ready

CACHE = "256M"


def start(folder: Path) -> Server:
    """Start on the folder, at the port of the last time while that is free. Raises StartError."""
    command = Path(sys.executable).with_name("secantusd-py")
    if not command.exists():
        raise StartError("neither mongod nor SecantusDB runs here: install MongoDB 5 or later, or set MONGODB_URL")
    say("no mongod runs here: using SecantusDB, which is slower by far and has no text indexes")
    lock = lock_folder(folder)
    try:
        port = _port(folder / "port")
        log = folder / "log"
        arguments = ["--host", "127.0.0.1", "--port", str(port), "--storage-path", str(folder / "secantus")]
        process = spawn(
            [command, *arguments, "--cache-size", CACHE, "--sync-on-commit", "--log-level", "WARNING"],
            lock=lock,
            log=log,
        )
    finally:
        os.close(lock)
    wait_ready("SecantusDB", process, log, lambda: answers_tcp(port))
    return Server(f"mongodb://127.0.0.1:{port}/wechat?replicaSet=secantus&w=majority", process)


def _port(file: Path) -> int:
    if file.exists() and port_is_free(port := int(file.read_text())):
        return port
    port = free_port()
    file.write_text(str(port))
    return port
