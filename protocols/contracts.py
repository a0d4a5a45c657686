"""What all contracts share.

What is answered are typed dictionaries with the names of the wire (`...Dto`): plain data, ready for JSON, made once.
What is asked are pydantic models (`...Body`, `...Query`): camelCase on the wire, snake_case in code; unknown fields are
ignored, so that an older server takes a newer client's body.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict  # pydantic reads its types before Python 3.12

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]  # what `iso` makes
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


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


class PaginationDto(TypedDict):
    nextCursor: str | None
    limit: int


class PersonDto(TypedDict):
    """A person, wherever embedded."""

    userId: str
    username: str
    displayName: str
    avatarUrl: str | None
