"""Accounts: who somebody is, and the sessions in which they are signed in.

A session lives as long as its refresh tokens follow each other; access tokens are cut from it and need no look-up.
What ends a session writes its revocation in the same transaction, then tells this process, then all others.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import orjson

from protocols.accounts import Device, PasswordBody, RegisterBody, SessionDto, SignedInDto, UserDto
from protocols.contracts import PersonDto
from protocols.errors import Failure, FieldError, Kind, forbidden, unauthenticated
from protocols.events import Event
from protocols.identity import Viewer
from protocols.ids import new_id
from protocols.times import iso, now
from services.passwords import Passwords
from services.rates import LOGIN_ACCOUNT, LOGIN_ADDRESS, Rates
from services.revocations import Revocations, control_data
from services.tokens import LIFETIME, Revocation, Subject, Tokens, base64url
from stores.accounts import Accounts, Grant, RefreshToken, User
from stores.audit import Act, append
from stores.postgres import Conflict, Transaction
from stores.topics import Topics

REFRESH_LIFETIME = timedelta(days=30)
REPEAT_WINDOW = timedelta(seconds=60)  # a lost answer is asked for again well within it
TELL_WAIT_S = 1.0  # for Redis, by when every process has looked into the table
SESSIONS_MAX = 100  # of a user; the oldest ends. More devices than anybody has, fewer than a loop of logins makes
ROLES = ["user"]  # of a new account

log = logging.getLogger(__name__)


class Profiles(Protocol):
    """What accounts need of profiles, which live in another store."""

    async def create(self, user_id: str, username: str, display_name: str, created_at: datetime) -> None: ...

    async def persons(self, user_ids: Sequence[str]) -> Mapping[str, PersonDto]: ...


@dataclass(frozen=True, slots=True)
class Auth:
    accounts: Accounts
    tokens: Tokens
    passwords: Passwords
    revocations: Revocations
    rates: Rates
    profiles: Profiles
    topics: Topics

    def authenticate(self, token: str) -> Viewer:
        """Raises Failure (unauthenticated, token_expired). No round trip."""
        return self.tokens.verify(token)

    async def register(self, body: RegisterBody, device: Device) -> SignedInDto:
        """Raises Failure (username_taken, email_taken: with all that is taken in its details)."""
        await self._refuse_taken(body)
        moment, password_hash = now(), await self.passwords.hash(body.password)
        display_name = body.display_name or body.username
        user = User(
            user_id=new_id(),
            username=body.username,
            email=body.email,
            email_verified=False,
            password_hash=password_hash,
            display_name=display_name,
            roles=ROLES,
            generation=0,
            created_at=moment,
            suspended=False,
        )
        token, grant = new_grant(new_id(), moment)
        try:
            async with self.accounts.transaction() as transaction:
                await self.accounts.add_user(transaction, user)
                await self.accounts.add_session(transaction, user.user_id, device, grant)
        except Conflict:
            await self._refuse_taken(body)  # somebody was faster
            raise
        return await self._signed_in(user, token, grant)

    async def login(self, login: str, password: str, device: Device) -> SignedInDto:
        """Raises Failure (rate_limited: for the right password, too; invalid_credentials, account_suspended)."""
        await self.rates.admit(device.address, LOGIN_ADDRESS)
        user = await self.accounts.user_by_login(login)
        account = user.user_id if user else hashlib.sha256(login.lower().encode()).hexdigest()
        await self.rates.admit(account, LOGIN_ACCOUNT)
        if not await self.passwords.verify(user.password_hash if user else None, password) or user is None:
            raise wrong_credentials()
        await self.rates.give_back(account, LOGIN_ACCOUNT)
        await self.rates.give_back(device.address, LOGIN_ADDRESS)
        if self.passwords.outdated(user.password_hash):
            await self.accounts.keep_password_hash(user.user_id, await self.passwords.hash(password))
        token, grant = new_grant(new_id(), now())
        async with self.accounts.transaction() as transaction:
            held = await self.accounts.hold_user(transaction, user.user_id)
            if held is None or not await self._still_right(held, user, password):
                raise wrong_credentials()
            refuse_suspended(held)
            await self.accounts.add_session(transaction, user.user_id, device, grant)
            surplus = await self.accounts.end_surplus_sessions(transaction, user.user_id, SESSIONS_MAX)
        await self._tell_ended(user.user_id, surplus)
        return await self._signed_in(held, token, grant)

    async def refresh(self, token: str, key: str | None, device: Device) -> SignedInDto:
        """Exchange a refresh token. A repeat with the same key gets the same answer for a minute; any other reuse of a
        token ends its session. Raises Failure (invalid_refresh_token, refresh_token_reused, account_suspended)."""
        old_hash, moment = hashed(token), now()
        async with self.accounts.transaction() as transaction:
            old = await self.accounts.lock_refresh_token(transaction, old_hash)
            user = await self.accounts.user_now(transaction, old.user_id) if old else None
            if old is None or user is None or not old.live:
                raise unauthenticated("The refresh token is not valid; sign in again.", "invalid_refresh_token")
            refuse_suspended(user)
            following = self._next_token(token, key)
            grant: Grant | None = None
            if old.used_at is None:
                new = grant_of(following, old.session_id, moment)
                await self.accounts.rotate(transaction, old_hash, hashed(key) if key else None, device, new)
                grant = new
            elif key and is_repeat(old, key, moment):
                grant = await self.accounts.grant_now(transaction, hashed(following))
            if grant is None:
                await self._end_reused(transaction, old)
        if grant is None:
            await self._tell_ended(old.user_id, [old.session_id])
            raise unauthenticated("The refresh token was used before; its session is over.", "refresh_token_reused")
        return await self._signed_in(user, following, grant)

    async def logout(self, viewer: Viewer) -> None:
        await self.end_session(viewer, viewer.session_id)

    async def me(self, viewer: Viewer) -> UserDto:
        return await self._user_dto(await self._user(viewer))

    async def change_password(self, viewer: Viewer, body: PasswordBody) -> UserDto:
        """Ends all other sessions. Raises Failure (rate_limited, wrong_password)."""
        await self.rates.admit(viewer.user_id, LOGIN_ACCOUNT)
        user = await self._user(viewer)
        if not await self.passwords.verify(user.password_hash, body.current_password):
            raise forbidden("The current password is wrong.", "wrong_password")
        await self.rates.give_back(viewer.user_id, LOGIN_ACCOUNT)
        password_hash = await self.passwords.hash(body.new_password)
        async with self.accounts.transaction() as transaction:
            await self.accounts.set_password(transaction, user.user_id, password_hash)
            ended = await self.accounts.end_other_sessions(transaction, user.user_id, viewer.session_id)
            await append(transaction, Act(user.user_id, "password.change", f"user:{user.user_id}", "own wish"))
        await self._tell_ended(user.user_id, ended)
        return await self._user_dto(user)

    async def sessions(self, viewer: Viewer, before: str | None, limit: int) -> list[SessionDto]:
        """The live ones, newest first, below the session `before`."""
        return [
            SessionDto(
                sessionId=session.session_id,
                userAgent=session.user_agent,
                address=session.address,
                createdAt=iso(session.created_at),
                lastUsedAt=iso(session.last_used_at),
                current=session.session_id == viewer.session_id,
            )
            for session in await self.accounts.live_sessions(viewer.user_id, before, limit)
        ]

    async def end_session(self, viewer: Viewer, session_id: str) -> None:
        """One's own; what is over, unknown or another's is left alone without a word."""
        async with self.accounts.transaction() as transaction:
            ended = await self.accounts.end_session(transaction, viewer.user_id, session_id)
        await self._tell_ended(viewer.user_id, ended)

    async def _refuse_taken(self, body: RegisterBody) -> None:
        taken = await self.accounts.taken(body.username, body.email)
        faults = []
        if taken.username:
            faults.append(FieldError("username", "is taken"))
        if taken.email:
            faults.append(FieldError("email", "is taken"))
        if faults:
            code = f"{faults[0].field}_taken"
            raise Failure(Kind.CONFLICT, code, "Somebody has this name or e-mail already.", details=tuple(faults))

    async def _user(self, viewer: Viewer) -> User:
        user = await self.accounts.user(viewer.user_id)
        if user is None:
            raise unauthenticated()
        return user

    async def _still_right(self, held: User, seen: User, password: str) -> bool:
        """Whether the password that fitted a moment ago fits what stands there now."""
        return held.password_hash == seen.password_hash or await self.passwords.verify(held.password_hash, password)

    def _next_token(self, token: str, key: str | None) -> str:
        if not key:
            return secrets.token_urlsafe(32)
        return base64url(
            hmac.digest(self.tokens.secret("refresh"), f"{token}\0{key}".encode(errors="replace"), "sha256")
        )

    async def _end_reused(self, transaction: Transaction, token: RefreshToken) -> None:
        await self.accounts.end_session(transaction, token.user_id, token.session_id)
        await append(
            transaction, Act(token.user_id, "session.end", f"session:{token.session_id}", "refresh token reused")
        )

    async def _tell_ended(self, user_id: str, session_ids: Sequence[str]) -> None:
        """After the commit: here at once, elsewhere by Redis, and where that is away by the next look at the table."""
        if not session_ids:
            return
        ended = [Revocation(user_id, session_id) for session_id in session_ids]
        for revocation in ended:
            self.revocations.apply(revocation)
        own = [Event("SessionRevoked", orjson.dumps({"sessionId": session_id})) for session_id in session_ids]
        control = [Event("SessionRevoked", control_data(revocation)) for revocation in ended]
        try:
            async with asyncio.timeout(TELL_WAIT_S):
                await self.topics.publish([("control", control), (f"user:{user_id}", own)])
        except (Failure, TimeoutError) as error:
            log.warning("revocations not published, the poll will find them: %s", error)

    async def _signed_in(self, user: User, refresh_token: str, grant: Grant) -> SignedInDto:
        subject = Subject(user.user_id, user.username, tuple(user.roles), user.generation)
        return SignedInDto(
            user=await self._user_dto(user),
            accessToken=self.tokens.issue(subject, grant.session_id, grant.token_id, grant.at),
            refreshToken=refresh_token,
            expiresIn=int(LIFETIME.total_seconds()),
        )

    async def _user_dto(self, user: User) -> UserDto:
        person = await self._person(user)
        return UserDto(
            userId=user.user_id,
            username=user.username,
            displayName=person["displayName"] if person else user.display_name,
            avatarUrl=person["avatarUrl"] if person else None,
            email=user.email,
            emailVerified=user.email_verified,
            roles=user.roles,
            createdAt=iso(user.created_at),
        )

    async def _person(self, user: User) -> PersonDto | None:
        """The profile's part, made where a crash or an absent MongoDB has left an account without; None while away."""
        try:
            person = (await self.profiles.persons([user.user_id])).get(user.user_id)
            if person is None:
                await self.profiles.create(user.user_id, user.username, user.display_name, user.created_at)
            return person
        except Failure as failure:
            log.warning("signed in without a profile: %s", failure)
            return None


def wrong_credentials() -> Failure:
    return unauthenticated("The login or the password is wrong.", "invalid_credentials")


def refuse_suspended(user: User) -> None:
    if user.suspended:
        raise forbidden("This account is suspended.", "account_suspended")


def is_repeat(old: RefreshToken, key: str, moment: datetime) -> bool:
    """Whether a used token is presented as it was when it was used, soon after."""
    if old.used_at is None or old.used_key is None:
        return False
    return hmac.compare_digest(bytes(old.used_key), hashed(key)) and moment - old.used_at <= REPEAT_WINDOW


def new_grant(session_id: str, moment: datetime) -> tuple[str, Grant]:
    token = secrets.token_urlsafe(32)
    return token, grant_of(token, session_id, moment)


def grant_of(token: str, session_id: str, moment: datetime) -> Grant:
    return Grant(hashed(token), new_id(), session_id, moment, moment + REFRESH_LIFETIME)


def hashed(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
