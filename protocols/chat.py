"""Chat on the wire: what is asked and what is answered."""

from typing import Annotated, Literal, NotRequired

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from typing_extensions import TypedDict

from protocols.contracts import Body, Id, PersonDto, Query, Time

MessageKind = Literal["user", "system"]
ConversationType = Literal["direct", "group"]
Role = Literal["owner", "admin", "member"]

TEXT_MAX = 4_000
MEMBERS_A_CREATE_MAX = 1_000


def _visible(text: str) -> str:
    if not text.strip() or "\x00" in text:
        raise ValueError("must hold at least one visible character, and no NUL")
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=TEXT_MAX), AfterValidator(_visible)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_visible)]
ClientMessageId = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class CreateConversationBody(Body):
    type: ConversationType
    member_ids: Annotated[list[Id], Field(min_length=1, max_length=MEMBERS_A_CREATE_MAX)]
    title: Title | None = None

    @model_validator(mode="after")
    def fits_its_type(self) -> "CreateConversationBody":
        if self.type == "direct" and len(set(self.member_ids)) != 1:
            raise ValueError("a direct conversation has one other member")
        if self.type == "direct" and self.title is not None:
            raise ValueError("a direct conversation has no title")
        return self


class SendMessageBody(Body):
    client_message_id: ClientMessageId
    text: Text
    reply_to: Id | None = None


class SendMessageArgs(SendMessageBody):
    """The same by websocket."""

    conversation_id: Id


class MarkReadBody(Body):
    seq: Annotated[int, Field(ge=0, lt=1 << 53)]


class MarkReadArgs(MarkReadBody):
    conversation_id: Id


class TypingArgs(Body):
    conversation_id: Id


class HistoryQuery(Query):
    before: Annotated[int, Field(ge=0, lt=1 << 53)] | None = None
    after: Annotated[int, Field(ge=0, lt=1 << 53)] | None = None
    cursor: str | None = None
    limit: int = Field(50, ge=1, le=100)


class ChatMessageDto(TypedDict):
    messageId: str
    conversationId: str
    seq: int
    kind: MessageKind
    system: None
    senderId: str
    clientMessageId: str
    text: str | None
    media: list[str]
    replyTo: str | None
    mentions: list[str]
    reactions: dict[str, int]
    myReaction: NotRequired[str | None]  # the viewer's own: absent in events
    rev: int
    createdAt: Time
    editedAt: Time | None
    deletedAt: Time | None


class ReadMarkDto(TypedDict):
    userId: str
    lastReadSeq: int


class ConversationSummaryDto(TypedDict):
    conversationId: str
    type: ConversationType
    title: str | None
    avatarUrl: str | None
    peer: PersonDto | None
    role: Role
    memberCount: int
    lastSeq: int
    lastMessage: ChatMessageDto | None
    lastReadSeq: int
    unreadCount: int
    mentionCount: int
    muted: bool
    request: bool
    readMarks: list[ReadMarkDto] | None
    rev: int
    createdAt: Time
    updatedAt: Time


class MemberDto(TypedDict):
    userId: str
    role: Role
    joinedAt: Time
    person: PersonDto


class ReadStateDto(TypedDict):
    lastReadSeq: int
    unreadCount: int
    mentionCount: int


class TypingIndicatorDto(TypedDict):
    conversationId: str
    userId: str
