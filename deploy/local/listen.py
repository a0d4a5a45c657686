"""`python -m deploy.local.listen --token T [--topic conv:..] [--after POSITION] [--count N]`: print what comes live.

A small native websocket client for a terminal: a line a frame. URL by API (http://localhost:8080).
"""

import argparse
import asyncio
import os
import sys

import aiohttp
import orjson


async def listen(url: str, token: str, topics: list[str], after: str | None, count: int) -> int:
    """Until `count` events came (0: for ever). The exit code: 0, or 1 where the server closed."""
    async with aiohttp.ClientSession() as http, http.ws_connect(url + "/ws", protocols=("wechat.v1",)) as socket:
        await socket.send_json({"op": "auth", "token": token})
        if topics:
            wanted = [{"topic": topic, **({"after": after} if after else {})} for topic in topics]
            await socket.send_json({"op": "subscribe", "ref": 1, "topics": wanted})
        seen = 0
        async for message in socket:
            print(message.data, flush=True)
            seen += orjson.loads(message.data)["op"] == "event"
            if count and seen >= count:
                return 0
        print(f"closed by the server: {socket.close_code}", file=sys.stderr)
        return 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Print what comes live, a line a frame.")
    parser.add_argument("--token", required=True, help="an access token")
    parser.add_argument("--topic", action="append", default=[], help="conv:<id>, ...; user:<you> comes by itself")
    parser.add_argument("--after", help="a position to go on from")
    parser.add_argument("--count", type=int, default=0, help="stop after so many events")
    a = parser.parse_args()
    url = os.environ.get("API", "http://localhost:8080")
    try:
        return asyncio.run(listen(url, a.token, a.topic, a.after, a.count))
    except KeyboardInterrupt:
        return 0
    except (aiohttp.ClientError, OSError) as error:
        print(f"listen: {url} can't be reached: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
