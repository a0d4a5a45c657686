"""Passwords: argon2id, in threads of their own so that the loop never waits for it."""

import asyncio
import os
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from protocols.errors import unavailable

Answer = TypeVar("Answer")

# OWASP's first choice for argon2id: 19 MiB, two passes, one lane; some 20 ms of one core.
MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1
THREADS = min(4, os.cpu_count() or 1)  # four hold 76 MiB; the loop wants a core, too
WAITING_MAX = 1_000  # some ten seconds of work; beyond it a caller is sent away rather than kept


class Passwords:
    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._threads = ThreadPoolExecutor(THREADS, "passwords")
        self._waiting = 0
        self._nobodys = self._hasher.hash("nobody's password")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(normal(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """None, for an unknown account, takes as long as a wrong password."""

        def check() -> bool:
            try:
                return self._hasher.verify(password_hash or self._nobodys, normal(password)) and bool(password_hash)
            except (VerifyMismatchError, InvalidHashError):
                return False

        return await self._run(check)

    def outdated(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    async def _run(self, work: Callable[[], Answer]) -> Answer:
        if self._waiting >= WAITING_MAX:
            raise unavailable("sign-in")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def normal(password: str) -> str:
    """The same password from every keyboard: systems compose accents differently."""
    return unicodedata.normalize("NFKC", password)
