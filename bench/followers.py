"""Followers that are cut off at random and hop between processes and protocols, and check all that they are told."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

CONNECT_S = 3.0
FIRST_S = 10.0  # for the first answer
PAGE = 100

Frame = dict[str, Any]


@dataclass
class Ledger:
    """What all followers together saw, and what should not have been."""

    may_lose: bool = False  # from the moment on in which the log was lost for good reason
    violations: list[str] = field(default_factory=list)
    rereads: int = 0
    cuts: int = 0
    resumed: int = 0
    delivered: int = 0

    def wrong(self, text: str) -> None:
        if len(self.violations) < 100:
            self.violations.append(text)


@dataclass
class Follower:
    """One person's client. `last` has the newest seq seen of each conversation, each in order, each once."""

    name: str
    http: aiohttp.ClientSession
    token: str
    conversations: Sequence[str]
    urls: Callable[[], list[str]]
    ledger: Ledger
    random: random.Random
    last: dict[str, int] = field(default_factory=dict)
    read_to: dict[str, int] = field(default_factory=dict)
    positions: dict[str, str] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until cancelled: connect somewhere, somehow, stay for a while, be cut off."""
        while True:
            stay_s = self.random.uniform(0.3, 4.0)
            try:
                async with self._stream() as frames, asyncio.timeout(FIRST_S) as limit:
                    async for frame in frames:
                        await self._hear(frame)
                        if frame["op"] == "subscribed":
                            limit.reschedule(asyncio.get_running_loop().time() + stay_s)
            except (aiohttp.ClientError, OSError, TimeoutError, EOFError):
                self.ledger.cuts += 1
                await asyncio.sleep(self.random.uniform(0.0, 0.1))

    @asynccontextmanager
    async def _stream(self) -> AsyncIterator[AsyncIterator[Frame]]:
        url = self.random.choice(self.urls())
        if self.random.random() < 0.5:
            async with asyncio.timeout(CONNECT_S):
                socket = await self.http.ws_connect(url + "/ws", protocols=("wechat.v1",), max_msg_size=0)
            try:
                yield self._socket(socket)
            finally:
                cut(socket)
        else:
            query = [("user", "0"), *(("topic", f"conv:{c}") for c in self.conversations)]
            headers = {"Authorization": f"Bearer {self.token}"}
            if self.positions:
                headers["Last-Event-ID"] = ",".join(self.positions.get(f"conv:{c}", "-") for c in self.conversations)
            async with asyncio.timeout(CONNECT_S):
                answer = await self.http.get(url + "/events", params=query, headers=headers)
            try:
                answer.raise_for_status()
                yield self._events(answer)
            finally:
                answer.close()

    async def _socket(self, socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[Frame]:
        await socket.send_json({"op": "auth", "token": self.token})
        wanted = [{"topic": f"conv:{c}"} for c in self.conversations]
        for topic in wanted:
            if topic["topic"] in self.positions:
                topic["after"] = self.positions[topic["topic"]]
        await socket.send_json({"op": "subscribe", "ref": 1, "topics": wanted})
        async for message in socket:
            yield orjson.loads(message.data)
        raise EOFError

    async def _events(self, answer: aiohttp.ClientResponse) -> AsyncIterator[Frame]:
        """The stream's events as native frames."""
        frame: Frame = {}
        ids: list[str] = []
        async for raw in answer.content:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "id":
                ids = value.split(",")
            elif name == "event":
                frame = {"op": value if value in ("subscribed", "lost", "unsubscribed") else "event", "type": value}
            elif name == "data":
                frame |= orjson.loads(value)
            elif not name and frame:
                if frame["op"] == "event" and ids:
                    frame["id"] = ids[list(self.conversations).index(frame["topic"][5:])]
                yield frame
                frame = {}
        raise EOFError

    async def _hear(self, frame: Frame) -> None:
        if frame["op"] == "event" and frame["type"] == "MessageReceived":
            self._received(frame)
        elif frame["op"] == "subscribed":
            for topic in frame["topics"]:
                await self._subscribed(topic)
            self.ready.set()
        elif frame["op"] == "lost":
            await self._read_again(frame["topic"], frame["position"], "lost")
        elif frame["op"] == "unsubscribed":
            raise EOFError

    async def _subscribed(self, topic: Frame) -> None:
        if "error" in topic:
            if topic["error"]["code"] != "unavailable" or not self.ledger.may_lose:
                self.ledger.wrong(f"{self.name}: refused {topic}")
            raise EOFError
        if "recovered" not in topic:
            self.positions[topic["topic"]] = topic["position"]
        elif topic["recovered"]:
            self.ledger.resumed += 1
        else:
            await self._read_again(topic["topic"], topic["position"], "recovered: false")

    async def _read_again(self, topic: str, position: str, why: str) -> None:
        """Continuity is gone: what is missing comes by REST."""
        if not self.ledger.may_lose:
            self.ledger.wrong(f"{self.name}: {why} for {topic} at {self.positions.get(topic)}, now {position}")
        self.ledger.rereads += 1
        conversation = topic[5:]
        headers = {"Authorization": f"Bearer {self.token}"}
        while True:
            path = (
                f"/api/chat/conversations/{conversation}/messages?after={self.last.get(conversation, 0)}&limit={PAGE}"
            )
            async with self.http.get(self.random.choice(self.urls()) + path, headers=headers) as answer:
                answer.raise_for_status()
                page = (await answer.json())["data"]
            for message in page:
                self._next(conversation, message["seq"])
            self.read_to[conversation] = self.last.get(conversation, 0)
            if len(page) < PAGE:
                break
        self.positions[topic] = position  # only now: who is cut off while reading must be told again

    def _received(self, frame: Frame) -> None:
        conversation, seq = frame["topic"][5:], frame["data"]["seq"]
        self.positions[frame["topic"]] = frame["id"]
        self.ledger.delivered += 1
        if seq > self.read_to.get(conversation, 0):
            self._next(conversation, seq)

    def _next(self, conversation: str, seq: int) -> None:
        last = self.last.get(conversation, 0)
        if seq != last + 1:
            self.ledger.wrong(f"{self.name}: {conversation} got {seq} after {last}")
        self.last[conversation] = max(last, seq)


def cut(socket: aiohttp.ClientWebSocketResponse) -> None:
    """As a network does it: without a close frame."""
    transport = socket.get_extra_info("socket") and socket._conn and socket._conn.transport
    if transport:
        transport.abort()
