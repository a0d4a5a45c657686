"""Real web processes, and people who use them: REST and the native websocket, as any client would."""

import asyncio
import atexit
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Json = dict[str, Any]

PASSWORD = "correct horse battery"
START_S = 20.0
ANSWER_S = 10.0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass
class Web:
    """One `python -m server`; what it logs is shown when it does not start."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Any
    said: str = ""

    @classmethod
    def start(cls, env: Mapping[str, str], **overrides: str) -> "Web":
        """Start without waiting: see `ready`."""
        port = overrides.pop("PORT", str(free_port()))
        log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        environment = {
            **os.environ,
            **env,
            "HOST": "127.0.0.1",
            "PORT": port,
            "RATE_LIMIT_FACTOR": "1000",
            "DRAIN_SECONDS": "0.2",
            **overrides,
        }
        process = subprocess.Popen([sys.executable, "-m", "server"], env=environment, stdout=log, stderr=log)
        atexit.register(process.kill)  # of a test that failed before it stopped its process; else it does nothing
        return cls(f"http://127.0.0.1:{port}", process, log)

    def ready(self) -> "Web":
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.url + "/readyz", timeout=2):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise AssertionError(f"the web process did not become ready:\n{self.output()}")

    def output(self) -> str:
        if not self.log.closed:
            self.log.seek(0)
            self.said = self.log.read().decode()
        return self.said

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code. What was logged stays readable."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self.output()
        self.log.close()
        return code


def start_many(env: Mapping[str, str], count: int, **overrides: str) -> list[Web]:
    """Several, starting at the same time."""
    return [web.ready() for web in [Web.start(env, **overrides) for _ in range(count)]]


@dataclass
class Person:
    """Somebody signed in. `url` may be changed: any process will do."""

    http: aiohttp.ClientSession
    url: str
    user: Json
    tokens: Json
    sockets: "list[Socket]" = field(default_factory=list)

    @property
    def user_id(self) -> str:
        return str(self.user["userId"])

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['accessToken']}"}

    async def call(
        self, method: str, path: str, json: Any = None, url: str | None = None, **more: Any
    ) -> tuple[int, Json]:
        """Status and body ({} where there is none)."""
        headers = {**self.bearer, **more.pop("headers", {})}
        async with self.http.request(method, (url or self.url) + path, json=json, headers=headers, **more) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else {}

    async def ok(self, method: str, path: str, json: Any = None, url: str | None = None) -> Json:
        status, body = await self.call(method, path, json, url)
        assert status < 300, (status, body)
        return body

    async def direct(self, other: "Person") -> str:
        body = await self.ok("POST", "/api/chat/conversations", {"type": "direct", "memberIds": [other.user_id]})
        return str(body["data"]["conversationId"])

    async def group(self, *others: "Person", title: str = "group") -> str:
        members = [other.user_id for other in others]
        body = await self.ok("POST", "/api/chat/conversations", {"type": "group", "memberIds": members, "title": title})
        return str(body["data"]["conversationId"])

    async def send(self, conversation_id: str, text: str, client_id: str | None = None, url: str | None = None) -> Json:
        message = {"clientMessageId": client_id or secrets.token_hex(8), "text": text}
        body = await self.ok("POST", f"/api/chat/conversations/{conversation_id}/messages", message, url)
        return dict(body["data"])

    async def socket(self, url: str | None = None, after: str | None = None) -> "Socket":
        """A signed-in native websocket, its hello already read."""
        ws = await self.http.ws_connect((url or self.url) + "/ws", protocols=("wechat.v1",), max_msg_size=0)
        made = Socket(ws)
        self.sockets.append(made)
        await made.send({"op": "auth", "token": self.tokens["accessToken"], **({"after": after} if after else {})})
        made.hello = await made.next("hello")
        return made


@dataclass
class Socket:
    """Frames in order. `next` skips over frames of other kinds and keeps them in `passed`."""

    ws: aiohttp.ClientWebSocketResponse
    hello: Json = field(default_factory=dict)
    passed: list[Json] = field(default_factory=list)
    refs: int = 0

    async def send(self, frame: Json) -> None:
        await self.ws.send_json(frame)

    async def frame(self, wait_s: float = ANSWER_S) -> Json:
        async with asyncio.timeout(wait_s):
            message = await self.ws.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, (message, self.ws.close_code)
        return dict(message.json())

    async def next(self, op: str, wait_s: float = ANSWER_S, **match: Any) -> Json:
        """The next frame of this `op` in which the given fields are as said."""
        while True:
            frame = await self.frame(wait_s)
            if frame["op"] == op and all(frame.get(name) == value for name, value in match.items()):
                return frame
            self.passed.append(frame)

    async def event(self, kind: str, wait_s: float = ANSWER_S) -> Json:
        return await self.next("event", wait_s, type=kind)

    async def subscribe(self, *topics: str, **after: str) -> Json:
        """The answer. A position to go on from: `subscribe_after`."""
        return await self.subscribe_after(dict.fromkeys(topics))

    async def subscribe_after(self, topics: Mapping[str, str | None]) -> Json:
        self.refs += 1
        wanted = [{"topic": topic, **({"after": after} if after else {})} for topic, after in topics.items()]
        await self.send({"op": "subscribe", "ref": self.refs, "topics": wanted})
        return await self.next("subscribed", ref=self.refs)

    async def method(self, name: str, args: Json) -> Json:
        """The result or error frame of a call."""
        self.refs += 1
        await self.send({"op": "call", "ref": self.refs, "method": name, "args": args})
        while True:
            frame = await self.frame()
            if frame["op"] in ("result", "error") and frame.get("ref") == self.refs:
                return frame
            self.passed.append(frame)

    async def closed(self, wait_s: float = ANSWER_S) -> int | None:
        """Wait for the server's close, and answer its code."""
        async with asyncio.timeout(wait_s):
            while True:
                message = await self.ws.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return self.ws.close_code
                self.passed.append(dict(message.json()))


async def register(http: aiohttp.ClientSession, url: str) -> Person:
    """Somebody new."""
    name = "u" + secrets.token_hex(8)
    account = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    async with http.post(url + "/api/auth/register", json=account) as answer:
        body = await answer.json()
        assert answer.status == 201, body
    return Person(http, url, body["data"]["user"], body["data"])


async def people(http: aiohttp.ClientSession, url: str, count: int) -> list[Person]:
    return list(await asyncio.gather(*(register(http, url) for _ in range(count))))
