"""Where `control` was lost a process asks again what every subscription may, and ends what is over."""

import aiohttp

from stores.mongo import open_mongo
from stores.topics import Topics
from stores.wire import Line
from tests.backing import Backing
from tests.web import people


async def test_a_lost_control_ends_what_is_no_longer_allowed(
    http: aiohttp.ClientSession, app_url: str, migrated: Backing
) -> None:
    ann, bob = await people(http, app_url, 2)
    kept, lost = await ann.group(bob, title="kept"), await ann.group(bob, title="lost")
    socket = await bob.socket()
    await socket.subscribe(f"conv:{kept}", f"conv:{lost}")
    mongo, line = open_mongo(migrated.mongodb_url), Line(migrated.redis_url)
    members = mongo.get_default_database("wechat")["conversation_members"]
    await members.delete_one({"conversationId": lost, "userId": bob.user_id})
    await Topics(line).remove("control")  # as if Redis had forgotten it
    ended = await socket.next("unsubscribed")
    assert ended["topics"] == [f"conv:{lost}"] and ended["error"]["code"] == "not_member"
    await ann.send(lost, "not for bob")
    await ann.send(kept, "for both")
    assert (await socket.event("MessageReceived"))["data"]["conversationId"] == kept
    line.close()
    mongo.close()
