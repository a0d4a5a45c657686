"""What must be true before anything starts, and the variables that the processes get."""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from deploy.local import ffmpeg
from deploy.local.address import port_is_free
from deploy.local.orphans import MARKER
from deploy.local.process import StartError

DEFAULT_PORT = "8080"
DEFAULT_DATA = ".data"
PRODUCTION = ("MONGODB_URL", "DATABASE_URL", "REDIS_URL", "AMQP_URL", "GCS_BUCKET", "SMTP_URL", "JWT_PRIVATE_KEY")
ALIASES = {"AMQP_URL": "CLOUDAMQP_URL"}


def check_production(env: Mapping[str, str]) -> None:
    """Raises StartError that names what ENV=production misses: nothing is started in its place."""
    missing = [name for name in PRODUCTION if not env.get(name) and not env.get(ALIASES.get(name, ""))]
    if env.get("ENV") == "production" and missing:
        raise StartError(f"ENV=production needs {', '.join(missing)}: set them, or unset ENV to start servers here")


def check_port(env: Mapping[str, str]) -> int:
    """The web process's port. Raises StartError when it is no port, or taken."""
    text = env.get("PORT") or DEFAULT_PORT
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise StartError(f"PORT={text} is not a port: choose one from 1 to 65535")
    if not port_is_free(int(text), ""):
        raise StartError(f"port {text} is in use: stop what listens there, or choose another with PORT={int(text) + 1}")
    return int(text)


def check_data(env: Mapping[str, str]) -> Path:
    """The data folder, made (0700) if need be. Raises StartError when it can't be written."""
    data = Path(env.get("DATA_DIR") or DEFAULT_DATA).absolute()
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data) as probe:
            probe.write(b"x")
    except OSError as error:
        raise StartError(
            f"can't write in {data} ({error.strerror}): make it writable, or choose another folder with DATA_DIR"
        ) from None
    return data.resolve()


def complete(env: Mapping[str, str], port: int, data: Path) -> dict[str, str]:
    """The environment of the Procfile's processes, but for the URLs of servers. Raises StartError without ffmpeg."""
    found = {} if env.get("ENV") == "production" else ffmpeg.find(env)
    return {
        "PUBLIC_URL": f"http://localhost:{port}",
        **env,
        **found,
        "PORT": str(port),
        "DATA_DIR": str(data),
        MARKER: str(data),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
    }
