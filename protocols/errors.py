"""What can go wrong, in the words that clients are told. One family; the edges map a kind to a status or a close code.

Failure
  kind     how a client should react (Kind)
  code     stable, machine-readable: "conversation_not_found"
  message  one sentence for a developer; never an internal name or a stack
"""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    WRONG_TYPE = "wrong_type"
    INVALID = "invalid"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class FieldError:
    field: str
    message: str


class Failure(Exception):
    """An answer that is not a success. `retry_after` is in whole seconds."""

    def __init__(
        self,
        kind: Kind,
        code: str,
        message: str,
        *,
        details: tuple[FieldError, ...] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.kind, self.code, self.message = kind, code, message
        self.details, self.retry_after = details, retry_after


def malformed(message: str, code: str = "malformed") -> Failure:
    return Failure(Kind.MALFORMED, code, message)


def unauthenticated(message: str = "A valid access token is needed.", code: str = "unauthenticated") -> Failure:
    return Failure(Kind.UNAUTHENTICATED, code, message)


def forbidden(message: str, code: str = "not_allowed") -> Failure:
    return Failure(Kind.FORBIDDEN, code, message)


def not_found(what: str) -> Failure:
    """Absent, or not the viewer's to see: both in the same words."""
    return Failure(Kind.NOT_FOUND, f"{what}_not_found", f"There is no such {what}, or it is not yours to see.")


def conflict(message: str, code: str = "conflict", retry_after: int | None = None) -> Failure:
    return Failure(Kind.CONFLICT, code, message, retry_after=retry_after)


def invalid(*details: FieldError) -> Failure:
    return Failure(Kind.INVALID, "invalid", "Some fields are not valid.", details=details)


def invalid_field(field: str, message: str) -> Failure:
    return invalid(FieldError(field, message))


def rate_limited(retry_after: int) -> Failure:
    return Failure(Kind.RATE_LIMITED, "rate_limited", "Too many requests; wait and try again.", retry_after=retry_after)


def unavailable(what: str, retry_after: int = 1) -> Failure:
    return Failure(
        Kind.UNAVAILABLE, "unavailable", f"The {what} can't be reached right now; try again.", retry_after=retry_after
    )
