"""Times on the wire: ISO 8601, UTC, milliseconds, Z."""

from datetime import UTC, datetime, timedelta, timezone

from protocols.times import iso, now


def test_a_moment_is_written_in_utc_with_milliseconds() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 67_999, timezone(timedelta(hours=2)))
    assert iso(moment) == "2026-01-02T01:04:05.067Z"


def test_a_moment_without_a_zone_is_taken_as_utc() -> None:
    assert iso(datetime(2026, 1, 2, 3, 4, 5)) == "2026-01-02T03:04:05.000Z"


def test_now_is_aware_and_has_no_part_of_a_millisecond() -> None:
    for _ in range(50):
        moment = now()
        assert moment.tzinfo is UTC
        assert moment.microsecond % 1_000 == 0
        assert datetime.fromisoformat(iso(moment)) == moment
