import os
import subprocess
import sys

from tests.backing import Backing


def migrate(backing: Backing, **changes: str) -> subprocess.CompletedProcess[str]:
    command, env = [sys.executable, "-m", "server.migrate"], os.environ | backing.env | changes
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)


def test_it_can_be_repeated(backing: Backing) -> None:
    first, second = migrate(backing), migrate(backing)
    assert first.returncode == second.returncode == 0, first.stderr
    assert second.stdout == "migrate: nothing new\n"


def test_a_database_that_is_away_is_told_without_a_stack(backing: Backing) -> None:
    done = migrate(backing, DATABASE_URL="postgresql://x@/x?host=/nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("migrate: ") and "/nowhere" in done.stderr and "Traceback" not in done.stderr


def test_a_missing_variable_is_named(backing: Backing) -> None:
    env = {name: value for name, value in (os.environ | backing.env).items() if name != "DATABASE_URL"}
    done = subprocess.run([sys.executable, "-m", "server.migrate"], env=env, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, "migrate: DATABASE_URL: Field required\n")
