"""Accounts over HTTP. An error is always {"error": {code, message, requestId, details?}} with its status."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp.test_utils import TestClient, TestServer

from protocols.ids import is_id, new_id
from protocols.times import now
from services.rates import LIMITS, LOGIN_ADDRESS
from services.tokens import Subject, new_key
from settings import Settings
from tests.accounts import PASSWORD, Process, any_address, fresh_database, process, some_name, web_app
from tests.backing import Backing

Json = dict[str, Any]


@dataclass
class Answer:
    status: int
    headers: Any
    body: Any

    @property
    def data(self) -> Any:
        assert self.status < 300, self.body
        return self.body["data"]


@dataclass
class Browser:
    """Somebody at an address, signed in or not."""

    client: TestClient[Any, Any]
    token: str = ""
    headers: dict[str, str] = field(default_factory=lambda: {"X-Forwarded-For": any_address()})

    async def ask(self, method: str, path: str, json: object = None, **options: Any) -> Answer:
        headers = self.headers | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        headers |= options.pop("headers", {})
        async with self.client.request(method, path, json=json, headers=headers, **options) as response:
            text = await response.text()
            return Answer(response.status, response.headers, loads(text))

    async def sign_in(self, path: str, **body: str) -> Json:
        answer = (await self.ask("POST", f"/api/auth/{path}", body)).data
        self.token = answer["accessToken"]
        return dict(answer)


def loads(text: str) -> Any:
    return json.loads(text) if text else None


def assert_error(answer: Answer, status: int, code: str, *fields: str) -> None:
    assert (answer.status, answer.body["error"]["code"]) == (status, code), answer.body
    assert answer.body["error"]["message"] and answer.body["error"]["requestId"]
    assert sorted(detail["field"] for detail in answer.body["error"].get("details", [])) == sorted(fields)
    assert (status == 401) == ("WWW-Authenticate" in answer.headers)
    assert (status in (429, 503)) == ("Retry-After" in answer.headers)


Open = Callable[[], Browser]


@pytest.fixture
async def cluster(backing: Backing, tmp_path: Path) -> AsyncIterator[list[tuple[Process, Open]]]:
    """Two processes over the same stores; the second can't reach Redis."""
    settings = Settings(mongodb_url="", database_url="", redis_url="", data_dir=tmp_path, trust_proxy=1)
    pem, made = new_key(), []
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_database(backing))
        for redis_url in (backing.redis_url, f"unix://{tmp_path}/nothing"):
            of = await stack.enter_async_context(process(backing.mongodb_url, url, redis_url, pem))
            client = await stack.enter_async_context(TestClient(TestServer(web_app(of, settings))))
            made.append((of, lambda client=client: Browser(client)))
        yield made


@pytest.fixture
def here(cluster: list[tuple[Process, Open]]) -> Process:
    return cluster[0][0]


@pytest.fixture
def browser(cluster: list[tuple[Process, Open]]) -> Browser:
    return cluster[0][1]()


async def registered(browser: Browser) -> Json:
    name = some_name()
    return await browser.sign_in("register", username=name, email=f"{name}@example.org", password=PASSWORD)


async def test_register_answers_201_with_the_user_and_tokens(browser: Browser) -> None:
    body = {"username": "Ada_1", "email": "Ada@Example.org", "password": PASSWORD, "displayName": "Ada L."}
    answer = await browser.ask("POST", "/api/auth/register", body)
    assert answer.status == 201 and answer.headers["Cache-Control"] == "no-store"
    assert set(answer.data) == {"user", "accessToken", "refreshToken", "expiresIn"}
    user = answer.data["user"]
    assert is_id(user.pop("userId")) and user.pop("createdAt").endswith("Z")
    assert user == {
        "username": "ada_1",
        "displayName": "Ada L.",
        "avatarUrl": None,
        "email": "Ada@Example.org",
        "emailVerified": False,
        "roles": ["user"],
    }


async def test_register_tells_all_that_is_taken(browser: Browser) -> None:
    user = (await registered(browser))["user"]
    body = {"username": user["username"].upper(), "email": user["email"].upper(), "password": PASSWORD}
    assert_error(await browser.ask("POST", "/api/auth/register", body), 409, "username_taken", "username", "email")
    body["username"] = some_name()
    assert_error(await browser.ask("POST", "/api/auth/register", body), 409, "email_taken", "email")


async def test_register_lists_every_field_that_is_wrong(browser: Browser) -> None:
    for body, fields in (
        ({}, ["username", "email", "password"]),
        (
            {"username": 1, "email": [], "password": {}, "displayName": 2.5},
            ["username", "email", "password", "displayName"],
        ),
        (
            {"username": "a b", "email": "a@b", "password": "short", "displayName": " "},
            ["username", "email", "password", "displayName"],
        ),
        (
            {"username": "me\0x", "email": "a\0@b.org", "password": "\0" * 10, "displayName": "\0"},
            ["username", "email", "password", "displayName"],
        ),
        ({"username": "admin", "email": "a@b.org", "password": "x" * 1025}, ["username", "password"]),
        ({"username": "x" * 31, "email": "a" * 250 + "@b.org", "password": PASSWORD}, ["username", "email"]),
        ({"username": "ab", "email": "a b@c.org", "password": PASSWORD}, ["username", "email"]),
        ({"username": "äöü", "email": "@", "password": PASSWORD}, ["username", "email"]),
    ):
        assert_error(await browser.ask("POST", "/api/auth/register", body), 422, "invalid", *fields)


@pytest.mark.parametrize("path", ["register", "login", "refresh"])
async def test_a_body_that_is_no_json_object_is_malformed(browser: Browser, path: str) -> None:
    kind = {"Content-Type": "application/json"}
    for data in (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 10_000, b'{"a": "\\ud800"}'):
        answer = await browser.ask("POST", f"/api/auth/{path}", data=data, headers=kind)
        assert_error(answer, 400, "malformed")


@pytest.mark.parametrize("path", ["register", "login", "refresh"])
async def test_a_body_of_another_type_is_refused(browser: Browser, path: str) -> None:
    assert_error(await browser.ask("POST", f"/api/auth/{path}", data=b"a=b"), 415, "wrong_type")
    assert_error(await browser.ask("POST", f"/api/auth/{path}", data={"a": "b"}), 415, "wrong_type")


async def test_login_by_either_name(browser: Browser) -> None:
    user = (await registered(browser))["user"]
    for login in (user["username"], user["email"]):
        answer = await browser.ask("POST", "/api/auth/login", {"login": login, "password": PASSWORD})
        assert answer.status == 200 and answer.data["user"] == user


async def test_login_with_the_wrong_password_or_name_is_the_same_401(browser: Browser) -> None:
    name = (await registered(browser))["user"]["username"]
    answers = [
        await browser.ask("POST", "/api/auth/login", {"login": login, "password": "wrong"})
        for login in (name, some_name(), "nobody@example.org", "%", "' OR 1=1 --")
    ]
    for answer in answers:
        assert_error(answer, 401, "invalid_credentials")
        del answer.body["error"]["requestId"]
    assert len({json.dumps(answer.body) for answer in answers}) == 1


async def test_login_refuses_wrong_fields(browser: Browser) -> None:
    body = {"login": "a\0", "password": 1}
    assert_error(await browser.ask("POST", "/api/auth/login", body), 422, "invalid", "login", "password")


async def test_login_is_throttled(browser: Browser) -> None:
    name = (await registered(browser))["user"]["username"]
    for _ in range(10):
        await browser.ask("POST", "/api/auth/login", {"login": name, "password": "wrong"})
    answer = await browser.ask("POST", "/api/auth/login", {"login": name, "password": PASSWORD})
    assert_error(answer, 429, "rate_limited")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_an_address_is_throttled_over_all_accounts(here: Process, browser: Browser) -> None:
    name = (await registered(browser))["user"]["username"]
    for _ in range(LIMITS[LOGIN_ADDRESS].burst - 3):
        await here.auth.rates.admit(browser.headers["X-Forwarded-For"], LOGIN_ADDRESS)
    guesses = [await browser.ask("POST", "/api/auth/login", {"login": some_name(), "password": "x"}) for _ in range(8)]
    assert [guess.status for guess in guesses[:3]] == [401] * 3 and guesses[-1].status == 429
    assert_error(
        await browser.ask("POST", "/api/auth/login", {"login": name, "password": PASSWORD}), 429, "rate_limited"
    )
    await Browser(browser.client).sign_in("login", login=name, password=PASSWORD)


async def test_signing_in_works_with_an_expired_token_in_the_header(here: Process, browser: Browser) -> None:
    signed_in = await registered(browser)
    browser.token = expired(here)
    assert_error(await browser.ask("GET", "/api/auth/me"), 401, "token_expired")
    body = {"refreshToken": signed_in["refreshToken"]}
    assert (await browser.ask("POST", "/api/auth/refresh", body)).status == 200


async def test_refresh_repeated_with_its_key_is_equal_and_without_it_ends_the_session(browser: Browser) -> None:
    body, key = {"refreshToken": (await registered(browser))["refreshToken"]}, {"Idempotency-Key": "a"}
    first = await browser.ask("POST", "/api/auth/refresh", body, headers=key)
    assert (await browser.ask("POST", "/api/auth/refresh", body, headers=key)).data == first.data
    assert (await browser.ask("GET", "/api/auth/me")).status == 200
    assert_error(await browser.ask("POST", "/api/auth/refresh", body), 401, "refresh_token_reused")
    assert_error(await browser.ask("GET", "/api/auth/me"), 401, "unauthenticated")
    body = {"refreshToken": first.data["refreshToken"]}
    assert_error(await browser.ask("POST", "/api/auth/refresh", body), 401, "invalid_refresh_token")


async def test_refresh_refuses_what_is_no_token(browser: Browser) -> None:
    assert_error(await browser.ask("POST", "/api/auth/refresh", {}), 422, "invalid", "refreshToken")
    for token in ("\0", "x" * 257, 7, None):
        body = {"refreshToken": token}
        assert_error(await browser.ask("POST", "/api/auth/refresh", body), 422, "invalid", "refreshToken")
    assert_error(await browser.ask("POST", "/api/auth/refresh", {"refreshToken": "x"}), 401, "invalid_refresh_token")


async def test_me_is_the_user(browser: Browser) -> None:
    user = (await registered(browser))["user"]
    assert (await browser.ask("GET", "/api/auth/me")).data == user


GUARDED = [
    ("POST", "/api/auth/logout"),
    ("GET", "/api/auth/me"),
    ("POST", "/api/auth/password"),
    ("GET", "/api/auth/sessions"),
    ("DELETE", f"/api/auth/sessions/{new_id()}"),
]


def expired(here: Process) -> str:
    return here.tokens.issue(Subject(new_id(), "x", (), 0), new_id(), new_id(), now() - timedelta(minutes=16))


def bad_tokens(here: Process) -> dict[str, str]:
    good = here.tokens.issue(Subject(new_id(), "x", (), 0), new_id(), new_id(), now())
    claims = jwt.decode(good, options={"verify_signature": False})
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return {
        "alg none": f"{none}.{good.split('.')[1]}.",
        "HS256": jwt.encode(claims, "a secret of at least 32 bytes, here", "HS256"),
        "other key": jwt.encode(claims, new_key(), "ES256"),
        "other audience": jwt.encode(claims | {"aud": "x"}, here.tokens._key, "ES256"),
        "garbage": "ä.ö.ü",
        "huge": "a" * 7_000,
    }


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_a_token_is_needed_and_a_bad_one_refused(here: Process, browser: Browser, method: str, path: str) -> None:
    assert_error(await browser.ask(method, path), 401, "unauthenticated")
    for bad in bad_tokens(here).values():
        assert_error(
            await browser.ask(method, path, headers={"Authorization": f"Bearer {bad}"}), 401, "unauthenticated"
        )
    for header in ("Bearer", "Bearer ", "Basic eDp5", ""):
        assert_error(await browser.ask(method, path, headers={"Authorization": header}), 401, "unauthenticated")
    answer = await browser.ask(method, path, headers={"Authorization": f"Bearer {expired(here)}"})
    assert_error(answer, 401, "token_expired")


async def test_logout_is_204_and_the_end(browser: Browser) -> None:
    await registered(browser)
    assert (await browser.ask("POST", "/api/auth/logout")).status == 204
    assert_error(await browser.ask("GET", "/api/auth/me"), 401, "unauthenticated")


async def test_change_of_password(browser: Browser) -> None:
    user = (await registered(browser))["user"]
    other = Browser(browser.client)
    await other.sign_in("login", login=user["username"], password=PASSWORD)
    body = {"currentPassword": "wrong", "newPassword": "a new password"}
    assert_error(await browser.ask("POST", "/api/auth/password", body), 403, "wrong_password")
    assert_error(
        await browser.ask("POST", "/api/auth/password", {"newPassword": "short"}),
        422,
        "invalid",
        "currentPassword",
        "newPassword",
    )
    body["currentPassword"] = PASSWORD
    assert (await browser.ask("POST", "/api/auth/password", body)).data == user
    assert (await browser.ask("GET", "/api/auth/me")).status == 200
    assert_error(await other.ask("GET", "/api/auth/me"), 401, "unauthenticated")
    await other.sign_in("login", login=user["username"], password="a new password")


async def test_sessions_are_listed_in_pages(browser: Browser) -> None:
    name = (await registered(browser))["user"]["username"]
    browser.headers["User-Agent"] = "Firefox"
    for _ in range(4):
        await Browser(browser.client, headers=browser.headers).sign_in("login", login=name, password=PASSWORD)
    first = await browser.ask("GET", "/api/auth/sessions?limit=3")
    assert first.body["pagination"]["limit"] == 3
    rest = await browser.ask("GET", f"/api/auth/sessions?limit=3&cursor={first.body['pagination']['nextCursor']}")
    assert rest.body["pagination"]["nextCursor"] is None
    found = first.data + rest.data
    assert len({session["sessionId"] for session in found}) == 5
    assert [session["current"] for session in found] == [False] * 4 + [True]
    assert set(found[0]) == {"sessionId", "userAgent", "address", "createdAt", "lastUsedAt", "current"}
    assert (found[0]["userAgent"], found[0]["address"]) == ("Firefox", browser.headers["X-Forwarded-For"])


async def test_a_list_refuses_a_cursor_or_limit_that_no_server_gave(browser: Browser) -> None:
    await registered(browser)
    for cursor in ("x", "%00", "", "%ff", "1" * 5_000):
        assert_error(await browser.ask("GET", f"/api/auth/sessions?cursor={cursor}"), 400, "bad_cursor")
    for limit in ("0", "101", "x", "", "1e3", "9" * 50):
        assert_error(await browser.ask("GET", f"/api/auth/sessions?limit={limit}"), 422, "invalid", "limit")


async def test_ending_a_session_is_204_also_when_it_is_gone_absent_or_another_s(browser: Browser) -> None:
    name = (await registered(browser))["user"]["username"]
    other, stranger = Browser(browser.client), Browser(browser.client)
    await other.sign_in("login", login=name, password=PASSWORD)
    await registered(stranger)
    theirs = (await stranger.ask("GET", "/api/auth/sessions")).data[0]["sessionId"]
    [mine] = [s["sessionId"] for s in (await browser.ask("GET", "/api/auth/sessions")).data if not s["current"]]
    for session_id in (mine, mine, theirs, new_id()):
        answer = await browser.ask("DELETE", f"/api/auth/sessions/{session_id}")
        assert (answer.status, answer.body) == (204, None)
    assert_error(await other.ask("GET", "/api/auth/me"), 401, "unauthenticated")
    assert (await stranger.ask("GET", "/api/auth/me")).status == 200
    assert_error(await browser.ask("DELETE", "/api/auth/sessions/x"), 404, "session_not_found")


async def test_the_public_key_verifies_tokens_and_may_be_cached(browser: Browser) -> None:
    signed_in = await registered(browser)
    answer = await Browser(browser.client).ask("GET", "/.well-known/jwks.json")
    assert answer.status == 200 and answer.headers["Cache-Control"] == "public, max-age=300"
    key = jwt.PyJWKSet.from_dict(answer.body)[jwt.get_unverified_header(signed_in["accessToken"])["kid"]]
    claims = jwt.decode(signed_in["accessToken"], key, algorithms=["ES256"], audience="wechat")
    assert claims["sub"] == signed_in["user"]["userId"]


@pytest.mark.parametrize(
    ("hops", "address"),
    [("10.0.0.1", "10.0.0.1"), ("6.6.6.6, 10.0.0.1", "10.0.0.1"), ("::1", "::1"), ("junk", None), ("é\udce4", None)],
)
async def test_an_address_is_what_the_trusted_proxy_wrote(browser: Browser, hops: str, address: str | None) -> None:
    browser.headers["X-Forwarded-For"] = hops
    await registered(browser)
    [session] = (await browser.ask("GET", "/api/auth/sessions")).data
    assert session["address"] == (address or "127.0.0.1")


async def test_a_user_agent_of_any_bytes_is_kept_as_far_as_it_can_be(browser: Browser) -> None:
    browser.headers["User-Agent"] = "é\udce4" + "x" * 1_000
    await registered(browser)
    [session] = (await browser.ask("GET", "/api/auth/sessions")).data
    assert session["userAgent"].endswith("x") and len(session["userAgent"]) == 300


async def test_a_revocation_ends_access_on_every_process_within_a_second_without_redis(
    cluster: list[tuple[Process, Open]],
) -> None:
    (here, open_here), (there, open_there) = cluster
    polls = [asyncio.create_task(of.revocations.run()) for of in (here, there)]
    for revoking, watching in ((open_here(), there), (open_there(), here)):
        signed_in = await registered(revoking)
        viewer = watching.auth.authenticate(signed_in["accessToken"])
        told = asyncio.Event()
        watching.revocations.listeners.append(lambda revocation, told=told: told.set())
        await revoking.ask("POST", "/api/auth/logout")
        async with asyncio.timeout(1.5):
            await told.wait()
        elsewhere = Browser((open_there if watching is there else open_here)().client, signed_in["accessToken"])
        assert_error(await elsewhere.ask("GET", "/api/auth/me"), 401, "unauthenticated")
        assert viewer.session_id in watching.tokens._ended
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)


async def test_a_process_that_starts_later_refuses_what_was_revoked_before(
    cluster: list[tuple[Process, Open]],
) -> None:
    (here, open_here), (there, open_there) = cluster
    browser = open_here()
    token = (await registered(browser))["accessToken"]
    await browser.ask("POST", "/api/auth/logout")
    await there.revocations.look()
    assert_error(await Browser(open_there().client, token).ask("GET", "/api/auth/me"), 401, "unauthenticated")


async def test_without_postgresql_signing_in_is_503(here: Process, browser: Browser) -> None:
    token = (await registered(browser))["accessToken"]
    here.postgres._pool._conn_kwargs["port"] = 1  # nobody listens there
    here.postgres._pool._conn_kwargs["host"] = "127.0.0.1"
    await here.postgres._pool.clear()
    for path, body in (("login", {"login": "ada", "password": PASSWORD}), ("refresh", {"refreshToken": "x"})):
        assert_error(await browser.ask("POST", f"/api/auth/{path}", body), 503, "unavailable")
    assert here.auth.authenticate(token)
