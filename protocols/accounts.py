"""Accounts on the wire: what clients send to sign in, and what they are told about themselves."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from typing_extensions import TypedDict

from protocols.contracts import Body, Time

PASSWORD_CHARS_MIN = 10
PASSWORD_CHARS_MAX = 1_024  # hashing costs the same for all of them; more is no password
EMAIL_CHARS_MAX = 254  # RFC 5321's path, without its brackets
DISPLAY_NAME_CHARS_MAX = 50
TOKEN_CHARS_MAX = 256  # refresh tokens have 43
RESERVED_USERNAMES = frozenset(
    {  # paths, roles, and whom people would trust
        "about", "abuse", "account", "admin", "administrator", "api", "auth", "docs", "everyone", "feed",
        "health", "help", "hubs", "info", "mail", "me", "media", "moderator", "null", "official",
        "postmaster", "posts", "privacy", "root", "search", "security", "settings", "shorts", "static",
        "status", "support", "system", "terms", "undefined", "user", "users", "videos", "webmaster", "wechat",
    }
)  # fmt: skip

_USERNAME = re.compile(r"[a-z0-9_.]{3,30}")
_LABEL = r"[^\s@\x00-\x20\x7f<>()\[\],;:\\\".]+"
_EMAIL = re.compile(rf"{_LABEL}(\.{_LABEL})*@{_LABEL}(\.{_LABEL})+")


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold the character NUL")
    return text


def _username(text: str) -> str:
    lowered = text.lower()
    if _USERNAME.fullmatch(lowered) is None:
        raise ValueError("must be 3-30 of a-z 0-9 _ .")
    if lowered in RESERVED_USERNAMES:
        raise ValueError("is reserved")
    return lowered


def _email(text: str) -> str:
    if _EMAIL.fullmatch(text) is None:
        raise ValueError("must be an e-mail address")
    return text


# PostgreSQL keeps no NUL, so that it is refused in every text that goes there.
NoNul = AfterValidator(_without_nul)

Username = Annotated[str, StringConstraints(max_length=30), AfterValidator(_username)]
Email = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=EMAIL_CHARS_MAX), NoNul, AfterValidator(_email)
]
Login = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=EMAIL_CHARS_MAX), NoNul]
NewPassword = Annotated[str, StringConstraints(min_length=PASSWORD_CHARS_MIN, max_length=PASSWORD_CHARS_MAX), NoNul]
GivenPassword = Annotated[str, StringConstraints(max_length=PASSWORD_CHARS_MAX), NoNul]
DisplayName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=DISPLAY_NAME_CHARS_MAX), NoNul
]
GivenToken = Annotated[str, StringConstraints(max_length=TOKEN_CHARS_MAX), NoNul]


@dataclass(frozen=True, slots=True)
class Device:
    """Where a request comes from, as it is shown to the user in the list of sessions."""

    user_agent: str
    address: str


class RegisterBody(Body):
    username: Username
    email: Email
    password: NewPassword
    display_name: DisplayName | None = None


class LoginBody(Body):
    login: Login
    password: GivenPassword


class RefreshBody(Body):
    refresh_token: GivenToken


class PasswordBody(Body):
    current_password: GivenPassword
    new_password: NewPassword


class UserDto(TypedDict):
    """An account, as its owner sees it."""

    userId: str
    username: str
    displayName: str
    avatarUrl: str | None
    email: str
    emailVerified: bool
    roles: list[str]
    createdAt: Time


class SignedInDto(TypedDict):
    user: UserDto
    accessToken: str
    refreshToken: str
    expiresIn: int  # seconds


class SessionDto(TypedDict):
    sessionId: str
    userAgent: str
    address: str
    createdAt: Time
    lastUsedAt: Time
    current: bool
