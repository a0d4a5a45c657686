"""What all rows share: the backing servers, web processes on their core, people and conversations, figures."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiohttp

from bench.processes import SERVER_CORE, BenchError, child_named, free_port, pin
from tests.backing import Backing
from tests.web import Person, people

T = TypeVar("T")

SUBPROTOCOL = "wechat.v1"
START_S, STOP_S = 30.0, 20.0
FREE = {"RATE_LIMITS": "off"}
# Limits are asked for as ever, and never reached.
LIMITED = {"RATE_LIMITS": "on", "RATE_LIMIT_FACTOR": "1000000"}


@dataclass
class Figure:
    """A line of the table: what each run gave, and what the median is to be."""

    what: str
    unit: str
    values: Sequence[float]
    aim: float | None = None
    at_least: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        if self.aim is None:
            return None
        return self.median >= self.aim if self.at_least else self.median <= self.aim


@dataclass
class Web:
    """A web process."""

    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def ready(self) -> "Web":
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.url + "/readyz", timeout=2):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise BenchError(f"the web process did not become ready: {self.log.read_text()[-300:]}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class World:
    """`quick`: fewer and shorter runs. `peers`: the folder of the peers' sources, where there is one."""

    backing: Backing
    tools: Path
    quick: bool
    peers: Path | None

    @property
    def runs(self) -> int:
        return 2 if self.quick else 5

    @property
    def seconds(self) -> float:
        """Of one run."""
        return 1.5 if self.quick else 4.0

    @contextmanager
    def webs(
        self, count: int = 1, env: Mapping[str, str] = FREE, cores: set[int] = SERVER_CORE, module: str = "server"
    ) -> Iterator[list[Web]]:
        """Web processes that start together; `module` may be another one that serves in the same way."""
        made: list[Web] = []
        try:
            for _ in range(count):
                made.append(self._start(module, cores, env))
            yield [web.ready() for web in made]
        finally:
            for web in made:
                web.stop()

    def _start(self, module: str, cores: set[int], env: Mapping[str, str]) -> Web:
        port = free_port()
        number, name = tempfile.mkstemp(dir=self.tools, suffix=".log")
        own = {"HOST": "127.0.0.1", "PORT": str(port), "DRAIN_SECONDS": "0.2"}
        environment = {**os.environ, **self.backing.env, **own, **env}
        try:
            process = subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=number, stderr=number)
        finally:
            os.close(number)
        pin(process.pid, cores)
        return Web(port, process, Path(name))

    def pin_backing(self, cores: set[int]) -> None:
        for name in ("mongod", "valkey-server", "postgres"):
            pin(child_named(name), cores)


@dataclass
class Crowd:
    """People who are all in one group, `conversations[0]`; the lines by which each follows it."""

    people: list[Person]
    conversations: list[str]
    lines: list[tuple[str, ...]]


def with_people(url: str, count: int, use: Callable[[list[Person]], Awaitable[T]]) -> T:
    """Sign up, and do what only needs REST, before anything is measured."""

    async def run() -> T:
        async with aiohttp.ClientSession() as http:
            made = [person for _ in range(0, count, 8) for person in await people(http, url, 8)]
            return await use(made[:count])

    return asyncio.run(run())


def one_conversation(url: str, count: int = 20) -> Crowd:
    async def use(everyone: list[Person]) -> Crowd:
        conversation = await everyone[0].group(*everyone[1:])
        return Crowd(everyone, [conversation], [follow_line(p, f"conv:{conversation}") for p in everyone])

    return with_people(url, count, use)


def follow_line(person: Person, topic: str, after: dict[str, str] | None = None) -> tuple[str, ...]:
    """Sign in with `user:`, and follow one topic; both from where `after` says."""
    after = after or {}
    auth = {"op": "auth", "token": person.tokens["accessToken"], "after": after.get(f"user:{person.user_id}")}
    topics = [{"topic": topic, "after": after.get(topic)}]
    return "/ws", SUBPROTOCOL, json.dumps(auth), json.dumps({"op": "subscribe", "ref": 1, "topics": topics})
