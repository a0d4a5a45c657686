"""Accounts: signing in and out, sessions, and the public key of our tokens."""

import orjson
from aiohttp import hdrs, web

from handlers.answers import Reply
from handlers.endpoints import Call, Endpoints, address
from handlers.keys import AUTH
from protocols.accounts import (
    Device,
    LoginBody,
    PasswordBody,
    RefreshBody,
    RegisterBody,
    SessionDto,
    SignedInDto,
    UserDto,
)
from protocols.contracts import Page, PaginationDto
from protocols.errors import malformed
from protocols.ids import is_id
from services.auth import Auth

USER_AGENT_CHARS_MAX = 300  # enough to know one's device by
JWKS_AGE_S = 300

endpoints = Endpoints("auth")


@endpoints.post("/api/auth/register", anonymous=True, status=201)
async def register(call: Call, body: RegisterBody) -> Reply[SignedInDto]:
    return Reply(await auth(call).register(body, device(call)))


@endpoints.post("/api/auth/login", anonymous=True)
async def login(call: Call, body: LoginBody) -> Reply[SignedInDto]:
    return Reply(await auth(call).login(body.login, body.password, device(call)))


@endpoints.post("/api/auth/refresh", anonymous=True)
async def refresh(call: Call, body: RefreshBody) -> Reply[SignedInDto]:
    key = call.request.headers.get("Idempotency-Key")
    return Reply(await auth(call).refresh(body.refresh_token, key, device(call)))


@endpoints.post("/api/auth/logout")
async def logout(call: Call) -> None:
    await auth(call).logout(call.viewer)


@endpoints.get("/api/auth/me")
async def me(call: Call) -> Reply[UserDto]:
    return Reply(await auth(call).me(call.viewer))


@endpoints.post("/api/auth/password")
async def password(call: Call, body: PasswordBody) -> Reply[UserDto]:
    return Reply(await auth(call).change_password(call.viewer, body))


@endpoints.get("/api/auth/sessions")
async def sessions(call: Call, query: Page) -> Reply[list[SessionDto]]:
    if query.cursor is not None and not is_id(query.cursor):
        raise malformed("The cursor is not one that a server gave.", "bad_cursor")
    found = await auth(call).sessions(call.viewer, query.cursor, query.limit + 1)
    page = found[: query.limit]
    following = page[-1]["sessionId"] if len(found) > query.limit else None
    return Reply(page, PaginationDto(nextCursor=following, limit=query.limit))


@endpoints.delete("/api/auth/sessions/{sessionId}")
async def end_session(call: Call) -> None:
    await auth(call).end_session(call.viewer, call.path("sessionId"))


@endpoints.get("/.well-known/jwks.json", public=True)
async def jwks(call: Call) -> web.Response:
    """A plain document: verifiers know no envelope."""
    return web.Response(
        body=orjson.dumps(auth(call).tokens.jwks()),
        content_type="application/json",
        headers={hdrs.CACHE_CONTROL: f"public, max-age={JWKS_AGE_S}"},
    )


def auth(call: Call) -> Auth:
    return call.request.app[AUTH]


def device(call: Call) -> Device:
    """The user agent as it can be kept: headers may hold any bytes."""
    text = call.request.headers.get(hdrs.USER_AGENT, "").encode("utf-8", "replace").decode("utf-8")
    return Device(text[:USER_AGENT_CHARS_MAX].replace("\0", ""), address(call.request))
