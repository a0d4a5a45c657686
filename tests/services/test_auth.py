import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import argon2
import pytest
from argon2 import PasswordHasher

from protocols.accounts import PasswordBody, RegisterBody, SignedInDto
from protocols.errors import Failure, Kind
from protocols.identity import Viewer
from services import auth as module
from services import revocations
from services.revocations import control_data, parse_control
from services.tokens import Revocation
from stores.audit import Act, append
from tests.accounts import PASSWORD, Process, device, register, single, some_name
from tests.backing import Backing


@pytest.fixture
async def here(backing: Backing) -> AsyncIterator[Process]:
    async with single(backing) as process:
        yield process


def viewer(here: Process, signed_in: SignedInDto) -> Viewer:
    return here.auth.authenticate(signed_in["accessToken"])


def assert_refused(caught: pytest.ExceptionInfo[Failure], kind: Kind, code: str) -> None:
    assert (caught.value.kind, caught.value.code) == (kind, code)


async def ended(here: Process, signed_in: SignedInDto) -> bool:
    try:
        here.auth.authenticate(signed_in["accessToken"])
    except Failure as failure:
        assert failure.kind is Kind.UNAUTHENTICATED
        return True
    return False


async def test_register_signs_in_and_makes_a_profile(here: Process) -> None:
    signed_in = await register(here.auth, "Ada.Lovelace")
    seen = viewer(here, signed_in)
    assert (seen.user_id, seen.username, seen.roles) == (signed_in["user"]["userId"], "ada.lovelace", ("user",))
    assert signed_in["user"]["displayName"] == "ada.lovelace" and signed_in["user"]["emailVerified"] is False
    assert signed_in["expiresIn"] == 900
    assert seen.user_id in await here.profiles.persons([seen.user_id])


async def test_register_lists_all_that_is_taken(here: Process) -> None:
    await register(here.auth, "twice")
    with pytest.raises(Failure) as caught:
        await register(here.auth, "TWICE")
    assert_refused(caught, Kind.CONFLICT, "username_taken")
    assert [fault.field for fault in caught.value.details] == ["username", "email"]


async def test_of_registrations_at_once_one_wins(here: Process) -> None:
    results = await asyncio.gather(*(register(here.auth, "racer") for _ in range(5)), return_exceptions=True)
    failures = [result for result in results if isinstance(result, Failure)]
    assert len(failures) == 4 and {failure.code for failure in failures} == {"username_taken"}


async def test_login_by_name_or_email_in_any_case(here: Process) -> None:
    registered = await register(here.auth, "grace")
    for login in ("grace", "GRACE", "Grace@Example.ORG"):
        assert (await here.auth.login(login, PASSWORD, device()))["user"]["userId"] == registered["user"]["userId"]


async def test_wrong_password_and_unknown_login_are_alike_in_words_and_work(here: Process) -> None:
    await register(here.auth, "known")
    told, hashes = [], []
    hasher = here.auth.passwords._hasher

    class Counting:
        def verify(self, password_hash: str, password: str) -> bool:
            hashes.append(argon2.extract_parameters(password_hash))
            return hasher.verify(password_hash, password)

    here.auth.passwords._hasher = Counting()  # type: ignore[assignment]
    for login in ("known", "unknown"):
        with pytest.raises(Failure) as caught:
            await here.auth.login(login, "wrong password", device())
        told.append((caught.value.kind, caught.value.code, caught.value.message))
    assert told[0] == told[1] and told[0][1] == "invalid_credentials"
    assert len(hashes) == 2 and hashes[0] == hashes[1]


async def test_guessing_at_one_account_is_throttled_from_everywhere_the_right_password_included(here: Process) -> None:
    name = (await register(here.auth))["user"]["username"]
    for _ in range(10):
        with pytest.raises(Failure, match="invalid_credentials"):
            await here.auth.login(name, "wrong password", device())
    with pytest.raises(Failure) as caught:
        await here.auth.login(name, PASSWORD, device())
    assert_refused(caught, Kind.RATE_LIMITED, "rate_limited")
    assert caught.value.retry_after and caught.value.retry_after > 0


async def test_signing_in_rightly_is_not_counted(here: Process) -> None:
    name, same = (await register(here.auth))["user"]["username"], device()
    for _ in range(15):
        await here.auth.login(name, PASSWORD, same)


async def test_refresh_rotates_and_keeps_the_session(here: Process) -> None:
    first = await register(here.auth)
    second = await here.auth.refresh(first["refreshToken"], None, device())
    assert second["refreshToken"] != first["refreshToken"]
    assert viewer(here, second).session_id == viewer(here, first).session_id


async def test_a_reused_refresh_token_ends_its_session_only(here: Process) -> None:
    first = await register(here.auth)
    other = await here.auth.login(first["user"]["username"], PASSWORD, device())
    second = await here.auth.refresh(first["refreshToken"], None, device())
    with pytest.raises(Failure) as caught:
        await here.auth.refresh(first["refreshToken"], None, device())
    assert_refused(caught, Kind.UNAUTHENTICATED, "refresh_token_reused")
    assert await ended(here, first) and await ended(here, second) and not await ended(here, other)
    with pytest.raises(Failure, match="invalid_refresh_token"):
        await here.auth.refresh(second["refreshToken"], None, device())


async def test_a_refresh_repeated_with_its_key_gets_the_same_answer(here: Process) -> None:
    first = await register(here.auth)
    same = [await here.auth.refresh(first["refreshToken"], "key", device()) for _ in range(3)]
    assert same[0] == same[1] == same[2]
    at_once = await asyncio.gather(*(here.auth.refresh(same[0]["refreshToken"], "2", device()) for _ in range(4)))
    assert all(answer == at_once[0] for answer in at_once)


async def test_a_refresh_repeated_with_another_key_is_reuse(here: Process) -> None:
    first = await register(here.auth)
    await here.auth.refresh(first["refreshToken"], "one", device())
    with pytest.raises(Failure, match="refresh_token_reused"):
        await here.auth.refresh(first["refreshToken"], "two", device())


async def test_a_refresh_repeated_too_late_is_reuse(here: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await register(here.auth)
    await here.auth.refresh(first["refreshToken"], "key", device())
    monkeypatch.setattr(module, "REPEAT_WINDOW", timedelta(0))
    with pytest.raises(Failure, match="refresh_token_reused"):
        await here.auth.refresh(first["refreshToken"], "key", device())


@pytest.mark.parametrize("token", ["", "x", "\ud800", "a" * 256])
async def test_a_made_up_refresh_token_is_refused(here: Process, token: str) -> None:
    with pytest.raises(Failure, match="invalid_refresh_token"):
        await here.auth.refresh(token, None, device())


async def test_an_expired_refresh_token_is_refused(here: Process) -> None:
    signed_in = await register(here.auth)
    await here.postgres.execute("UPDATE refresh_tokens SET expires_at = now()")
    with pytest.raises(Failure, match="invalid_refresh_token"):
        await here.auth.refresh(signed_in["refreshToken"], None, device())


async def test_a_suspended_account_can_neither_sign_in_nor_refresh(here: Process) -> None:
    signed_in = await register(here.auth)
    await here.postgres.execute("UPDATE users SET suspended_at = now(), suspended_until = now() + interval '1 day'")
    with pytest.raises(Failure) as caught:
        await here.auth.login(signed_in["user"]["username"], PASSWORD, device())
    assert_refused(caught, Kind.FORBIDDEN, "account_suspended")
    with pytest.raises(Failure) as caught:
        await here.auth.refresh(signed_in["refreshToken"], None, device())
    assert_refused(caught, Kind.FORBIDDEN, "account_suspended")
    await here.postgres.execute("UPDATE users SET suspended_until = now()")
    await here.auth.refresh(signed_in["refreshToken"], None, device())


async def test_logout_ends_access_and_refresh_at_once_and_tells_listeners_once(here: Process) -> None:
    signed_in = await register(here.auth)
    told: list[Revocation] = []
    here.revocations.listeners.append(told.append)
    me = viewer(here, signed_in)
    await here.auth.logout(me)
    await here.auth.logout(me)
    assert await ended(here, signed_in)
    assert told == [Revocation(me.user_id, me.session_id)]
    await here.revocations.look()
    assert len(told) == 1
    with pytest.raises(Failure, match="invalid_refresh_token"):
        await here.auth.refresh(signed_in["refreshToken"], None, device())


async def test_the_end_of_a_session_is_told_to_processes_and_to_the_user(here: Process) -> None:
    me = viewer(here, await register(here.auth))
    topics, own = here.auth.topics, f"user:{me.user_id}"
    before = await topics.look(["control", own], {"control": 0, own: 0})
    await here.auth.logout(me)
    told = []
    for topic, chunk in zip(("control", own), before, strict=True):
        assert chunk
        after = await topics.read(topic, chunk.position, 10)
        assert after
        told += [(entry.type, entry.data) for entry in after.entries]
    assert told == [
        ("SessionRevoked", control_data(Revocation(me.user_id, me.session_id))),
        ("SessionRevoked", f'{{"sessionId":"{me.session_id}"}}'.encode()),
    ]


async def test_a_revocation_of_a_generation_is_read_from_the_table(here: Process) -> None:
    signed_in = await register(here.auth)
    told: list[Revocation] = []
    here.revocations.listeners.append(told.append)
    await here.postgres.execute("UPDATE users SET generation = 1")
    await here.postgres.execute("INSERT INTO revocations (user_id, generation) SELECT user_id, 1 FROM users")
    for _ in range(2):
        await here.revocations.look()
    assert told == [Revocation(signed_in["user"]["userId"], None, 1)]
    assert parse_control(control_data(told[0])) == told[0]
    assert await ended(here, signed_in)
    assert not await ended(here, await here.auth.refresh(signed_in["refreshToken"], None, device()))


async def test_a_crowd_of_revocations_is_read_in_pages(here: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "ROWS_MAX", 10)
    await here.postgres.execute(
        """INSERT INTO revocations (user_id, session_id, created_at)
        SELECT gen_random_uuid(), gen_random_uuid(), now() - (n / 5) * interval '1 s'
        FROM generate_series(1, 95) AS n"""
    )
    told: list[Revocation] = []
    here.revocations.listeners.append(told.append)
    await here.revocations.look()
    await here.revocations.look()
    assert len(told) == 95


async def test_revocations_are_read_on_after_the_database_was_away(
    here: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "POLL_S", 0.01)
    warned, told = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(revocations.log, "warning", lambda *said: warned.set())
    here.revocations.listeners.append(lambda revocation: told.set())
    await here.postgres.execute(
        """ALTER TABLE revocations RENAME TO hidden;
        CREATE VIEW revocations AS SELECT * FROM hidden WHERE pg_terminate_backend(pg_backend_pid());
        INSERT INTO hidden (user_id, generation) SELECT gen_random_uuid(), 1"""
    )
    reading = asyncio.create_task(here.revocations.run())
    await warned.wait()
    await here.postgres.execute("DROP VIEW revocations; ALTER TABLE hidden RENAME TO revocations")
    async with asyncio.timeout(5):
        await told.wait()
    assert not reading.done()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def test_the_oldest_of_too_many_sessions_ends(here: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SESSIONS_MAX", 3)
    first = await register(here.auth)
    later = [await here.auth.login(first["user"]["username"], PASSWORD, device()) for _ in range(3)]
    assert await ended(here, first)
    assert not any([await ended(here, signed_in) for signed_in in later])


async def test_change_of_password_ends_all_other_sessions_and_is_audited(here: Process) -> None:
    first = await register(here.auth)
    second = await here.auth.login(first["user"]["username"], PASSWORD, device())
    body = PasswordBody.model_validate({"currentPassword": PASSWORD, "newPassword": "another one 123"})
    await here.auth.change_password(viewer(here, second), body)
    assert await ended(here, first) and not await ended(here, second)
    with pytest.raises(Failure, match="invalid_credentials"):
        await here.auth.login(first["user"]["username"], PASSWORD, device())
    await here.auth.login(first["user"]["username"], "another one 123", device())
    assert await here.postgres.execute("SELECT FROM audit_log WHERE act = 'password.change' AND audit_id = 1") == 1


async def test_a_login_that_a_change_of_password_overtakes_is_refused(
    here: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in = await register(here.auth)
    body = PasswordBody.model_validate({"currentPassword": PASSWORD, "newPassword": "another one 123"})
    verify = here.auth.passwords.verify

    async def overtaken(password_hash: str | None, password: str) -> bool:
        right = await verify(password_hash, password)
        monkeypatch.undo()
        await here.auth.change_password(viewer(here, signed_in), body)
        return right

    monkeypatch.setattr(here.auth.passwords, "verify", overtaken)
    with pytest.raises(Failure, match="invalid_credentials"):
        await here.auth.login(signed_in["user"]["username"], PASSWORD, device())


async def test_logins_refreshes_and_changes_of_password_at_once_end_in_one_order(here: Process) -> None:
    first = await register(here.auth)
    body = PasswordBody.model_validate({"currentPassword": PASSWORD, "newPassword": PASSWORD})
    sessions = [await here.auth.login(first["user"]["username"], PASSWORD, device()) for _ in range(4)]
    results = await asyncio.gather(
        *(here.auth.refresh(session["refreshToken"], None, device()) for session in sessions),
        *(here.auth.login(first["user"]["username"], PASSWORD, device()) for _ in range(4)),
        *(here.auth.change_password(viewer(here, first), body) for _ in range(2)),
        *(here.auth.end_session(viewer(here, session), viewer(here, session).session_id) for session in sessions),
        return_exceptions=True,
    )
    kinds = {result.kind for result in results if isinstance(result, Failure)}
    assert kinds <= {Kind.UNAUTHENTICATED}
    assert all(isinstance(result, Failure) or not isinstance(result, BaseException) for result in results)


async def test_change_of_password_needs_the_current_one(here: Process) -> None:
    signed_in = await register(here.auth)
    body = PasswordBody.model_validate({"currentPassword": "not the one", "newPassword": "another one 123"})
    with pytest.raises(Failure) as caught:
        await here.auth.change_password(viewer(here, signed_in), body)
    assert_refused(caught, Kind.FORBIDDEN, "wrong_password")


async def test_another_s_session_cannot_be_ended(here: Process) -> None:
    mine, theirs = await register(here.auth), await register(here.auth)
    await here.auth.end_session(viewer(here, mine), viewer(here, theirs).session_id)
    assert not await ended(here, theirs)


async def test_sessions_page_newest_first(here: Process) -> None:
    signed_in = await register(here.auth)
    for _ in range(3):
        await here.auth.login(signed_in["user"]["username"], PASSWORD, device())
    me = viewer(here, signed_in)
    first = await here.auth.sessions(me, None, 3)
    rest = await here.auth.sessions(me, first[-1]["sessionId"], 3)
    assert [session["current"] for session in first + rest] == [False, False, False, True]
    assert len({session["sessionId"] for session in first + rest}) == 4


async def test_a_password_hashed_with_older_parameters_is_hashed_again(here: Process) -> None:
    signed_in = await register(here.auth)
    old = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)
    await here.accounts.keep_password_hash(signed_in["user"]["userId"], old)
    await here.auth.login(signed_in["user"]["username"], PASSWORD, device())
    user = await here.accounts.user(signed_in["user"]["userId"])
    assert user and not here.auth.passwords.outdated(user.password_hash)
    await here.auth.login(signed_in["user"]["username"], PASSWORD, device())


async def test_a_missing_profile_is_made_at_login(here: Process) -> None:
    signed_in = await register(here.auth)
    user_id = signed_in["user"]["userId"]
    await here.profiles._profiles._profiles.delete_one({"_id": user_id})
    assert not await here.profiles.persons([user_id])
    await here.auth.login(signed_in["user"]["username"], PASSWORD, device())
    assert user_id in await here.profiles.persons([user_id])


async def test_signing_in_goes_on_without_the_store_of_profiles(backing: Backing) -> None:
    async with single(backing, "mongodb://127.0.0.1:1/wechat") as here:
        name = (await register(here.auth))["user"]["username"]
        assert (await here.auth.login(name, PASSWORD, device()))["user"]["displayName"] == name


async def test_the_audit_log_is_a_chain(here: Process) -> None:
    for number in range(3):
        async with here.accounts.transaction() as transaction:
            await append(transaction, Act("tests", "act", "user:x", "why", {"number": number}))
    broken = "SELECT FROM audit_log a JOIN audit_log b ON b.audit_id = a.audit_id + 1 WHERE b.previous <> a.hash"
    assert await here.postgres.execute(broken) == 0
    assert await here.postgres.execute("SELECT FROM audit_log") == 3


async def test_ids_and_texts_come_back_as_they_went_in(here: Process) -> None:
    name = some_name()
    body = {"username": name, "email": "Ünï@exämple.org", "password": PASSWORD, "displayName": "  Ж ♥ %s  "}
    signed_in = await here.auth.register(RegisterBody.model_validate(body), device())
    me = await here.auth.me(viewer(here, signed_in))
    assert (me["userId"], me["email"], me["displayName"]) == (signed_in["user"]["userId"], "Ünï@exämple.org", "Ж ♥ %s")
