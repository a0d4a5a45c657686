"""The audit log: who did what, when and why, in rows that are chained by their hashes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from protocols.times import iso, now
from stores.postgres import Transaction

LOCK = 0x61756474  # one writer at a time, so that each row knows the one before
GENESIS = bytes(32)  # stands before the first row

TAKE_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"
LAST = "SELECT audit_id, hash FROM audit_log ORDER BY audit_id DESC LIMIT 1"
ADD = """INSERT INTO audit_log (audit_id, at, actor, act, target, reason, details, previous, hash) VALUES
    (%(audit_id)s, %(at)s, %(actor)s, %(act)s, %(target)s, %(reason)s, %(details)s, %(previous)s, %(hash)s)"""


@dataclass(frozen=True, slots=True)
class Act:
    """`actor`: a user id or an administrator's name; `target`: "user:<id>", "session:<id>" ..."""

    actor: str
    act: str
    target: str
    reason: str
    details: Mapping[str, str | int | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    audit_id: int
    hash: bytes | memoryview


async def append(transaction: Transaction, act: Act) -> None:
    """Three round trips, and a lock until the commit: call it last."""
    await transaction.execute(TAKE_LOCK, {"lock": LOCK})
    last = await transaction.one(Link, LAST)
    audit_id, previous = (last.audit_id + 1, bytes(last.hash)) if last else (1, GENESIS)
    at, details = now(), orjson.dumps(dict(act.details), option=orjson.OPT_SORT_KEYS).decode()
    await transaction.execute(
        ADD,
        {
            "audit_id": audit_id,
            "at": at,
            "actor": act.actor,
            "act": act.act,
            "target": act.target,
            "reason": act.reason,
            "details": details,
            "previous": previous,
            "hash": row_hash(previous, audit_id, at, act, details),
        },
    )


def row_hash(previous: bytes, audit_id: int, at: datetime, act: Act, details: str) -> bytes:
    """SHA-256 over the hash before and a JSON array of the columns in their order."""
    columns = [audit_id, iso(at), act.actor, act.act, act.target, act.reason, details]
    return hashlib.sha256(previous + orjson.dumps(columns)).digest()
