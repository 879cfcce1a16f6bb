"""A world for each test, on a database file of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.api.harness import World, open_world, sqlite_url


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The API, ready to be called."""
    async with open_world(sqlite_url(tmp_path)) as opened:
        yield opened
