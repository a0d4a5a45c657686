"""Each backing server: data outlives a stop, a kill and a move of the folder."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
from pymongo import MongoClient
from redis import Redis

from deploy.local import mongod, postgres, secantus, valkey
from deploy.local.address import free_port
from deploy.local.process import Server, StartError, lock_folder

Start = Callable[[Path], Server]


def count(url: str) -> int:
    """Add one to a number kept on the server, and return it."""
    if url.startswith("mongodb"):
        with MongoClient(url, serverSelectionTimeoutMS=5_000) as client:
            runs = client.get_default_database()["runs"]
            runs.insert_one({})
            return runs.count_documents({})
    if url.startswith("postgresql"):
        connection = psycopg2.connect(url)
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS runs (id serial)")
            cursor.execute("INSERT INTO runs DEFAULT VALUES")
            cursor.execute("SELECT count(*) FROM runs")
            (number,) = cursor.fetchone() or (0,)
        connection.close()
        return int(number)
    with Redis.from_url(url) as valkey_client:
        return int(valkey_client.incr("runs"))


SERVERS = pytest.mark.parametrize(
    "start",
    [
        pytest.param(mongod.start, id="mongod"),
        pytest.param(postgres.start, id="postgres"),
        pytest.param(valkey.start, id="valkey"),
        pytest.param(secantus.start, id="secantus", marks=pytest.mark.slow),
    ],
)


@SERVERS
def test_data_outlives_stop_and_kill_at_the_same_address(tmp_path: Path, start: Start) -> None:
    first = start(tmp_path)
    assert count(first.url) == 1
    first.stop()
    second = start(tmp_path)
    assert count(second.url) == 2
    second.kill()
    third = start(tmp_path)
    try:
        assert count(third.url) == 3
        assert first.url == second.url == third.url
    finally:
        third.stop()
    assert third.process.returncode == 0


@SERVERS
@pytest.mark.parametrize("name", ["x" * 120, "Two, Words"], ids=["deep", "odd"])
def test_a_folder_may_move_and_have_any_name(tmp_path: Path, start: Start, name: str) -> None:
    start_and_stop(start, tmp_path / "plain", 1)
    (tmp_path / "plain").rename(tmp_path / name)
    start_and_stop(start, tmp_path / name, 2)


def start_and_stop(start: Start, folder: Path, expected: int) -> None:
    server = start(folder)
    try:
        assert count(server.url) == expected
    finally:
        server.stop()


def test_a_folder_in_use_is_refused_while_the_server_runs(tmp_path: Path) -> None:
    server = valkey.start(tmp_path)
    try:
        with pytest.raises(StartError, match="in use by another process"):
            lock_folder(tmp_path, timeout_s=0)
        assert count(server.url) == 1
    finally:
        server.stop()


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(valkey.start, tmp_path).result()
    try:
        assert count(server.url) == 1
    finally:
        server.stop()


def test_valkey_takes_a_port(tmp_path: Path) -> None:
    port = free_port()
    server = valkey.start(tmp_path, port=port)
    try:
        assert server.url.endswith(f"@127.0.0.1:{port}/0")
        assert count(server.url) == 1
    finally:
        server.stop()


def test_secrets_are_for_the_owner_only(tmp_path: Path) -> None:
    valkey.start(tmp_path / "valkey").stop()
    assert (tmp_path / "valkey").stat().st_mode & 0o777 == 0o700
    for name in ("password", "valkey.conf", "log"):
        assert (tmp_path / "valkey" / name).stat().st_mode & 0o777 == 0o600
