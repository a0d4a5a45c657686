"""The floors: a module knows those below it and nothing above, and imports alone without a warning."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "server": 7,
    "workers": 7,
    "admin_cli": 7,
    "handlers": 6,
    "realtime": 5,
    "services": 4,
    "stores": 3,
    "protocols": 2,
    "settings": 1,
}
TOP = 7  # whose folders know nothing of each other
PROCESSES = 2


def sources(root: Path = ROOT) -> list[Path]:
    """Every module of the product, relative to the root."""
    found = [path for name in FLOORS for path in (root / name).rglob("*.py")]
    found += [root / f"{name}.py" for name in FLOORS if (root / f"{name}.py").exists()]
    return sorted(path.relative_to(root) for path in found)


def imported(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and full name of each import, wherever it stands in the module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield node.lineno, ".".join([*parents, *([node.module] if node.module else [])])


def upward(path: Path, source: str) -> list[str]:
    """What the module imports and must not, as path:line: name."""
    mine = path.parts[0].removesuffix(".py")
    faults = []
    for line, name in imported(source, ".".join(path.parent.parts)):
        theirs = name.split(".")[0]
        if theirs in ("tests", "bench", "deploy"):
            faults.append(f"{path}:{line}: {name}")
        if theirs == mine or theirs not in FLOORS:
            continue
        if FLOORS[theirs] >= FLOORS[mine]:
            faults.append(f"{path}:{line}: {name}")
    return faults


def test_imports_point_downward_only() -> None:
    assert [fault for path in sources() for fault in upward(path, (ROOT / path).read_text())] == []


def test_every_folder_of_python_has_a_floor_or_is_known_to_have_none() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/*.py")} | {path.stem for path in ROOT.glob("*.py")}
    assert folders <= set(FLOORS) | {"deploy", "tests", "bench", "docs"}


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("stores/topics.py", "import services.auth", "services.auth"),
        ("stores/topics.py", "from realtime.hub import Hub", "realtime.hub"),
        ("stores/topics.py", "def f():\n    from server import app", "server"),
        ("stores/topics.py", "import os, handlers", "handlers"),
        ("protocols/native.py", "from stores import redis as r", "stores"),
        ("settings.py", "import protocols.errors", "protocols.errors"),
        ("server/app.py", "from workers.mail import main", "workers.mail"),
        ("workers/mail.py", "import admin_cli", "admin_cli"),
        ("handlers/ws.py", "from tests.web import people", "tests.web"),
    ],
)
def test_the_checker_sees_an_upward_import(path: str, source: str, fault: str) -> None:
    [found] = upward(Path(path), source)
    assert found.startswith(path + ":") and found.endswith(" " + fault)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("server/app.py", "from handlers import ws\nfrom settings import Settings\nimport asyncio"),
        (
            "services/chat/sending.py",
            "from . import roster\nfrom .roster import Rosters\nfrom services.auth import Auth",
        ),
        ("realtime/hub.py", "from stores.topics import Topics"),
        ("workers/mail.py", "import servers_of_mail"),
    ],
)
def test_the_checker_lets_the_others_pass(path: str, source: str) -> None:
    assert upward(Path(path), source) == []


# Each in a child of its own, forked before anything of the product was imported, but after what it stands on.
ALONE = """
import contextlib, importlib, os, sys
foreign, names = sys.argv[1].split(), sys.argv[2:]
for name in foreign:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
failed = []
for name in names:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
        except BaseException:
            import traceback
            print(name, file=sys.stderr)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    failed += [name] if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) else []
sys.exit(len(failed) > 0)
"""


def foreign() -> list[str]:
    """What the product imports of others."""
    each = (imported((ROOT / path).read_text(), ".".join(path.parent.parts)) for path in sources())
    return sorted({name for found in each for _, name in found if name.split(".")[0] not in FLOORS})


def alone(names: list[str], folder: Path = ROOT, before: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE, before, *names],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=50,
    )


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.slow
def test_every_module_imports_alone_and_without_a_warning() -> None:
    names = [module_name(path) for path in sources() if path.name != "__main__.py"]
    batches, before = [names[i::PROCESSES] for i in range(PROCESSES)], " ".join(foreign())
    with ThreadPoolExecutor(PROCESSES) as pool:
        done = list(pool.map(lambda batch: alone(batch, before=before), batches))
    assert [each.returncode for each in done] == [0] * PROCESSES, "".join(each.stderr for each in done)
    assert len(names) > 50


def test_a_module_that_warns_or_needs_another_first_is_found(tmp_path: Path) -> None:
    (tmp_path / "fine.py").write_text("import json")
    (tmp_path / "warns.py").write_text("import warnings\nwarnings.warn('old', DeprecationWarning)")
    (tmp_path / "circular.py").write_text("import circular\ncircular.late")
    assert alone(["fine"], tmp_path).returncode == 0
    for name in ("warns", "circular"):
        answer = alone(["fine", name], tmp_path)
        assert answer.returncode == 1 and name in answer.stderr
