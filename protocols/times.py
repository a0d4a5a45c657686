"""Times: ISO 8601, UTC, milliseconds, Z on the wire; inside aware datetimes, cut to milliseconds as MongoDB does."""

from datetime import UTC, datetime


def now() -> datetime:
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def iso(moment: datetime) -> str:
    """`moment` as text; a naive one is taken as UTC."""
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:-6] + "Z"
