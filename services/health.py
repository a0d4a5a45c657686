"""The state of each backing service, in words for whoever runs the product."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

LOOK_S = 2.0

Check = Callable[[], Awaitable[str | None]]  # what is wrong, or None


class Health:
    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks

    async def look(self) -> dict[str, str | None]:
        """All at once, each for two seconds at most."""
        faults = await asyncio.gather(*(self._one(check) for check in self._checks.values()))
        return dict(zip(self._checks, faults, strict=True))

    async def _one(self, check: Check) -> str | None:
        try:
            async with asyncio.timeout(LOOK_S):
                return await check()
        except TimeoutError:
            return f"no answer within {LOOK_S:.0f} s"
        except Exception as error:  # whatever a driver raises, the answer is the same: it is away
            return f"can't be reached ({type(error).__name__})"
