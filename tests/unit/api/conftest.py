"""A world for each test and each storage plan, on a database file of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.harness import World, open_world, sqlite_url


@pytest.fixture
async def world(tmp_path: Path, plan: dict[str, Any]) -> AsyncIterator[World]:
    """The API, ready to be called."""
    async with open_world(sqlite_url(tmp_path), **plan) as opened:
        yield opened
