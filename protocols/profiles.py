"""Profiles on the wire."""

from typing import Annotated

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from protocols.contracts import Id, Query, Time

PROFILES_AT_ONCE_MAX = 100


def _split(text: object) -> object:
    return text.split(",") if isinstance(text, str) else text


class ProfilesQuery(Query):
    ids: Annotated[list[Id], BeforeValidator(_split), Field(min_length=1, max_length=PROFILES_AT_ONCE_MAX)]


class UserProfileDto(TypedDict):
    userId: str
    username: str
    displayName: str
    bio: str
    avatarUrl: str | None
    bannerUrl: str | None
    createdAt: Time
