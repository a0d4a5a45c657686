"""What a client may call over a stream: method names, their arguments, and the one service call behind each."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from pydantic import BaseModel, ValidationError

from handlers.endpoints import field_errors
from handlers.keys import RATES, READING, SENDER
from protocols.chat import ChatMessageDto, MarkReadArgs, ReadStateDto, SendMessageArgs, TypingArgs
from protocols.errors import Failure, Kind, invalid
from protocols.identity import Viewer
from services.chat.publishing import message_dto
from services.chat.sending import Draft


async def send_message(app: web.Application, viewer: Viewer, args: SendMessageArgs) -> ChatMessageDto:
    draft = Draft(args.conversation_id, viewer.user_id, args.client_message_id, args.text, args.reply_to)
    return message_dto((await app[SENDER].send(viewer, draft)).message)


async def mark_read(app: web.Application, viewer: Viewer, args: MarkReadArgs) -> ReadStateDto:
    return await app[READING].read(viewer, args.conversation_id, args.seq)


async def typing_started(app: web.Application, viewer: Viewer, args: TypingArgs) -> None:
    await app[READING].typing(viewer, args.conversation_id, started=True)


async def typing_stopped(app: web.Application, viewer: Viewer, args: TypingArgs) -> None:
    await app[READING].typing(viewer, args.conversation_id, started=False)


Method = Callable[..., Awaitable[Mapping[str, object] | None]]

METHODS: dict[str, tuple[type[BaseModel], Method]] = {
    "SendMessage": (SendMessageArgs, send_message),
    "MarkRead": (MarkReadArgs, mark_read),
    "TypingStarted": (TypingArgs, typing_started),
    "TypingStopped": (TypingArgs, typing_stopped),
}


async def call(app: web.Application, viewer: Viewer, name: str, args: dict[str, object]) -> object:
    """The method's answer as JSON-ready data. Raises Failure."""
    if name not in METHODS:
        raise Failure(Kind.NOT_FOUND, "unknown_method", "There is no such method.")
    model, method = METHODS[name]
    await app[RATES].admit(viewer.user_id, name)
    try:
        parsed = model.model_validate(args)
    except ValidationError as error:
        raise invalid(*field_errors(error)) from None
    return await method(app, viewer, parsed) or {}
