"""The README's conversation works when pasted."""

import os
import re
import subprocess
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parents[2]


def test_the_conversation_in_the_terminal_works_when_pasted(web_url: str) -> None:
    [script] = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env={**os.environ, "API": web_url}, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    sent, *heard = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert sent["data"]["text"] == "Hello, Bob!" and sent["data"]["seq"] == 1
    assert [frame["op"] for frame in heard] == ["hello", "subscribed", "event"]
    assert heard[-1]["type"] == "MessageReceived"
    assert heard[-1]["data"]["messageId"] == sent["data"]["messageId"]
