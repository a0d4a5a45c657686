"""`python -m bench.empty`: the product with three endpoints more, to compare with and to look inside.

POST /bench/empty                        authenticated, JSON in, JSON out, as a message looks; no store is asked
POST /bench/naive/{conversationId}       the obvious way to send: a counter, an insert, a script call, a request each
GET  /bench/memory                       bytes by source file since the last look, where PYTHONTRACEMALLOC is set
"""

import asyncio
import gc
import signal
import sys
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace

import uvloop
from aiohttp import web
from pymongo import ReturnDocument

from handlers.answers import Reply
from handlers.endpoints import Call, Endpoints
from handlers.keys import STOP
from protocols.chat import ChatMessageDto, SendMessageBody
from server import logs
from server.__main__ import BACKLOG
from server.app import make_app
from services.chat.publishing import message_dto, received
from services.chat.sending import Draft, numbered
from settings import Settings
from stores.messages import Message
from stores.mongo import INDEXES, Database, open_mongo
from stores.topics import Topics
from stores.wire import Line

DATABASE = web.AppKey("bench database", Database)
TOPICS = web.AppKey("bench topics", Topics)
SEEN = web.AppKey("bench snapshot", list[tracemalloc.Snapshot])
FILES_SHOWN = 14

endpoints = Endpoints("bench")


def message(call: Call, conversation_id: str, body: SendMessageBody, seq: int) -> Message:
    draft = Draft(conversation_id, call.viewer.user_id, body.client_message_id, body.text, body.reply_to)
    return numbered(draft, seq)


@endpoints.post("/bench/empty", status=201)
async def empty(call: Call, body: SendMessageBody) -> Reply[ChatMessageDto]:
    return Reply(message_dto(message(call, call.viewer.user_id, body, 1)))


@endpoints.post("/bench/naive/{conversationId}", status=201)
async def naive(call: Call, body: SendMessageBody) -> Reply[ChatMessageDto]:
    database, conversation_id = call.app[DATABASE], call.path("conversationId")
    counter = await database["bench_counters"].find_one_and_update(
        {"_id": conversation_id}, {"$inc": {"seq": 1}}, upsert=True, return_document=ReturnDocument.AFTER
    )
    made = message(call, conversation_id, body, int(counter["seq"]))
    await database["bench_messages"].insert_one({"_id": made.message_id, **message_dto(made)})
    # Whoever is first in the topic, not in the store: without a number it takes all.
    await call.app[TOPICS].publish([(f"conv:{conversation_id}", [replace(received(made), seq=0)])])
    return Reply(message_dto(made))


@endpoints.get("/bench/memory")
async def memory(call: Call) -> Reply[dict[str, object]]:
    gc.collect()
    seen = call.app[SEEN]
    seen.append(tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, tracemalloc.__file__)]))
    changes = seen[-1].compare_to(seen[-2], "lineno") if len(seen) > 1 else []
    lines = {f"{'/'.join(c.traceback[0].filename.split('/')[-2:])}:{c.traceback[0].lineno}": c for c in changes}
    return Reply({name: [c.size_diff, c.count_diff] for name, c in list(lines.items())[:FILES_SHOWN]})


async def stores(app: web.Application) -> AsyncIterator[None]:
    settings = Settings.load()
    mongo, line = open_mongo(settings.mongodb_url), Line(settings.redis_url)
    app[DATABASE], app[TOPICS] = mongo.get_default_database("wechat"), Topics(line)
    await app[DATABASE]["bench_messages"].create_indexes(INDEXES["messages"])
    yield
    line.close()
    await asyncio.to_thread(mongo.close)


async def serve(settings: Settings, access: logs.AccessLines | None) -> None:
    app = make_app(settings, access)
    app.cleanup_ctx.append(stores)
    app[SEEN] = []
    endpoints.install(app)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app[STOP].set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG, reuse_port=True).start()
        await app[STOP].wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    chosen = Settings.load()
    sys.exit(uvloop.run(serve(chosen, logs.set_up(chosen))))
