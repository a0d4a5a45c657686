"""What a web process has of chat, without its HTTP: several in one test stand for several processes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pymongo.monitoring import CommandListener
from redis.asyncio import Redis

from protocols.chat import CreateConversationBody
from protocols.events import Entry
from protocols.identity import Viewer
from protocols.ids import new_id
from protocols.positions import Position, parse_position
from protocols.times import now
from services.chat.activity import Activity
from services.chat.conversations import Conversations
from services.chat.publishing import Publisher
from services.chat.reading import Reading, render_member
from services.chat.roster import Rosters
from services.chat.sending import Draft, Sender, Sent
from services.chat.summaries import Summaries
from services.outbox import Outbox
from services.positions import Positions
from services.profiles import Profiles
from stores.conversations import Conversations as ConversationStore
from stores.messages import Message, Messages
from stores.mongo import Client, Database, open_mongo
from stores.outbox import OutboxStore
from stores.profiles import Profiles as ProfileStore
from stores.redis import open_redis
from stores.topics import Chunk, Topics
from stores.wire import Line
from tests.backing import Backing

LOG_MAX = 1_000


@dataclass
class Chat:
    mongo: Client
    redis: Redis
    line: Line
    messages: Messages
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.database = self.mongo.get_default_database("wechat")
        self.store = ConversationStore(self.mongo, self.database)
        self.topics = Topics(self.line)
        self.people = Profiles(ProfileStore(self.database))
        self.positions = Positions(self.topics, self.messages)
        self.rosters = Rosters(self.store, self.messages)
        self.publisher = Publisher(self.topics, self.messages, new_id())
        self.summaries = Summaries(self.store, self.messages, self.people)
        self.rows = OutboxStore(self.database, "conversation_members", "conversationId")
        self.marks = Outbox(self.rows, self.topics, render_member)
        self.activity = Activity(self.store, self.summaries, self.marks, self.topics)
        self.sender = Sender(self.messages, self.rosters, self.publisher, self.activity.note)
        self.conversations = Conversations(
            self.store, self.rosters, self.summaries, self.activity, self.people, self.positions
        )
        self.reading = Reading(
            self.store, self.messages, self.rosters, self.marks, self.activity, self.topics, self.positions
        )

    async def person(self) -> Viewer:
        """Somebody new."""
        user_id = new_id()
        username = "u" + user_id.replace("-", "")[-20:]
        await self.people.create(user_id, username, "Somebody", now())
        return Viewer(user_id, new_id(), username, (), now().timestamp() + 900)

    async def crowd(self, count: int) -> list[Viewer]:
        return list(await asyncio.gather(*(self.person() for _ in range(count))))

    async def create(self, kind: str, owner: Viewer, *others: Viewer) -> str:
        body = {"type": kind, "memberIds": [other.user_id for other in others]}
        created = await self.conversations.create(owner, CreateConversationBody.model_validate(body))
        return created.summary["conversationId"]

    async def send(self, sender: Viewer, conversation_id: str, text: str = "hello", client_id: str = "") -> Sent:
        return await self.sender.send(sender, Draft(conversation_id, sender.user_id, client_id or new_id(), text))

    async def send_many(self, sender: Viewer, conversation_id: str, texts: list[str]) -> list[Sent]:
        """All at once, so that they wait together; the answers in the order of the texts."""
        return list(await asyncio.gather(*(self.send(sender, conversation_id, text) for text in texts)))

    async def stored(self, conversation_id: str) -> list[Message]:
        return await self.messages.after(conversation_id, 0, 100_000)

    async def position(self, topic: str) -> str:
        return (await self.positions.before_read(topic))[topic]

    async def chunk(self, topic: str, after: str) -> Chunk:
        chunk = await self.topics.read(topic, parse_position(after), LOG_MAX)
        assert chunk is not None and chunk.holds(parse_position(after)), "the log was lost"
        return chunk

    async def log(self, topic: str, after: str, kind: str = "") -> list[Entry]:
        """What the topic has above a position; of one type, where that is given."""
        return [entry for entry in (await self.chunk(topic, after)).entries if not kind or entry.type == kind]

    async def quiet(self) -> None:
        """Wait until nothing is in flight in this process: what it stored is published, if Redis is there."""
        await self.sender._quiet.wait()


@asynccontextmanager
async def chat(
    backing: Backing,
    messages: type[Messages] = Messages,
    redis_url: str | None = None,
    listeners: Sequence[CommandListener] = (),
) -> AsyncIterator[Chat]:
    """One process's chat, its sender running; activity is flushed by the test."""
    mongo, redis = open_mongo(backing.mongodb_url, *listeners), open_redis(redis_url or backing.redis_url)
    line = Line(redis_url or backing.redis_url)
    made = Chat(mongo, redis, line, messages(mongo.get_default_database("wechat")))
    sender = asyncio.create_task(made.sender.run())
    try:
        yield made
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        line.close()
        await redis.aclose()
        await asyncio.to_thread(mongo.close)


def beginning(position: str) -> str:
    """The same epoch's first position: everything that is kept lies above it."""
    return str(Position(parse_position(position).epoch, 0))
