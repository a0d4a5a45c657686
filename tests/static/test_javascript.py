"""The web client's own tests and types, run by Node; `npm install` in this folder comes first."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = sorted(file.name for file in HERE.glob("*.test.mjs"))
SCRIPTS = HERE.parent.parent / "static" / "js"


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES)
def test_javascript_behaves(file: str) -> None:
    run("node", "--test", file)


def test_javascript_types_agree() -> None:
    run("node_modules/.bin/tsc", "--project", "tsconfig.json")


@pytest.mark.parametrize("script", sorted(SCRIPTS.rglob("*.js")), ids=lambda script: script.name)
def test_javascript_is_checked_and_keeps_user_text_out_of_markup(script: Path) -> None:
    source = script.read_text()
    assert source.startswith("// @ts-check\n")
    markup = [line for line in source.splitlines() if "innerHTML" in line or "insertAdjacentHTML" in line]
    assert all(line.endswith("innerHTML = /* html */ `") for line in markup), "markup is constant"
    templates = source.split("/* html */ `")[1:]
    assert not any("${" in template.split("`")[0] for template in templates), "markup is constant"
