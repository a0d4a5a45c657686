"""Conversations and messages by REST."""

from handlers.answers import Reply
from handlers.endpoints import Call, Endpoints
from handlers.keys import CONVERSATIONS, READING, SENDER
from protocols.chat import (
    ChatMessageDto,
    ConversationSummaryDto,
    CreateConversationBody,
    HistoryQuery,
    MarkReadBody,
    MemberDto,
    ReadStateDto,
    SendMessageBody,
)
from protocols.contracts import Page, PaginationDto
from services.chat.publishing import message_dto
from services.chat.sending import Draft

endpoints = Endpoints("chat")

CONVERSATION = "/api/chat/conversations/{conversationId}"


@endpoints.get("/api/chat/conversations")
async def conversations(call: Call, query: Page) -> Reply[list[ConversationSummaryDto]]:
    page, following, positions = await call.app[CONVERSATIONS].page(call.viewer, query.cursor, query.limit)
    return Reply(page, PaginationDto(nextCursor=following, limit=query.limit), positions)


@endpoints.post("/api/chat/conversations", status=201)
async def create(call: Call, body: CreateConversationBody) -> Reply[ConversationSummaryDto]:
    created = await call.app[CONVERSATIONS].create(call.viewer, body)
    return Reply(created.summary, positions=created.positions, status=201 if created.made else 200)


@endpoints.get(CONVERSATION)
async def conversation(call: Call) -> Reply[ConversationSummaryDto]:
    summary, positions = await call.app[CONVERSATIONS].get(call.viewer, call.path("conversationId"))
    return Reply(summary, positions=positions)


@endpoints.get(CONVERSATION + "/members")
async def members(call: Call, query: Page) -> Reply[list[MemberDto]]:
    conversation_id = call.path("conversationId")
    page, following = await call.app[CONVERSATIONS].members(call.viewer, conversation_id, query.cursor, query.limit)
    return Reply(page, PaginationDto(nextCursor=following, limit=query.limit))


@endpoints.get(CONVERSATION + "/messages")
async def messages(call: Call, query: HistoryQuery) -> Reply[list[ChatMessageDto]]:
    history = await call.app[READING].history(call.viewer, call.path("conversationId"), query)
    pagination = PaginationDto(nextCursor=history.following, limit=query.limit)
    return Reply(history.messages, pagination, history.positions, {"lastSeq": history.last_seq})


@endpoints.post(CONVERSATION + "/messages", status=201)
async def send(call: Call, body: SendMessageBody) -> Reply[ChatMessageDto]:
    draft = Draft(call.path("conversationId"), call.viewer.user_id, body.client_message_id, body.text, body.reply_to)
    sent = await call.app[SENDER].send(call.viewer, draft)
    return Reply(message_dto(sent.message), status=200 if sent.repeated else 201)


@endpoints.put(CONVERSATION + "/read")
async def read(call: Call, body: MarkReadBody) -> Reply[ReadStateDto]:
    return Reply(await call.app[READING].read(call.viewer, call.path("conversationId"), body.seq))
