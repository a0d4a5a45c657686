"""`python -m bench [--quick] [rows...]`: measure and print the table; all rows also go into docs/performance.md.

Needs two cores, and gcc. Traffic stays on this machine; everything runs in a folder that goes away with it.
"""

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.processes import LOAD_CORE, BenchError, allow_files, build
from bench.report import Row, render, write
from bench.world import World
from tests.backing import running

ROWS = ("fanout", "memory", "sends", "contention", "storm", "churn")
DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"


def measure(world: World, names: list[str]) -> list[Row]:
    rows = []
    for name in names:
        began = time.monotonic()
        module = importlib.import_module(f"bench.{name}")
        world.pin_backing(LOAD_CORE)
        try:
            rows.append(Row.of(module, module.run(world)))
        except BenchError as error:
            rows.append(Row.of(module, [], str(error)))
        print(render(rows[-1:]), f"({time.monotonic() - began:.0f} s)\n", sep="\n", flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser("python -m bench", description="Measure.")
    parser.add_argument("rows", nargs="*", metavar="row", help=f"some of {', '.join(ROWS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs, under 3 minutes")
    given = parser.parse_args()
    if unknown := set(given.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    allow_files()
    peers = Path(os.environ["PEERS_DIR"]) if os.environ.get("PEERS_DIR") else None
    with tempfile.TemporaryDirectory(prefix="bench-") as tools:
        try:
            build(Path(tools))
            with running(os.environ.get("PATH", "")) as backing:
                migrate = [sys.executable, "-m", "server.migrate"]
                subprocess.run(migrate, env={**os.environ, **backing.env}, check=True, timeout=60, capture_output=True)
                rows = measure(World(backing, Path(tools), given.quick, peers), given.rows or list(ROWS))
        except BenchError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    if not given.rows:
        write(DOCUMENT, rows, " ".join(["python -m bench", *sys.argv[1:]]))
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
