import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.accounts import Process, device, register, single
from tests.backing import Backing
from workers import retention


@pytest.fixture
async def here(backing: Backing) -> AsyncIterator[Process]:
    async with single(backing) as process:
        yield process


@dataclass(frozen=True)
class Left:
    sessions: int
    refresh_tokens: int
    revocations: int


async def left(here: Process) -> Left:
    found = await here.postgres.one(
        Left,
        """SELECT (SELECT count(*) FROM sessions) AS sessions, (SELECT count(*) FROM refresh_tokens) AS refresh_tokens,
        (SELECT count(*) FROM revocations) AS revocations""",
    )
    assert found
    return found


async def test_what_has_served_its_time_goes_and_all_else_stays(here: Process) -> None:
    for age, ended in (("31 days", True), ("31 days", False), ("29 days", True), ("0 days", True)):
        user_id = (await register(here.auth))["user"]["userId"]
        column = "ended_at" if ended else "expires_at"
        await here.postgres.execute(
            f"UPDATE sessions SET {column} = now() - interval '{age}' WHERE user_id = %(user_id)s", {"user_id": user_id}
        )
    await here.auth.refresh((await register(here.auth))["refreshToken"], None, device())
    await here.postgres.execute("UPDATE refresh_tokens SET expires_at = now() WHERE used_at IS NOT NULL")
    await here.postgres.execute(
        """INSERT INTO revocations (user_id, created_at) SELECT user_id, now() - age * interval '1 minute'
        FROM users, unnest(ARRAY[59, 61]) AS age"""
    )
    purged = await retention.sweep(here.accounts)
    assert purged == {"refresh_tokens": 1, "sessions": 2, "revocations": 5}
    assert await left(here) == Left(sessions=3, refresh_tokens=3, revocations=5)


async def test_a_purge_goes_in_lots(here: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    user_id = (await register(here.auth))["user"]["userId"]
    await here.postgres.execute(
        """INSERT INTO revocations (user_id, created_at)
        SELECT %(user_id)s, now() - interval '2 hours' FROM generate_series(1, 25)""",
        {"user_id": user_id},
    )
    monkeypatch.setattr(retention, "ROWS_MAX", 10)
    monkeypatch.setattr(retention, "LOTS_MAX", 2)
    assert [(await retention.sweep(here.accounts))["revocations"] for _ in range(3)] == [20, 5, 0]


def start(backing: Backing, *names: str, **changes: str) -> subprocess.Popen[str]:
    env = os.environ | backing.env | changes
    return subprocess.Popen([sys.executable, "-m", "workers", *names], env=env, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_runs_until_it_is_told_to_stop_then_exits_0(backing: Backing, number: signal.Signals) -> None:
    subprocess.run([sys.executable, "-m", "server.migrate"], env=os.environ | backing.env, check=True)
    worker = start(backing, "retention")
    assert worker.stderr
    assert any("retention purged" in line for line in worker.stderr)
    worker.send_signal(number)
    assert worker.wait(10) == 0
    worker.stderr.close()


def test_the_process_waits_for_a_database_that_is_away(backing: Backing) -> None:
    worker = start(backing, DATABASE_URL="postgresql://x@/x?host=/nowhere")
    assert worker.stderr
    assert any("will try again" in line for line in worker.stderr)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    worker.stderr.close()


def test_a_database_without_tables_ends_the_process(backing: Backing) -> None:
    worker = start(backing, DATABASE_URL=backing.database_url.replace("/wechat?", "/template1?"))
    _, said = worker.communicate(timeout=20)
    assert worker.returncode == 1 and "retention ended by itself" in said


def test_an_unknown_name_is_told(backing: Backing) -> None:
    worker = start(backing, "nothing")
    _, said = worker.communicate(timeout=20)
    assert (worker.returncode, said) == (2, "workers: no such consumer: nothing; there are retention\n")
