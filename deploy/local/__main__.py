"""Start the backing servers that have no URL, then the Procfile's processes; stop all on Ctrl-C."""

import argparse
import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from deploy.local import environment, mongod, orphans, postgres, procfile, valkey
from deploy.local.bound import PR_SET_PDEATHSIG
from deploy.local.keeper import Keeper
from deploy.local.process import Server, StartError, say
from deploy.local.run import Run

SERVERS: dict[str, tuple[str, Callable[[Path], Server]]] = {
    "MONGODB_URL": ("mongod", mongod.start),
    "DATABASE_URL": ("postgres", postgres.start),
    "REDIS_URL": ("valkey", valkey.start),
}


def main(arguments: list[str], env: Mapping[str, str] = os.environ) -> int:
    """Run until a signal (0), a process that ends (its code) or a fault, told in one line (1)."""
    options = parse(arguments)
    run, keepers, data = Run(), Keepers(), None
    take_signals(run, bound=options.bound)
    try:
        environment.check_production(env)
        commands = procfile.read(options.procfile)
        data = lock_data(environment.check_data(env))
        if left := orphans.end(data):
            say(f"ended {left} processes that the last run left")
        child_env = environment.complete(env, environment.check_port(env), data)
        keepers.start(child_env, data)
        return run.processes(commands, {**child_env, **keepers.urls()})
    except StartError as error:
        say(str(error))
        return 1
    finally:
        run.stop(data)
        keepers.stop()


class Keepers(dict[str, Keeper]):
    """The servers started here, by the variable that tells their address."""

    def start(self, env: Mapping[str, str], data: Path) -> None:
        """Start those without a URL, all at once. Raises StartError when one can't; the others run until `stop`."""
        wanted = {variable: server for variable, server in SERVERS.items() if not env.get(variable)}
        if not wanted:
            return
        say(f"starting {', '.join(name for name, _ in wanted.values())} on {data}")
        with ThreadPoolExecutor(len(wanted)) as pool:
            futures = {
                variable: pool.submit(Keeper, name, partial(start, data / name))
                for variable, (name, start) in wanted.items()
            }
        self.update({variable: future.result() for variable, future in futures.items() if not future.exception()})
        for future in futures.values():
            future.result()

    def urls(self) -> dict[str, str]:
        return {variable: keeper.server.url for variable, keeper in self.items()}

    def stop(self) -> None:
        """Stop all at once and wait."""
        if self:
            with ThreadPoolExecutor(len(self)) as pool:
                list(pool.map(Keeper.stop, self.values()))


def lock_data(data: Path) -> Path:
    """Take the folder for this launcher's life. Raises StartError that names the process which has it."""
    lock = os.open(data / "launcher.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode() or "another process"
        raise StartError(f"{data} is in use by process {holder}: stop it, or set another DATA_DIR and PORT") from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return data


def take_signals(run: Run, *, bound: bool) -> None:
    """Signals become events of the run; with `bound`, the end of the parent (make) is one too."""
    signal.signal(signal.SIGINT, run.on_signal)
    signal.signal(signal.SIGTERM, run.on_signal)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, run.on_signal)
    if bound and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("--procfile", type=Path, default=Path("Procfile"))
    parser.add_argument("--bound", action="store_true", help="stop when the parent process ends")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
