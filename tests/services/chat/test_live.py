"""Two people talk: from a POST to the other one's socket."""

import aiohttp

from tests.web import people


async def test_a_message_reaches_the_other_ones_socket(http: aiohttp.ClientSession, app_url: str) -> None:
    ann, bob = await people(http, app_url, 2)
    conversation_id = await ann.direct(bob)
    socket = await bob.socket()
    await socket.subscribe(f"conv:{conversation_id}")
    sent = await ann.send(conversation_id, "hello")
    event = await socket.event("MessageReceived")
    assert event["data"] == {name: value for name, value in sent.items() if name != "myReaction"}
    assert sent["seq"] == 1
