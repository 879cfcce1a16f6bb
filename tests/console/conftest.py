"""One hub and, for each test, one fresh browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.browser import find_chromium
from tests.services.process import ServiceMissing
from tests.support.cluster import Cluster, cluster


@pytest.fixture(scope="session")
def chromium() -> str:
    try:
        return find_chromium()
    except ServiceMissing as missing:
        if os.environ.get("HUB_REQUIRE_SERVICES") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory: Path = tmp_path_factory.mktemp("console")
    database = f"sqlite+aiosqlite:///{directory / 'hub.db'}"
    with cluster(directory, database, HUB_GRACE_APP="0.2", HUB_GRACE_WEB="0.2") as running:
        running.start_node("web")
        yield running
