"""`python -m bench.publisher`: a process that publishes into a topic as the product does, on command.

A line on stdin is one of {"topic", "count", "rate", "burst"} and {"look": [topics]}; each is answered by one line.
The frame that followers get has 250 bytes of payload, as the floor's, and its data the clock of just before the call.
"""

import asyncio
import json
import os
import sys
import time

from protocols.events import Event
from stores.topics import Topics
from stores.wire import Line

FRAME_BYTES = 250
ACTOR = "0198f0aa-3f6e-7cc1-9e5b-0242ac120003"


def make_frame(topic: str, seq: int) -> str:
    """The payload that followers get, but for the epoch in its id."""
    head = (
        f'{{"op":"event","topic":"{topic}","id":"k3f9ab2c:{seq}","type":"MessageReceived","actorId":"{ACTOR}","data":'
    )
    data = f'{{"text":"@@{time.monotonic_ns()} '
    return head + data + "." * (FRAME_BYTES - len(head) - len(data) - 3) + '"}}'


def make_event(topic: str, seq: int) -> Event:
    data = make_frame(topic, seq).partition('"data":')[2][:-1]
    return Event("MessageReceived", data.encode(), actor_id=ACTOR, key=f"{seq}:user", seq=seq)


class Publisher:
    def __init__(self) -> None:
        self._topics = Topics(Line(os.environ["REDIS_URL"]))
        self._seqs: dict[str, int] = {}

    async def obey(self, command: dict[str, object]) -> dict[str, object]:
        if "look" in command:
            topics = [str(topic) for topic in command["look"]]  # type: ignore[attr-defined]
            chunks = await self._topics.look(topics)
            return {t: str(c.position) for t, c in zip(topics, chunks, strict=True) if c is not None}
        return await self._publish(**command)  # type: ignore[arg-type]

    async def _publish(self, topic: str, count: int, rate: float, burst: int) -> dict[str, object]:
        loop = asyncio.get_running_loop()
        began = due = loop.time()
        for _ in range(count):
            await asyncio.sleep(max(0.0, due - loop.time()))
            due += 1 / rate
            first = self._seqs.get(topic, 0) + 1
            events = [make_event(topic, first + i) for i in range(burst)]
            [answers] = await self._topics.publish([(topic, events)])
            if answers.dropped or set(answers.each) != {"ok"}:
                raise SystemExit(f"{topic} answered {answers}")
            self._seqs[topic] = first + burst - 1
        return {"seconds": loop.time() - began}


def main() -> None:
    with asyncio.Runner() as runner:

        async def make() -> Publisher:
            return Publisher()

        publisher = runner.run(make())
        for line in sys.stdin:
            print(json.dumps(runner.run(publisher.obey(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
