"""Positions: what a server gave out is read back, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import Failure
from protocols.positions import Position, parse_position


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=8, max_size=8), st.integers(0, 10**15 - 1))
def test_a_position_is_read_back_as_it_was_written(epoch: str, offset: int) -> None:
    assert parse_position(str(Position(epoch, offset))) == Position(epoch, offset)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "k3f9ab2c",
        "k3f9ab2c:",
        ":9",
        "k3f9ab2:9",
        "k3f9ab2cc:9",
        "K3F9AB2C:9",
        "k3f9ab2é:9",
        "k3f9ab2c:09",
        "k3f9ab2c:+9",
        "k3f9ab2c:-1",
        "k3f9ab2c:9.0",
        "k3f9ab2c:1e3",
        "k3f9ab2c:٣",
        "k3f9ab2c:9\n",
        " k3f9ab2c:9",
        "k3f9ab2c:9:9",
        "k3f9ab2c:1000000000000000",
    ],
)
def test_what_no_server_gave_out_is_refused(text: str) -> None:
    with pytest.raises(Failure) as refused:
        parse_position(text)
    assert refused.value.code == "bad_position"
