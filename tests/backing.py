"""The three backing servers, started once for a run of tests in a folder that goes away with them."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local import ffmpeg, mongod, postgres, valkey
from deploy.local.process import Server


@dataclass(frozen=True)
class Backing:
    """Addresses, and `env`: the variables that a process of the product needs beside the tests' own environment."""

    mongodb_url: str
    database_url: str
    redis_url: str
    env: dict[str, str]


@contextmanager
def running(path: str) -> Iterator[Backing]:
    """Start all three at once; stop them at the end. `path` is where ffmpeg is looked for."""
    starts = (mongod.start, postgres.start, valkey.start)
    with tempfile.TemporaryDirectory(prefix="backing-") as folder, ThreadPoolExecutor(len(starts)) as pool:
        servers: list[Server] = list(pool.map(lambda start: start(Path(folder) / start.__module__), starts))
        urls = [server.url for server in servers]
        env = dict(zip(("MONGODB_URL", "DATABASE_URL", "REDIS_URL"), urls, strict=True))
        try:
            yield Backing(*urls, {**env, **ffmpeg.find({"PATH": path}), "DATA_DIR": f"{folder}/data"})
        finally:
            list(pool.map(Server.stop, servers))
