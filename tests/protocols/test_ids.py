"""Ids: UUIDv7, ordered by creation."""

import uuid

import pytest

from protocols.ids import is_id, new_id


def test_ids_are_version_7_and_ascend() -> None:
    made = [new_id() for _ in range(1_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {uuid.UUID(one).version for one in made} == {7}
    assert all(map(is_id, made))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0192f0a0-0000-7000-8000-00000000000",
        "0192f0a0-0000-7000-8000-0000000000000",
        "0192F0A0-0000-7000-8000-000000000000",
        "0192f0a0000070008000000000000000",
        "0192f0a0-0000-7000-8000-000000000000\n",
        "0192f0a0-0000-7000-8000-00000000000g",
        "../etc/passwd",
    ],
)
def test_what_only_looks_like_an_id_is_none(text: str) -> None:
    assert not is_id(text)
