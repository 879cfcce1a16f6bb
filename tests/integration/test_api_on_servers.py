"""The API over PostgreSQL and MariaDB: what its own tests say of files, exports, devices, chats and writes."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import TypeAlias

import pytest

from tests.services import DatabaseServer
from tests.unit.api import test_chat_routes, test_devices, test_export, test_media, test_writes
from tests.unit.api.harness import World, open_world

Scenario: TypeAlias = Callable[[World], Awaitable[None]]


def scenarios_of(module: ModuleType) -> list[Scenario]:
    """Its tests that take a world and nothing else."""
    found = [value for name, value in vars(module).items() if name.startswith("test_")]
    return [test for test in found if list(inspect.signature(test).parameters) == ["world"]]


SCENARIOS = [
    pytest.param(
        scenario, id=f"{module.__name__.rpartition('.')[2]}-{scenario.__name__}".replace("test_", "")
    )
    for module in (test_chat_routes, test_devices, test_export, test_media, test_writes)
    for scenario in scenarios_of(module)
]


@pytest.fixture(
    params=[
        pytest.param("postgres_server", marks=pytest.mark.postgres, id="postgres"),
        pytest.param("mariadb_server", marks=pytest.mark.mysql, id="mysql"),
    ]
)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    server: DatabaseServer = request.getfixturevalue(request.param)
    async with open_world(server.clean_database(), create=False) as opened:
        yield opened


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_on_a_server(scenario: Scenario, world: World) -> None:
    await scenario(world)
