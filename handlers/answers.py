"""Success and error envelopes, and the one map from a kind of failure to a status."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import orjson
from aiohttp import hdrs, web
from multidict import CIMultiDict

from protocols.contracts import PaginationDto
from protocols.errors import Failure, Kind

JSON_HEADERS = CIMultiDict({hdrs.CONTENT_TYPE: "application/json", hdrs.CACHE_CONTROL: "no-store"})

T = TypeVar("T", covariant=True)

STATUS = {
    Kind.MALFORMED: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.TOO_LARGE: 413,
    Kind.WRONG_TYPE: 415,
    Kind.INVALID: 422,
    Kind.RATE_LIMITED: 429,
    Kind.UNAVAILABLE: 503,
}


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """An answer: `data`, and what stands beside it. `status` None means the endpoint's own."""

    data: T
    pagination: PaginationDto | None = None
    positions: Mapping[str, str] | None = None
    beside: Mapping[str, int | str] = field(default_factory=dict)
    status: int | None = None


def success(reply: Reply[object], status: int) -> web.Response:
    body: dict[str, object] = {"data": reply.data}
    if reply.pagination is not None:
        body["pagination"] = reply.pagination
    if reply.positions is not None:
        body["positions"] = dict(reply.positions)
    body.update(reply.beside)
    return web.Response(body=orjson.dumps(body), status=reply.status or status, headers=JSON_HEADERS)


def error_object(failure: Failure) -> dict[str, object]:
    """The part that REST and the streams share: code, message, and the fields at fault."""
    body: dict[str, object] = {"code": failure.code, "message": failure.message}
    if failure.details:
        body["details"] = [{"field": d.field, "message": d.message} for d in failure.details]
    return body


def error(failure: Failure, request_id: str, status: int | None = None) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if failure.retry_after is not None:
        headers["Retry-After"] = str(failure.retry_after)
    if failure.kind is Kind.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        body=orjson.dumps({"error": error_object(failure) | {"requestId": request_id}}),
        status=status or STATUS[failure.kind],
        content_type="application/json",
        headers=headers,
    )
