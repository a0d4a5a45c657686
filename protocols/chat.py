"""Chat on the wire: what is asked and what is answered."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from protocols.contracts import Body, Dto, Id, PersonDto, Query, Time

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


class ChatMessageDto(Dto):
    message_id: str
    conversation_id: str
    seq: int
    kind: MessageKind
    system: None = None
    sender_id: str
    client_message_id: str
    text: str | None
    media: tuple[()] = ()
    reply_to: str | None
    mentions: tuple[str, ...] = ()
    reactions: dict[str, int] = {}
    my_reaction: str | None = None
    rev: int
    created_at: Time
    edited_at: Time | None = None
    deleted_at: Time | None = None


class ReadMarkDto(Dto):
    user_id: str
    last_read_seq: int


class ConversationSummaryDto(Dto):
    conversation_id: str
    type: ConversationType
    title: str | None
    avatar_url: str | None
    peer: PersonDto | None
    role: Role
    member_count: int
    last_seq: int
    last_message: ChatMessageDto | None
    last_read_seq: int
    unread_count: int
    mention_count: int
    muted: bool
    request: bool
    read_marks: list[ReadMarkDto] | None
    rev: int
    created_at: Time
    updated_at: Time


class MemberDto(Dto):
    user_id: str
    role: Role
    joined_at: Time
    person: PersonDto


class ReadStateDto(Dto):
    last_read_seq: int
    unread_count: int
    mention_count: int


class TypingIndicatorDto(Dto):
    conversation_id: str
    user_id: str
