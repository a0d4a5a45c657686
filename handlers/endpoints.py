"""One way to write a REST endpoint: a function whose types say what it takes and answers.

    endpoints = Endpoints("auth")

    @endpoints.post("/api/auth/login", public=True)
    async def login(call: Call, body: LoginBody) -> Reply[SignedInDto]: ...

`body` is the JSON body, `query` the query string; either may be left out. Path ids are checked before the function
runs. The same table makes the routes and the API's description.
"""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar, get_type_hints

from aiohttp import hdrs, web
from pydantic import BaseModel, ValidationError

from handlers.answers import Reply, success
from handlers.keys import AUTH, RATES, SETTINGS
from protocols.errors import Failure, FieldError, Kind, invalid, malformed, not_found, unauthenticated
from protocols.identity import Viewer
from protocols.ids import is_id

Model = TypeVar("Model", bound=BaseModel)
Handler = Callable[..., Awaitable[Reply[Any] | web.StreamResponse | None]]

BODY_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way to a service."""

    request: web.Request
    visitor: Viewer | None

    @property
    def viewer(self) -> Viewer:
        """Who asks, on endpoints that need a token."""
        assert self.visitor is not None, "the endpoint is public: ask for `visitor`"
        return self.visitor

    @property
    def app(self) -> web.Application:
        return self.request.app

    def path(self, name: str) -> str:
        return self.request.match_info[name]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the API. `body`, `query` and `answer` are the types that the function declares."""

    method: str
    path: str
    function: Handler
    public: bool
    anonymous: bool  # no token is looked at: signing in must work with an expired one in the header
    status: int
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    answer: Any

    async def handle(self, request: web.Request) -> web.StreamResponse:
        visitor = None if self.anonymous else authenticate(request)
        if visitor is None and not (self.public or self.anonymous):
            raise unauthenticated()
        await request.app[RATES].admit(visitor.user_id if visitor else address(request), f"{self.method} {self.path}")
        for name, value in request.match_info.items():
            if name.endswith("Id") and not is_id(value):
                raise not_found(name.removesuffix("Id"))
        arguments: dict[str, BaseModel] = {}
        if self.query is not None:
            arguments["query"] = query_string(request, self.query)
        if self.body is not None:
            arguments["body"] = await json_body(request, self.body)
        reply = await self.function(Call(request, visitor), **arguments)
        if isinstance(reply, web.StreamResponse):
            return reply
        return web.Response(status=204) if reply is None else success(reply, self.status)


class Endpoints(list[Endpoint]):
    """The endpoints of one resource, in the order in which they are matched."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def get(self, path: str, *, public: bool = False) -> Callable[[Handler], Handler]:
        return self._add(hdrs.METH_GET, path, public, 200)

    def post(
        self, path: str, *, public: bool = False, anonymous: bool = False, status: int = 200
    ) -> Callable[[Handler], Handler]:
        return self._add(hdrs.METH_POST, path, public, status, anonymous)

    def put(self, path: str, *, public: bool = False) -> Callable[[Handler], Handler]:
        return self._add(hdrs.METH_PUT, path, public, 200)

    def delete(self, path: str) -> Callable[[Handler], Handler]:
        return self._add(hdrs.METH_DELETE, path, False, 204)

    def _add(
        self, method: str, path: str, public: bool, status: int, anonymous: bool = False
    ) -> Callable[[Handler], Handler]:
        def register(function: Handler) -> Handler:
            hints = get_type_hints(function)
            unknown = set(inspect.signature(function).parameters) - {"call", "body", "query"}
            assert not unknown, f"{function.__name__} takes {unknown}"
            body, query, answer = hints.get("body"), hints.get("query"), hints["return"]
            self.append(Endpoint(method, path, function, public, anonymous, status, body, query, answer))
            return function

        return register

    def install(self, app: web.Application) -> None:
        for endpoint in self:
            app.router.add_route(endpoint.method, endpoint.path, endpoint.handle)


def address(request: web.Request) -> str:
    """The client's address: the socket's, or what the proxies in front, as many as are trusted, have written down."""
    trusted = request.app[SETTINGS].trust_proxy
    lines = request.headers.getall(hdrs.X_FORWARDED_FOR, [])  # all of them: a client may send one of its own
    hops = [hop.strip() for hop in ",".join(lines).split(",") if hop.strip()]
    if trusted and len(hops) >= trusted:
        with suppress(ValueError):
            return str(ip_address(hops[-trusted]))
    return request.remote or "unknown"


def authenticate(request: web.Request) -> Viewer | None:
    """Who asks, or None where no token came. A token that is there but not good is an error everywhere."""
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthenticated()
    return request.app[AUTH].authenticate(token)


async def json_body(request: web.Request, model: type[Model]) -> Model:
    if request.content_type != "application/json":
        raise Failure(Kind.WRONG_TYPE, "wrong_type", "The body must be application/json.")
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        if any(fault["type"] == "json_invalid" for fault in error.errors()):
            raise malformed("The body is not JSON.") from None
        if any(not fault["loc"] and fault["type"] == "model_type" for fault in error.errors()):
            raise malformed("The body must be a JSON object.") from None
        raise invalid(*field_errors(error)) from None


def query_string(request: web.Request, model: type[Model]) -> Model:
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise invalid(*field_errors(error)) from None


def field_errors(error: ValidationError) -> list[FieldError]:
    return [FieldError(".".join(map(str, fault["loc"])) or "body", fault["msg"]) for fault in error.errors()]
