import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from protocols.errors import Failure, Kind
from services import rates as module
from services.rates import LIMITS, Limit, Rates
from stores.buckets import Buckets
from tests.backing import Backing

ROUTE = "POST /x"


class Counted(Buckets):
    """Counts its round trips."""

    trips = 0

    async def take(self, *args: object, **options: object) -> object:  # type: ignore[override]
        self.trips += 1
        return await super().take(*args, **options)  # type: ignore[arg-type]


@pytest.fixture
async def redis(backing: Backing) -> AsyncIterator[Redis]:
    client = Redis.from_url(backing.redis_url, driver_info=None)
    yield client
    await client.aclose()


@pytest.fixture
def who() -> str:
    return secrets.token_hex(8)


async def admitted(rates: Rates, who: str, times: int) -> int:
    results = await asyncio.gather(*(rates.admit(who, ROUTE) for _ in range(times)), return_exceptions=True)
    assert all(result is None or isinstance(result, Failure) for result in results), results
    return results.count(None)


async def test_a_burst_is_admitted_and_no_more(redis: Redis, who: str) -> None:
    rates = Rates(Buckets(redis), {ROUTE: Limit(60, 600)})
    assert 60 <= await admitted(rates, who, 100) <= 66  # what comes back meanwhile
    with pytest.raises(Failure) as caught:
        for _ in range(10):
            await rates.admit(who, ROUTE)
    assert caught.value.kind is Kind.RATE_LIMITED and caught.value.retry_after == 1


async def test_the_wait_told_is_the_wait_needed(redis: Redis, who: str) -> None:
    rates = Rates(Buckets(redis), {ROUTE: Limit(1, 6)})
    await rates.admit(who, ROUTE)
    with pytest.raises(Failure) as caught:
        await rates.admit(who, ROUTE)
    assert caught.value.retry_after == 10


async def test_tokens_come_back_with_time(redis: Redis, who: str) -> None:
    buckets, limit = Buckets(redis), {"burst": 2, "per_minute": 600, "wanted": 5}
    assert (await buckets.take(who, ROUTE, **limit)).granted == 2
    refused = await buckets.take(who, ROUTE, **limit)
    assert refused.granted == 0 and 0.05 < refused.retry_s <= 0.1
    await asyncio.sleep(refused.retry_s)
    assert (await buckets.take(who, ROUTE, **limit)).granted == 1


async def test_processes_share_a_bucket(redis: Redis, who: str) -> None:
    processes = [Rates(Buckets(redis), {ROUTE: Limit(20, 60)}) for _ in range(4)]
    counts = await asyncio.gather(*(admitted(rates, who, 20) for rates in processes))
    assert sum(counts) == 20


async def test_users_and_routes_have_buckets_of_their_own(redis: Redis, who: str) -> None:
    rates = Rates(Buckets(redis), {ROUTE: Limit(1, 1), "other": Limit(1, 1)})
    await rates.admit(who, ROUTE)
    await rates.admit(who + "2", ROUTE)
    await rates.admit(who, "other")
    with pytest.raises(Failure):
        await rates.admit(who, ROUTE)


async def test_leases_spare_most_round_trips(redis: Redis, who: str) -> None:
    buckets = Counted(redis)
    assert await admitted(Rates(buckets, {ROUTE: Limit(1_000, 60_000)}), who, 1_000) == 1_000
    assert buckets.trips == 10


async def test_a_refusal_is_remembered_without_round_trips(redis: Redis, who: str) -> None:
    buckets = Counted(redis)
    assert await admitted(Rates(buckets, {ROUTE: Limit(1, 1)}), who, 50) == 1
    assert buckets.trips == 2


async def test_a_lease_expires(redis: Redis, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEASE_S", 0.0)
    buckets = Counted(redis)
    rates = Rates(buckets, {ROUTE: Limit(100, 6_000)})
    await rates.admit(who, ROUTE)
    await rates.admit(who, ROUTE)
    assert buckets.trips == 2


@pytest.mark.parametrize(
    ("limit", "lease"), [(Limit(10, 6), 1), (Limit(60, 60), 1), (Limit(60, 600), 6), (Limit(1_000, 600), 10)]
)
def test_a_lease_grows_with_the_limit(limit: Limit, lease: int) -> None:
    assert limit.lease == lease


async def test_leases_are_bounded(redis: Redis, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    monkeypatch.setattr(module, "LEASES_MAX", 5)
    rates = Rates(Buckets(redis))
    for number in range(20):
        await rates.admit(f"{who}{number}", ROUTE)
    assert len(rates._leases) == 5


async def test_what_is_given_back_can_be_taken_again_but_never_more(redis: Redis, who: str) -> None:
    rates = Rates(Buckets(redis), {ROUTE: Limit(2, 1)})
    for _ in range(5):
        await rates.admit(who, ROUTE)
        await rates.give_back(who, ROUTE)
    await rates.give_back(who, ROUTE)
    assert await admitted(rates, who, 5) == 2


async def test_everything_is_admitted_while_redis_is_away_without_asking_each_time(tmp_path: Path, who: str) -> None:
    redis = Redis.from_url(f"unix://{tmp_path}/nothing", driver_info=None)
    buckets = Counted(redis)
    rates = Rates(buckets, {ROUTE: Limit(1, 1)})
    started = time.monotonic()
    assert await admitted(rates, who, 50) == 50
    await rates.give_back(who, ROUTE)
    assert buckets.trips <= 2 and time.monotonic() - started < 2
    await redis.aclose()


async def test_limits_can_be_raised_and_switched_off(redis: Redis, who: str) -> None:
    assert await admitted(Rates(Buckets(redis), {ROUTE: Limit(1, 1)}, factor=50), who, 100) == 50
    buckets = Counted(redis)
    assert await admitted(Rates(buckets, {ROUTE: Limit(1, 1)}, enabled=False), who, 100) == 100
    assert buckets.trips == 0


async def test_a_bucket_leaves_redis_once_it_would_be_full(redis: Redis, who: str) -> None:
    await Rates(Buckets(redis), {ROUTE: Limit(2, 60)}).admit(who, ROUTE)
    assert 0 < await redis.pttl(f"{{rate:{who}:{ROUTE}}}") <= 2_001


def test_the_table_is_sound() -> None:
    assert all(limit.burst >= 1 and limit.per_minute >= 1 for limit in LIMITS.values())
