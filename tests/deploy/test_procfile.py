"""The Procfile's form."""

from pathlib import Path

import pytest

from deploy.local.process import StartError
from deploy.local.procfile import read

ROOT = Path(__file__).parents[2]


def test_the_products_own() -> None:
    assert read(ROOT / "Procfile") == {
        "release": "python -m server.migrate",
        "web": "python -m server",
        "worker": "python -m workers",
    }


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("# processes\nweb: serve --port $PORT\nworker\n")
    with pytest.raises(StartError, match=r"Procfile, line 3 is not of the form `name: command`"):
        read(tmp_path / "Procfile")


def test_none_says_where_to_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="start in the folder that holds it"):
        read(tmp_path / "Procfile")
