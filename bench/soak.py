"""`python -m bench.soak [--messages 20000] [--seed N]`: is it exact while everything around it fails?

Four web processes behind a proxy that loses 1 % of the pub/sub messages. People write by REST and try again until they
have an answer; followers are cut off at random and hop between processes, websocket and event stream. Meanwhile one
process is killed with SIGKILL, one stands still for 5 s and goes on, and near the end Redis is restarted.

Invariants, each checked at the end:
  1  every message that was answered is stored once, under its clientMessageId
  2  each conversation's seqs are 1..n in the store, without a gap
  3  every follower got every message once, in order of seq
  4  before Redis was restarted nobody was told `lost` or `recovered: false`
  5  every process that was asked to stop ended with 0
"""

import argparse
import asyncio
import contextlib
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from motor.motor_asyncio import AsyncIOMotorClient

from bench.followers import Follower, Ledger
from bench.lossy import LossyProxy
from deploy.local import mongod, postgres, valkey
from tests.web import Person, Web, free_port, people, start_many

PROCESSES = 4
PEOPLE = 24
CONVERSATIONS = 8
MEMBERS = 9
SENDERS = 12
LOSS = 0.01
SEND_S = 4.0  # until a sender tries elsewhere
CATCH_UP_S = 40.0


class Soak:
    def __init__(self, messages: int, seed: int) -> None:
        self.messages, self.random, self.ledger = messages, random.Random(seed), Ledger()
        self.webs: list[Web] = []
        self.frozen: Web | None = None
        self.sent: dict[str, dict[str, int]] = {}  # conversation -> clientMessageId -> seq
        self.retries = 0
        self.slowest_s = 0.0

    def urls(self) -> list[str]:
        return [web.url for web in self.webs if web is not self.frozen or self.random.random() < 0.3]

    async def write(self, person: Person, conversation: str) -> None:
        """One message, tried again until it is answered."""
        client_id, began = secrets.token_hex(8), time.monotonic()
        body = {"clientMessageId": client_id, "text": f"soak {client_id}"}
        while True:
            url = self.random.choice(self.urls())
            try:
                async with asyncio.timeout(SEND_S):
                    status, answer = await person.call(
                        "POST", f"/api/chat/conversations/{conversation}/messages", body, url
                    )
            except (aiohttp.ClientError, OSError, TimeoutError):
                status = 0
            if status in (200, 201):
                break
            if status not in (0, 503):
                self.ledger.wrong(f"a send was answered {status}: {answer}")
            self.retries += 1
            await asyncio.sleep(0.05)
        self.sent[conversation][client_id] = answer["data"]["seq"]
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    async def send_all(self, members: dict[str, list[Person]]) -> None:
        left = self.messages

        async def sender() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                conversation = self.random.choice(list(members))
                await self.write(self.random.choice(members[conversation]), conversation)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(SENDERS):
                tasks.create_task(sender())

    def done(self) -> int:
        return sum(map(len, self.sent.values()))

    async def reach(self, share: float) -> None:
        while self.done() < self.messages * share:
            await asyncio.sleep(0.02)

    async def faults(self, env: dict[str, str], redis: "Redis") -> None:
        await self.reach(0.2)
        print(f"  {self.done()} sent: SIGKILL to one process")
        victim = self.webs.pop(0)
        victim.stop(signal.SIGKILL)
        await self.reach(0.35)
        self.webs.append(await asyncio.to_thread(Web.start(env).ready))
        await self.reach(0.5)
        print(f"  {self.done()} sent: one process stands still for 5 s")
        self.frozen = self.webs[0]
        self.frozen.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(5)
        self.frozen.process.send_signal(signal.SIGCONT)
        self.frozen = None
        await self.reach(0.9)
        print(f"  {self.done()} sent: Redis is restarted")
        self.ledger.may_lose = True
        await asyncio.to_thread(redis.restart)

    async def settled(self, followers: list[Follower]) -> None:
        """Wait until every follower has all, or time is up."""
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(contextlib.suppress(TimeoutError))
            await stack.enter_async_context(asyncio.timeout(CATCH_UP_S))
            while any(f.last.get(c, 0) < len(self.sent[c]) for f in followers for c in f.conversations):
                await asyncio.sleep(0.1)

    async def check(self, url: str, followers: list[Follower]) -> None:
        client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(url)
        stored = client.get_default_database("wechat")["messages"]
        for conversation, sent in self.sent.items():
            found = await stored.find({"conversationId": conversation}).sort("seq", 1).to_list(None)
            if [m["seq"] for m in found] != list(range(1, len(found) + 1)):
                self.ledger.wrong(f"{conversation}: stored seqs have a gap or a repeat")
            if {m["clientMessageId"]: m["seq"] for m in found} != sent:
                self.ledger.wrong(f"{conversation}: {len(found)} stored, {len(sent)} answered, or other numbers")
            for follower in followers:
                if conversation in follower.conversations and follower.last.get(conversation, 0) != len(sent):
                    self.ledger.wrong(f"{follower.name}: {conversation} ends at {follower.last.get(conversation, 0)}")
        await asyncio.to_thread(client.close)


class Redis:
    """A Valkey of the soak's own, at one port through its restart."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self.server = valkey.start(folder, port=self.port)

    def restart(self) -> None:
        self.server.stop()
        self.server = valkey.start(self._folder, port=self.port)


async def soak(messages: int, seed: int, folder: Path) -> int:
    mongo, sql = await asyncio.gather(
        asyncio.to_thread(mongod.start, folder / "mongod"), asyncio.to_thread(postgres.start, folder / "postgres")
    )
    redis = await asyncio.to_thread(Redis, folder / "valkey")
    proxy = LossyProxy(redis.port, LOSS, seed)
    run = Soak(messages, seed)
    began = time.monotonic()
    try:
        lossy = redis.server.url.replace(f":{redis.port}", f":{await proxy.start()}")
        env = {"MONGODB_URL": mongo.url, "DATABASE_URL": sql.url, "REDIS_URL": lossy, "DATA_DIR": str(folder / "data")}
        migrate = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.migrate", env={**os.environ, **env}
        )
        assert await migrate.wait() == 0
        env |= {"RATE_LIMITS": "off", "LOG_LEVEL": "WARNING"}
        run.webs = await asyncio.to_thread(start_many, env, PROCESSES)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http:
            crowd = await people(http, run.webs[0].url, PEOPLE)
            members: dict[str, list[Person]] = {}
            for _ in range(CONVERSATIONS):
                group = run.random.sample(crowd, MEMBERS)
                members[await group[0].group(*group[1:])] = group
            run.sent = {conversation: {} for conversation in members}
            followers = [
                Follower(
                    person.user["username"], http, person.tokens["accessToken"],
                    [c for c, group in members.items() if person in group],
                    run.urls, run.ledger, random.Random(run.random.random()),
                )
                for person in crowd
                if any(person in group for group in members.values())
            ]  # fmt: skip
            async with asyncio.TaskGroup() as tasks:
                follow = [tasks.create_task(follower.run()) for follower in followers]
                await asyncio.gather(*(follower.ready.wait() for follower in followers))
                faults = tasks.create_task(run.faults(env, redis))
                await run.send_all(members)
                await faults
                took = time.monotonic() - began
                await run.settled(followers)
                for task in follow:
                    task.cancel()
            await run.check(mongo.url, followers)
    finally:
        codes = [await asyncio.to_thread(web.stop) for web in run.webs]
        proxy.close()
        for server in (redis.server, mongo, sql):
            await asyncio.to_thread(server.stop)
    if any(codes):
        run.ledger.wrong(f"processes ended with {codes}")
    ledger = run.ledger
    print(
        f"{run.done()} messages in {took:.0f} s, {run.retries} tries again, slowest send {run.slowest_s:.1f} s; "
        f"{ledger.delivered} deliveries, {ledger.cuts} cuts, {ledger.resumed} topics resumed; "
        f"{proxy.lost} of {proxy.lost + proxy.passed} pub/sub messages lost; "
        f"{ledger.rereads} topics read again after Redis was restarted"
    )
    for violation in ledger.violations:
        print("VIOLATION", violation)
    print(f"soak {'failed' if ledger.violations else 'passed'} (seed {seed})")
    return 1 if ledger.violations else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Exactness under faults.")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    a = parser.parse_args()
    print(f"soak: seed {a.seed}, {a.messages} messages", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        return asyncio.run(soak(a.messages, a.seed, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
