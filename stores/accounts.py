"""Accounts in PostgreSQL: users, their sessions and refresh tokens, and the revocations that every process reads.

Functions that take a `Transaction` belong to a write that the caller commits as a whole; the others are one round trip.
"""

from dataclasses import dataclass
from datetime import datetime

from protocols.accounts import Device
from stores.postgres import Postgres, Transaction

USER_COLUMNS = """user_id, username, email, email_verified, password_hash, display_name, roles, generation, created_at,
    (suspended_at IS NOT NULL AND (suspended_until IS NULL OR suspended_until > now())) AS suspended"""
USER_BY_ID = f"SELECT {USER_COLUMNS} FROM users WHERE user_id = %(user_id)s"
HOLD_USER = f"{USER_BY_ID} FOR SHARE"
USER_BY_USERNAME = f"SELECT {USER_COLUMNS} FROM users WHERE username = %(username)s"
USER_BY_EMAIL = f"SELECT {USER_COLUMNS} FROM users WHERE email_key = lower(%(email)s)"
TAKEN = """SELECT EXISTS (SELECT FROM users WHERE username = %(username)s) AS username,
    EXISTS (SELECT FROM users WHERE email_key = lower(%(email)s)) AS email"""
ADD_USER = """INSERT INTO users (user_id, username, email, email_key, password_hash, display_name, roles, created_at)
    VALUES (%(user_id)s, %(username)s, %(email)s, lower(%(email)s), %(password_hash)s, %(display_name)s, %(roles)s,
    %(created_at)s)"""
SET_PASSWORD = "UPDATE users SET password_hash = %(password_hash)s WHERE user_id = %(user_id)s"

SESSION_COLUMNS = "session_id, user_id, user_agent, address, created_at, last_used_at"
ADD_SESSION = """INSERT INTO sessions (session_id, user_id, user_agent, address, created_at, last_used_at, expires_at)
    VALUES (%(session_id)s, %(user_id)s, %(user_agent)s, %(address)s, %(at)s, %(at)s, %(expires_at)s)"""
LIVE_SESSIONS = f"""SELECT {SESSION_COLUMNS} FROM sessions
    WHERE user_id = %(user_id)s AND ended_at IS NULL AND expires_at > now()
    AND session_id < coalesce(%(before)s, 'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid
    ORDER BY session_id DESC LIMIT %(limit)s"""
USE_SESSION = """UPDATE sessions SET last_used_at = %(at)s, expires_at = %(expires_at)s, user_agent = %(user_agent)s,
    address = %(address)s WHERE session_id = %(session_id)s"""
END_SESSION = """UPDATE sessions SET ended_at = now()
    WHERE session_id = %(session_id)s AND user_id = %(user_id)s AND ended_at IS NULL RETURNING session_id AS id"""
END_SURPLUS_SESSIONS = """UPDATE sessions SET ended_at = now() WHERE session_id IN (SELECT session_id FROM sessions
    WHERE user_id = %(user_id)s AND ended_at IS NULL ORDER BY session_id DESC OFFSET %(newest)s)
    RETURNING session_id AS id"""
END_OTHER_SESSIONS = """UPDATE sessions SET ended_at = now()
    WHERE user_id = %(user_id)s AND ended_at IS NULL AND session_id <> %(kept)s RETURNING session_id AS id"""

ADD_REFRESH_TOKEN = """INSERT INTO refresh_tokens (token_hash, token_id, session_id, created_at, expires_at)
    VALUES (%(token_hash)s, %(token_id)s, %(session_id)s, %(at)s, %(expires_at)s)"""
LOCK_REFRESH_TOKEN = """SELECT token_id, session_id, user_id, t.created_at, used_at, used_key, ended_at IS NULL AS live
    FROM refresh_tokens t JOIN sessions s USING (session_id)
    WHERE token_hash = %(token_hash)s AND t.expires_at > now() FOR UPDATE OF t, s"""
GRANT = """SELECT token_hash, token_id, session_id, created_at AS at, expires_at FROM refresh_tokens
    WHERE token_hash = %(token_hash)s"""
USE_REFRESH_TOKEN = """UPDATE refresh_tokens SET used_at = %(at)s, used_key = %(used_key)s
    WHERE token_hash = %(token_hash)s"""

ADD_REVOCATIONS = """INSERT INTO revocations (user_id, session_id)
    SELECT %(user_id)s::uuid, unnest(%(session_ids)s::uuid[])"""
NEWER_REVOCATIONS = """SELECT revocation_id, user_id, session_id, generation, created_at FROM revocations
    WHERE (created_at, revocation_id) > (%(since)s, %(after)s) ORDER BY created_at, revocation_id LIMIT %(limit)s"""
RECENT_REVOCATIONS = """SELECT revocation_id, user_id, session_id, generation, created_at FROM revocations
    WHERE created_at > now() - make_interval(secs => %(seconds)s) ORDER BY created_at, revocation_id LIMIT %(limit)s"""

# In lots, so that no purge holds many rows; those that another worker is at are passed over.
PURGE_REFRESH_TOKENS = """DELETE FROM refresh_tokens WHERE token_hash IN (SELECT token_hash FROM refresh_tokens
    WHERE expires_at < now() ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)"""
PURGE_SESSIONS = """DELETE FROM sessions WHERE session_id IN (SELECT session_id FROM sessions
    WHERE least(expires_at, ended_at) < now() - make_interval(days => %(days)s)
    ORDER BY least(expires_at, ended_at) LIMIT %(limit)s FOR UPDATE SKIP LOCKED)"""
PURGE_REVOCATIONS = """DELETE FROM revocations WHERE revocation_id IN (SELECT revocation_id FROM revocations
    WHERE created_at < now() - make_interval(secs => %(seconds)s)
    ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)"""


@dataclass(frozen=True, slots=True)
class User:
    user_id: str
    username: str
    email: str
    email_verified: bool
    password_hash: str
    display_name: str
    roles: list[str]
    generation: int
    created_at: datetime
    suspended: bool


@dataclass(frozen=True, slots=True)
class Taken:
    username: bool
    email: bool


@dataclass(frozen=True, slots=True)
class Session:
    session_id: str
    user_id: str
    user_agent: str
    address: str
    created_at: datetime
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class Grant:
    """A refresh token on its way into its table; `token_id` is the jti of the access token that goes out with it."""

    token_hash: bytes | memoryview
    token_id: str
    session_id: str
    at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One that was presented, with what is known of its session. `used_key`: hash of the key it was used with."""

    token_id: str
    session_id: str
    user_id: str
    created_at: datetime
    used_at: datetime | None
    used_key: bytes | memoryview | None
    live: bool


@dataclass(frozen=True, slots=True)
class RevocationRow:
    revocation_id: int
    user_id: str
    session_id: str | None
    generation: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    id: str


class Accounts:
    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self.transaction = postgres.transaction

    async def user(self, user_id: str) -> User | None:
        return await self._postgres.one(User, USER_BY_ID, {"user_id": user_id})

    async def user_by_login(self, login: str) -> User | None:
        """By user name or e-mail; only the latter holds an @."""
        if "@" in login:
            return await self._postgres.one(User, USER_BY_EMAIL, {"email": login})
        return await self._postgres.one(User, USER_BY_USERNAME, {"username": login.lower()})

    async def taken(self, username: str, email: str) -> Taken:
        taken = await self._postgres.one(Taken, TAKEN, {"username": username, "email": email})
        assert taken is not None
        return taken

    async def add_user(self, transaction: Transaction, user: User) -> None:
        """Raises Conflict (users_username_key or users_email_key)."""
        await transaction.execute(
            ADD_USER,
            {
                "user_id": user.user_id,
                "username": user.username,
                "email": user.email,
                "password_hash": user.password_hash,
                "display_name": user.display_name,
                "roles": user.roles,
                "created_at": user.created_at,
            },
        )

    async def user_now(self, transaction: Transaction, user_id: str) -> User | None:
        return await transaction.one(User, USER_BY_ID, {"user_id": user_id})

    async def hold_user(self, transaction: Transaction, user_id: str) -> User | None:
        """As they are, and stay until the commit: a change of password or a suspension comes before or after."""
        return await transaction.one(User, HOLD_USER, {"user_id": user_id})

    async def set_password(self, transaction: Transaction, user_id: str, password_hash: str) -> None:
        await transaction.execute(SET_PASSWORD, {"user_id": user_id, "password_hash": password_hash})

    async def keep_password_hash(self, user_id: str, password_hash: str) -> None:
        """The same password under new parameters."""
        await self._postgres.execute(SET_PASSWORD, {"user_id": user_id, "password_hash": password_hash})

    async def add_session(self, transaction: Transaction, user_id: str, device: Device, grant: Grant) -> None:
        values = _grant(grant) | {"user_id": user_id, "user_agent": device.user_agent, "address": device.address}
        await transaction.execute(ADD_SESSION, values)
        await transaction.execute(ADD_REFRESH_TOKEN, values)

    async def live_sessions(self, user_id: str, before: str | None, limit: int) -> list[Session]:
        """Newest first, those below the session `before`."""
        values = {"user_id": user_id, "before": before, "limit": limit}
        return await self._postgres.fetch(Session, LIVE_SESSIONS, values)

    async def end_session(self, transaction: Transaction, user_id: str, session_id: str) -> list[str]:
        """Returns the session's id, or nothing where it is over, unknown, or another's."""
        ended = await transaction.fetch(Ended, END_SESSION, {"user_id": user_id, "session_id": session_id})
        return await self._revoke(transaction, user_id, ended)

    async def end_other_sessions(self, transaction: Transaction, user_id: str, kept: str) -> list[str]:
        """Ends all of a user's sessions but one. Returns their ids."""
        ended = await transaction.fetch(Ended, END_OTHER_SESSIONS, {"user_id": user_id, "kept": kept})
        return await self._revoke(transaction, user_id, ended)

    async def end_surplus_sessions(self, transaction: Transaction, user_id: str, newest: int) -> list[str]:
        """Ends all but the `newest`. Returns their ids."""
        ended = await transaction.fetch(Ended, END_SURPLUS_SESSIONS, {"user_id": user_id, "newest": newest})
        return await self._revoke(transaction, user_id, ended)

    async def lock_refresh_token(self, transaction: Transaction, token_hash: bytes) -> RefreshToken | None:
        """The token that has this hash, if it has not expired; it and its session are locked to the end."""
        return await transaction.one(RefreshToken, LOCK_REFRESH_TOKEN, {"token_hash": token_hash})

    async def grant_now(self, transaction: Transaction, token_hash: bytes) -> Grant | None:
        return await transaction.one(Grant, GRANT, {"token_hash": token_hash})

    async def rotate(
        self, transaction: Transaction, old_hash: bytes, used_key: bytes | None, device: Device, grant: Grant
    ) -> None:
        """Mark a locked refresh token as used, add its successor, and note the session's use."""
        values = _grant(grant) | {"user_agent": device.user_agent, "address": device.address}
        await transaction.execute(USE_REFRESH_TOKEN, {"token_hash": old_hash, "used_key": used_key, "at": grant.at})
        await transaction.execute(ADD_REFRESH_TOKEN, values)
        await transaction.execute(USE_SESSION, values)

    async def recent_revocations(self, seconds: float, limit: int) -> list[RevocationRow]:
        """Those of the last `seconds`, oldest first."""
        return await self._postgres.fetch(RevocationRow, RECENT_REVOCATIONS, {"seconds": seconds, "limit": limit})

    async def revocations_after(self, since: datetime, after: int, limit: int) -> list[RevocationRow]:
        """Those above the place (since, after) in the order of time and id."""
        values = {"since": since, "after": after, "limit": limit}
        return await self._postgres.fetch(RevocationRow, NEWER_REVOCATIONS, values)

    async def purge_refresh_tokens(self, limit: int) -> int:
        return await self._postgres.execute(PURGE_REFRESH_TOKENS, {"limit": limit})

    async def purge_sessions(self, days: int, limit: int) -> int:
        """Those that ended or expired more than `days` ago, with their tokens."""
        return await self._postgres.execute(PURGE_SESSIONS, {"days": days, "limit": limit})

    async def purge_revocations(self, seconds: float, limit: int) -> int:
        return await self._postgres.execute(PURGE_REVOCATIONS, {"seconds": seconds, "limit": limit})

    async def _revoke(self, transaction: Transaction, user_id: str, ended: list[Ended]) -> list[str]:
        session_ids = [row.id for row in ended]
        if session_ids:
            await transaction.execute(ADD_REVOCATIONS, {"user_id": user_id, "session_ids": session_ids})
        return session_ids


def _grant(grant: Grant) -> dict[str, object]:
    return {
        "token_hash": grant.token_hash,
        "token_id": grant.token_id,
        "session_id": grant.session_id,
        "at": grant.at,
        "expires_at": grant.expires_at,
    }
