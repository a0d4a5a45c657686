"""Profiles over HTTP: found by id and by name, and refused in the one shape."""

import json
from collections.abc import Mapping

import aiohttp
import pytest

from protocols.ids import new_id
from tests.errors import assert_error
from tests.web import Json, Person, people

Answer = tuple[int, Mapping[str, str], Json]


@pytest.fixture
async def pair(http: aiohttp.ClientSession, web_url: str) -> list[Person]:
    return await people(http, web_url, 2)


async def ask(person: Person, path: str, token: str | None = None) -> Answer:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with person.http.get(person.url + path, headers=headers) as answer:
        return answer.status, answer.headers, json.loads(await answer.text())


async def test_a_profile_is_found_by_id_by_name_and_in_a_list(pair: list[Person]) -> None:
    ann, bob = pair
    status, _, body = await ask(bob, f"/api/profiles/{ann.user_id}")
    profile = body["data"]
    assert status == 200 and profile["userId"] == ann.user_id and profile["username"] == ann.user["username"]
    assert {"displayName", "bio", "avatarUrl", "bannerUrl", "createdAt"} <= set(profile)
    assert (await ask(bob, f"/api/profiles/by-username/{ann.user['username'].upper()}"))[2]["data"] == profile
    both = (await ask(bob, f"/api/profiles?ids={bob.user_id},{ann.user_id},{new_id()},{ann.user_id}"))[2]["data"]
    assert [each["userId"] for each in both] == [bob.user_id, ann.user_id] and both[1] == profile


async def test_a_token_is_not_needed_but_one_that_is_no_good_is_refused(pair: list[Person]) -> None:
    ann, bob = pair
    path = f"/api/profiles/{ann.user_id}"
    assert (await ask(bob, path, bob.tokens["accessToken"]))[2] == (await ask(bob, path))[2]
    for token in ("x", bob.tokens["accessToken"][:-3], bob.tokens["refreshToken"]):
        assert_error(await ask(bob, path, token), 401, "unauthenticated")


async def test_who_does_not_exist_and_what_is_no_id_are_not_found(pair: list[Person]) -> None:
    odd = ("x", "%00", "é", "%ED%A0%80", pair[0].user_id.upper(), pair[0].user_id + "0", "$ne")
    for profile_id in (new_id(), *(each for each in odd if each != pair[0].user_id)):
        assert_error(await ask(pair[0], f"/api/profiles/{profile_id}"), 404, "profile_not_found")


async def test_names_of_nobody_are_not_found_whatever_they_are(pair: list[Person]) -> None:
    for name in ("nobody", "%00", "é", "%ED%A0%80", "$ne", "x" * 3_000, "%0A", pair[0].user_id):
        assert_error(await ask(pair[0], f"/api/profiles/by-username/{name}"), 404, "profile_not_found")


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", ["ids"]),
        ("?ids=", ["ids.0"]),
        ("?ids=,", ["ids.0", "ids.1"]),
        ("?ids=%00", ["ids.0"]),
        (f"?ids={new_id()},x", ["ids.1"]),
        ("?ids=" + ",".join(new_id() for _ in range(101)), ["ids"]),
    ],
    ids=range(6),
)
async def test_a_list_of_ids_that_is_none_is_invalid(pair: list[Person], query: str, fields: list[str]) -> None:
    assert_error(await ask(pair[0], "/api/profiles" + query), 422, "invalid", *fields)


async def test_a_list_of_people_who_do_not_exist_is_empty(pair: list[Person]) -> None:
    ids = ",".join(new_id() for _ in range(100))
    assert (await ask(pair[0], "/api/profiles?ids=" + ids))[2]["data"] == []


async def test_methods_that_a_profile_does_not_take_are_named(pair: list[Person]) -> None:
    ann = pair[0]
    for method in ("POST", "DELETE"):
        async with ann.http.request(method, f"{ann.url}/api/profiles/{ann.user_id}", json={}) as answer:
            assert_error((answer.status, answer.headers, await answer.json()), 405, "method_not_allowed")
