"""The socket client's own rules, played in a real browser against a scripted socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console.browser import browser_page
from tests.support.cluster import Cluster

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("chromium")]


async def test_the_client_keeps_the_rules_of_the_protocol(hub: Cluster, tmp_path: Path) -> None:
    script = (Path(__file__).parent / "client_rules.js").read_text()
    async with browser_page(tmp_path, language="en-US") as page:
        await page.open(f"{hub.url('web')}/")
        assert await page.run(script) == {}
        assert page.complaints == []
