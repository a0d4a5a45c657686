"""Which ffmpeg is taken."""

from pathlib import Path

import pytest

from deploy.local.ffmpeg import find
from deploy.local.process import StartError

BINARY, SCRIPT = b"\x7fELF", b"#!/usr/bin/env python3\n"


def place(folder: Path, **files: bytes) -> str:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o755)
    return str(folder)


def test_the_first_pair_of_binaries_on_path(tmp_path: Path) -> None:
    venv = place(tmp_path / "venv", ffmpeg=SCRIPT)
    script = place(tmp_path / "script", ffmpeg=SCRIPT, ffprobe=BINARY)
    alone = place(tmp_path / "alone", ffmpeg=BINARY)
    system = place(tmp_path / "system", ffmpeg=BINARY, ffprobe=BINARY)
    found = find({"PATH": f"{venv}:{script}:{alone}:{system}"})
    assert found == {"FFMPEG": f"{system}/ffmpeg", "FFPROBE": f"{system}/ffprobe"}


def test_the_wheel_when_path_has_none(tmp_path: Path) -> None:
    found = find({"PATH": place(tmp_path / "venv", ffmpeg=SCRIPT)})
    assert all(Path(path).read_bytes()[:4] == BINARY for path in found.values())


def test_the_environment_comes_first(tmp_path: Path) -> None:
    mine = place(tmp_path / "mine", one=BINARY, two=BINARY)
    env = {"FFMPEG": f"{mine}/one", "FFPROBE": f"{mine}/two", "PATH": ""}
    assert find(env) == {"FFMPEG": f"{mine}/one", "FFPROBE": f"{mine}/two"}


def test_none_at_all_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no ffmpeg found: install ffmpeg 5 or later"):
        find({"PATH": str(tmp_path)}, wheel="no_such_wheel")
