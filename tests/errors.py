"""The one shape of errors, wherever they come from."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def assert_error_object(error: Json, code: str = "", *fields: str) -> None:
    """The part that REST and the streams share. `fields`: exactly those are at fault."""
    assert set(error) - {"requestId"} == ({"code", "message", "details"} if fields else {"code", "message"}), error
    assert error["code"] == code or not code, error
    assert isinstance(error["message"], str) and error["message"].endswith("."), error
    told = error.get("details", [])
    assert sorted(detail["field"] for detail in told) == sorted(fields), error
    assert all(set(detail) == {"field", "message"} and detail["message"] for detail in told), error
    text = str(error)
    assert not any(word in text for word in ("Traceback", "pymongo", "pydantic", ".py", "redis")), error


def assert_error(
    answer: tuple[int, Mapping[str, str], Json], status: int, code: str, *fields: str, request_id: str = ""
) -> None:
    """An answer of (status, headers, body)."""
    got, headers, body = answer
    assert got == status, (got, body)
    assert headers["Content-Type"].startswith("application/json") and headers["Cache-Control"] == "no-store"
    assert set(body) == {"error"}, body
    assert_error_object(body["error"], code, *fields)
    assert body["error"]["requestId"] == headers["X-Request-Id"] != ""
    assert request_id in ("", headers["X-Request-Id"])
