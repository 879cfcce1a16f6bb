"""The approval example on a hub started as a person starts it: the app, the phone after it, and green cards for all."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.console.browser import Page, browser_page, find_chromium
from tests.e2e.terminal import Terminal
from tests.services.process import ServiceMissing

pytestmark = [pytest.mark.timeout(180), pytest.mark.worker]
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "approval" / "leave.py"
OFFICIAL = "wx5a6d0c8b1e2f3a47"
SHOTS = os.environ.get("HUB_CONSOLE_SHOTS")
TODO, RESULT = "审批待处理通知", "审批结果通知"


@dataclass(frozen=True)
class Running:
    """A hub with its sandbox."""

    data: Path
    hub: str
    phone: str
    key: str

    def ask(self, url: str, body: object = None) -> tuple[int, Any]:
        """A JSON request; status and body, whatever they are."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def messages(self, person: str, title: str) -> list[dict[str, Any]]:
        """What the official account has sent to a person's phone under this title, oldest first."""
        status, shown = self.ask(f"{self.phone}/sandbox/people/{person}/phone")
        assert status == 200, shown
        cards = [card for thread in shown["threads"] for card in thread["messages"]]
        return [card for card in cards if card["title"] == title and card["appid"] == OFFICIAL]

    async def next_message(self, person: str, title: str, before: int) -> dict[str, Any]:
        """The one after so many."""
        while len(found := await asyncio.to_thread(self.messages, person, title)) <= before:
            await asyncio.sleep(0.1)
        return found[before]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    try:
        find_chromium()
    except ServiceMissing as missing:
        (pytest.fail if os.environ.get("HUB_REQUIRE_SERVICES") == "1" else pytest.skip)(str(missing))
    data = tmp_path / "data"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    environment = {**kept, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-P", "-m", "hub.cli", "up", "--data", str(data)]
    with Terminal(command, environment) as terminal:
        hub, phone = re.findall(r"http://127\.0\.0\.1:\d+", terminal.until("Ctrl-C stops", 90))[:2]
        yield Running(data, hub, phone, (data / "api_key").read_text().strip())
        terminal.ctrl_c()
        assert terminal.code(30) == 0, terminal.text


class Business:
    """The example, as a process; `said` is everything that it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.said = ""
        self._process = process

    @classmethod
    async def start(cls, running: Running, *approvers: str) -> Business:
        people = [word for name in approvers for word in ("--approver", name)]
        words = [str(EXAMPLE), "--data", str(running.data), *people, "--wait", "120"]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, cwd="/", stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        return cls(process)

    async def submitted(self) -> str:
        """The task's id, as soon as it has been put."""
        while (found := re.search(r"^submitted (\S+)", self.said, re.MULTILINE)) is None:
            await self._line()
        return found[1]

    async def ended(self) -> str:
        """Its last line; it must end well."""
        assert self._process.stdout is not None
        self.said += (await self._process.stdout.read()).decode()
        assert await self._process.wait() == 0, self.said
        return self.said.rstrip().splitlines()[-1]

    async def _line(self) -> None:
        assert self._process.stdout is not None
        line = (await asyncio.wait_for(self._process.stdout.readline(), 60)).decode()
        assert line, self.said
        self.said += line


async def console(page: Page, running: Running, left: str, right: str) -> None:
    """Connect both phones of the hub's page."""
    await page.size(1280, 900)
    await page.open(f"{running.hub}/")
    for selector, text in (("#key", running.key), ("#left", left), ("#right", right)):
        await page.type(selector, text)
    await page.press("Enter", 13)
    await page.until("document.querySelectorAll('.phone .pill[data-state=live]').length === 2")


def cards(state: str, count: int) -> str:
    """The expression: the left phone has so many cards with buttons in this state."""
    return f"document.querySelectorAll('#phone-one li.card[data-task={state}]').length >= {count}"


async def decide_on_the_phone(page: Page, running: Running, card: dict[str, Any]) -> None:
    """Tap the card on the phone's page, follow where it leads, and approve there."""
    await page.size(1280, 900)
    place = f"{running.phone}/#person=alice&thread={OFFICIAL}&lang=zh"
    await page.command("Page.navigate", url=place)
    shown = f".card[data-msgid='{card['msgid']}']"
    await page.until(f'document.querySelector("{shown}")')
    await shoot(page, "phone-card")
    await page.click(shown)
    await page.until("document.querySelector('.sheet-up a.primary')")
    await page.command(
        "Page.navigate", url=await page.run("document.querySelector('.sheet-up a.primary').href")
    )
    await page.until("document.querySelector('main[data-state=pending] select')")
    assert await page.run("document.querySelector('select').value") == "alice"
    await shoot(page, "task-pending")
    await page.click("button[value=approve]")
    await page.until("document.querySelector('main[data-state=approved]')")
    await shoot(page, "task-approved")


async def shoot(page: Page, name: str) -> None:
    if SHOTS:
        await page.shoot(Path(SHOTS) / f"{name}.png")


async def test_the_card_follows_the_approver_to_the_phone_and_turns_green_everywhere(
    running: Running, tmp_path: Path
) -> None:
    async with AsyncExitStack() as open_browsers:
        for name in ("bob", "alice", "phone"):
            (tmp_path / name).mkdir()
        bob = await open_browsers.enter_async_context(browser_page(tmp_path / "bob", language="en-US"))
        await console(bob, running, "bob", "dora")
        await bob.run("void (window.sameDocument = true)")
        async with browser_page(tmp_path / "alice", language="zh-CN") as alice:
            await console(alice, running, "alice", "wang")
            first = await Business.start(running, "alice", "bob", "carol")
            await first.submitted()
            for page in (alice, bob):
                await page.until(cards("pending", 1))
            button = "document.querySelector('#phone-one li.card [data-action=approve]').textContent"
            assert [await page.run(button) for page in (alice, bob)] == ["同意", "Approve"]
            await shoot(alice, "console-pending-zh")
            await shoot(bob, "console-pending-en")
            await alice.click("#phone-one li.card [data-action=approve]")
            for page in (alice, bob):
                await page.until(cards("approved", 1))
            await shoot(alice, "console-approved-zh")
            await shoot(bob, "console-approved-en")
            assert (await first.ended()).endswith("approved by alice")
        # Her browser is closed. What the first request has put on phones meanwhile is not what is looked for.
        before = {name: len(running.messages(name, TODO)) for name in ("alice", "carol")}
        told = len(running.messages("carol", RESULT))

        second = await Business.start(running, "alice", "bob", "carol")
        task = await second.submitted()
        async with asyncio.timeout(15):
            card = await running.next_message("alice", TODO, before["alice"])
            await running.next_message("carol", TODO, before["carol"])
        await bob.until(cards("pending", 1))
        phone = await open_browsers.enter_async_context(browser_page(tmp_path / "phone", language="zh-CN"))
        await decide_on_the_phone(phone, running, card)

        await bob.until(cards("approved", 2))
        assert await bob.run("window.sameDocument") is True, "live, without a reload"
        assert bob.complaints == []
        assert (await second.ended()).endswith(f"{task}: approved by alice")
        late = {"action_id": "reject", "user_id": "bob"}
        url = f"{running.hub}/v1/tasks/{quote(task, safe='')}/actions"
        status, problem = await asyncio.to_thread(running.ask, url, late)
        assert (status, problem["code"]) == (409, "task_already_decided")
        assert problem["decision"]["user_id"] == "alice"
        assert "alice" in problem["detail"]
        async with asyncio.timeout(15):
            result = await running.next_message("carol", RESULT, told)
        assert dict(result["lines"])["审批结果"] == "已同意"
        assert dict(result["lines"])["审批人"] == "陈思雨"
        await shoot(bob, "console-both-en")
        await console(phone, running, "alice", "carol")
        await phone.until(cards("approved", 2))
        closed = "#phone-two li.card[data-task=approved]:not(:has(.decision)) .title"
        await phone.until(f"document.querySelector('{closed}')?.textContent.startsWith('已由陈思雨同意')")
        await shoot(phone, "console-again-zh")
