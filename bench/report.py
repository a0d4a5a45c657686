"""The table: on the terminal, and between two markers of docs/performance.md."""

import importlib.metadata
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Self

from bench.world import Figure
from deploy.local import mongod

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
LIBRARIES = ("aiohttp", "uvloop", "redis", "hiredis", "motor", "pymongo", "pydantic")


@dataclass
class Row:
    """`question`: the first line of the row's module. `failed`: why there are no figures."""

    name: str
    question: str
    figures: Sequence[Figure]
    failed: str = ""

    @classmethod
    def of(cls, module: ModuleType, figures: Sequence[Figure], failed: str = "") -> Self:
        return cls(module.__name__.rpartition(".")[2], (module.__doc__ or "").partition("\n")[0], figures, failed)


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def line(figure: Figure) -> str:
    spread = f"{number(min(figure.values))} - {number(max(figure.values))}" if len(figure.values) > 1 else ""
    aim = "" if figure.aim is None else f"{'at least' if figure.at_least else 'at most'} {number(figure.aim)}"
    verdict = {True: "met", False: "**missed**", None: ""}[figure.met]
    return f"| {figure.what} | {number(figure.median)} | {figure.unit} | {spread} | {aim} | {verdict} |"


def render(rows: Sequence[Row]) -> str:
    lines: list[str] = []
    for row in rows:
        lines += [f"**{row.name}** {row.question}", ""]
        if row.failed:
            lines += [f"Not measured: {row.failed}", ""]
        if row.figures:
            lines += ["| | median | unit | spread | aim | |", "| --- | ---: | --- | --- | --- | --- |"]
            lines += [*map(line, row.figures), ""]
    return "\n".join(lines)


def machine(command: str) -> str:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cores = len(re.findall(r"^processor", Path("/proc/cpuinfo").read_text(), re.M))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    return (
        f"`{command}`, {date.today()}: {cpu[1] if cpu else platform.machine()}, {cores} cores, "
        f"Linux {platform.release()}, Python {platform.python_version()}, {versions}, {mongo()}."
    )


def mongo() -> str:
    binary = mongod.find()
    if binary is None:
        return "SecantusDB"
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20).stdout
    return "MongoDB " + said.partition("version v")[2].partition("\n")[0]


def write(document: Path, rows: Sequence[Row], command: str) -> None:
    """Replace what stands between the markers."""
    made = f"{BEGIN}\n{machine(command)}\n\n{render(rows)}{END}"
    text = document.read_text() if document.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    document.write_text(before + made + rest.partition(END)[2])
