"""A process's chat for each test; `other` is a second process on the same stores."""

from collections.abc import AsyncIterator

import pytest

from tests.backing import Backing
from tests.chat import Chat, chat


@pytest.fixture
async def process(migrated: Backing) -> AsyncIterator[Chat]:
    async with chat(migrated) as made:
        yield made


@pytest.fixture
async def other(migrated: Backing) -> AsyncIterator[Chat]:
    async with chat(migrated) as made:
        yield made
