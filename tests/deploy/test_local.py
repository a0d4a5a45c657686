"""`make run` without make: real servers, a stand-in for the product."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from deploy.local.address import free_port
from tests.deploy.launcher import PROCESSES, ROOT, Launcher, pids

Launch = Callable[..., Launcher]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts launchers: data folder, processes, environment."""
    with ExitStack() as stack:
        yield lambda *args, **env: stack.enter_context(closing(Launcher(tmp_path / "Procfile", *args, **env)))


@pytest.mark.slow
def test_a_second_start_finds_the_data_and_a_signal_leaves_no_process(launch: Launch, data: Path) -> None:
    for run, number in enumerate((signal.SIGTERM, signal.SIGINT), 1):
        launcher = launch(data)
        launcher.wait_line(f"^runs {run} {run} {run}$")
        launcher.wait_line(rf"ready after .*http://localhost:{launcher.port} ")
        assert launcher.child("mongod")
        code, _ = launcher.end(number)
        assert (code, pids(data)) == (0, [])


@pytest.mark.slow
def test_a_killed_launcher_takes_the_servers_along_and_the_next_start_ends_the_rest(launch: Launch, data: Path) -> None:
    launcher = launch(data)
    launcher.wait_line("ready")
    launcher.process.kill()
    launcher.process.wait()

    second = launch(data)
    second.wait_line("ended [1-9] processes that the last run left")  # the child of the web process
    second.wait_line("^runs 2 2 2$")
    second.wait_line("ready")
    assert second.end()[0] == 0
    assert pids(data) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "program"), [("mongod", "mongod"), ("postgres", "bin/postgres"), ("valkey", "valkey-server")]
)
def test_a_killed_server_is_started_again(launch: Launch, data: Path, name: str, program: str) -> None:
    launcher = launch(data)
    launcher.wait_line("ready")
    os.kill(launcher.child(program), signal.SIGKILL)
    launcher.wait_line(rf"{name} died \(signal 9\): starting it again")
    launcher.wait_line(f"{name} runs again")
    assert launcher.process.poll() is None
    assert launcher.end()[0] == 0
    assert pids(data) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("release", 3), ("web", 4), ("worker", 5)])
def test_a_process_that_ends_stops_everything_with_its_code(launch: Launch, data: Path, name: str, code: int) -> None:
    launcher = launch(data, {**PROCESSES, name: f"sh -c 'exit {code}'"})
    launcher.wait_line(f"{name} ended with code {code}: stopping")
    assert launcher.finish()[0] == code
    assert pids(data) == []


@pytest.mark.slow
def test_a_second_launcher_on_the_folder_is_refused_and_harms_nothing(launch: Launch, data: Path) -> None:
    first = launch(data)
    first.wait_line("ready")
    code, output = launch(data).finish()
    assert code == 1
    assert (
        output
        == f"[local] {data} is in use by process {first.process.pid}: stop it, or set another DATA_DIR and PORT\n"
    )
    assert first.process.poll() is None
    assert first.end()[0] == 0


def test_with_every_url_set_nothing_is_started(launch: Launch, data: Path) -> None:
    urls = {"MONGODB_URL": "mongodb://m", "DATABASE_URL": "postgresql://p", "REDIS_URL": "redis://r"}
    shown = """sh -c 'echo "$MONGODB_URL $DATABASE_URL $REDIS_URL"; sleep 600' """
    launcher = launch(data, {"worker": shown}, **urls)
    launcher.wait_line("^mongodb://m postgresql://p redis://r$")
    assert sorted(path.name for path in data.iterdir()) == ["launcher.lock"]
    assert launcher.end()[0] == 0


def test_production_names_what_is_missing_and_starts_nothing(launch: Launch, data: Path) -> None:
    code, output = launch(data, ENV="production", REDIS_URL="redis://r").finish()
    assert code == 1
    assert output.startswith("[local] ENV=production needs MONGODB_URL, DATABASE_URL, AMQP_URL,")
    assert "REDIS_URL" not in output
    assert not data.exists()


def test_a_port_in_use_is_told_in_one_line(launch: Launch, data: Path) -> None:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        code, output = launch(data, PORT=str(port)).finish()
    finally:
        server.kill()
        server.communicate()
    assert (code, output.count("\n")) == (1, 1)
    assert f"port {port} is in use: stop what listens there, or choose another with PORT=" in output


def test_an_unwritable_folder_is_told_in_one_line(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, output = launch(tmp_path / "file" / "data").finish()
    assert (code, output.count("\n")) == (1, 1)
    assert "(Not a directory): make it writable, or choose another folder with DATA_DIR" in output


def test_a_folder_without_permission_is_told_in_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    become = "os.geteuid() or (os.setgid(65534), os.setuid(65534))"  # root may write everywhere
    script = f"import os, sys; from deploy.local.__main__ import main; {become}; sys.exit(main([]))"
    env = {**os.environ, "DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "(Permission denied): make it writable, or choose another folder with DATA_DIR" in done.stderr


def test_ffmpeg_that_can_not_be_run_is_told_in_one_line(launch: Launch, data: Path) -> None:
    code, output = launch(data, FFMPEG="/no/such/ffmpeg").finish()
    assert code == 1
    assert output == "[local] FFMPEG=/no/such/ffmpeg can't be run: install ffmpeg 5 or later, or unset FFMPEG\n"
