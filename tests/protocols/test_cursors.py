"""Cursors: read back as written, and refused where another list, or nobody, wrote them."""

import base64
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.cursors import NUMBER_MAX, TEXT_MAX, read_cursor, read_cursor_pair, write_cursor
from protocols.errors import Failure

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 4_102_444_800_000).map(lambda ms: EPOCH + timedelta(milliseconds=ms))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=TEXT_MAX), st.integers(0, NUMBER_MAX - 1))
def test_a_text_and_a_number_come_back(text: str, number: int) -> None:
    assert read_cursor_pair(write_cursor(text, number), str, int) == (text, number)
    assert read_cursor(write_cursor(number), int) == number


@given(MOMENTS)
def test_a_moment_comes_back_to_the_millisecond(moment: datetime) -> None:
    assert read_cursor(write_cursor(moment), datetime) == moment


def test_a_cursor_needs_no_escaping_in_a_url() -> None:
    assert write_cursor("a?>", 62).isascii()
    assert not set(write_cursor("\xff?>~", 1)) & set("+/=&?# ")


def written(parts: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é",
        "!!!!",
        "x",
        base64.urlsafe_b64encode(b"no json").decode(),
        written({"0": "a"}),
        written([]),
        written(["a", "b"]),
        written([None]),
        written([["a"]]),
        written([1]),
        written([True]),
        written(["x" * (TEXT_MAX + 1)]),
        base64.urlsafe_b64encode(b"[" * 3_000).decode(),
    ],
)
def test_what_this_list_never_wrote_is_refused(text: str) -> None:
    with pytest.raises(Failure) as refused:
        read_cursor(text, str)
    assert refused.value.code == "bad_cursor"


@pytest.mark.parametrize("part", [-1, NUMBER_MAX, 1 << 80, 1.5, True, None, "1"])
def test_a_number_out_of_range_or_of_another_type_is_refused(part: object) -> None:
    text = base64.urlsafe_b64encode(repr([part]).replace("None", "null").replace("True", "true").encode()).decode()
    for kind in (int, datetime):
        with pytest.raises(Failure):
            read_cursor(text, kind)
