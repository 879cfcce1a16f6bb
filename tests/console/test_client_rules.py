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


async def test_a_client_in_hint_mode_gets_what_was_sent_from_a_real_hub(hub: Cluster, tmp_path: Path) -> None:
    url = hub.url("web")
    token = hub.request("POST", f"{url}/v1/tokens", {"user": "hinted"})["token"]
    script = """
      (async () => {
        const { HubClient } = await import("/console/static/hub-client.js");
        window.applied = [];
        window.news = 0;
        window.client = new HubClient({
          url: location.origin.replace("http", "ws") + "/v1/ws", token: async () => TOKEN, mode: "hint",
          device: { id: "h", platform: "web" }, apply: ({ body }) => void window.applied.push(body.text),
        });
        client.addEventListener("news", () => (window.news += 1));
        client.start();
      })()
    """
    async with browser_page(tmp_path, language="en-US") as page:
        await page.open(f"{url}/")
        await page.run(script.replace("TOKEN", f"'{token}'"))
        await page.until("client.state === 'live'")
        for text in ("one", "two", "three"):
            message = {"to": {"user": "hinted"}, "sender": "hinted", "kind": "text", "body": {"text": text}}
            hub.request("POST", f"{url}/v1/messages", message)
            await page.until(f"applied.at(-1) === '{text}'")
        assert await page.run("applied.join()") == "one,two,three"
        assert await page.run("news") > 0
        await page.run("client.stop()")
        assert page.complaints == []
