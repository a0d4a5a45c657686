"""What all contracts share: the base of every DTO and request body, and the envelope.

Names are camelCase on the wire and snake_case in code. Bodies refuse what they don't know only where it matters;
unknown fields are ignored, so that an older server takes a newer client's body.
"""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints
from pydantic.alias_generators import to_camel

from protocols.times import iso

Time = Annotated[datetime, PlainSerializer(iso, return_type=str)]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


class Dto(BaseModel):
    """An answer's object."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    def wire(self, exclude: set[str] | None = None) -> bytes:
        """The object as JSON, ready to be put into a frame."""
        return self.model_dump_json(by_alias=True, exclude=exclude).encode()


class Body(BaseModel):
    """A request's body or query; strict, so that a number is not taken for a text."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, strict=True)


class Query(BaseModel):
    """A request's query string: texts in, numbers and booleans read from them."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


class Page(Query):
    """What every list takes."""

    cursor: str | None = None
    limit: int = Field(20, ge=1, le=100)


class PaginationDto(Dto):
    next_cursor: str | None
    limit: int


class PersonDto(Dto):
    """A person, wherever embedded."""

    user_id: str
    username: str
    display_name: str
    avatar_url: str | None
