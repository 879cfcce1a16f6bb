"""The console in a real browser, against a real hub."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.console.browser import Page, browser_page
from tests.support.cluster import Cluster

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("chromium")]
SHOTS = os.environ.get("HUB_CONSOLE_SHOTS")
EVIL = "<img src=x onerror=alert(1)>"

_numbers = itertools.count(1)


@pytest.fixture
def users() -> tuple[str, str]:
    number = next(_numbers)
    return f"alice{number}", f"bob{number}"


@asynccontextmanager
async def console(hub: Cluster, folder: Path, language: str = "en-US") -> AsyncIterator[Page]:
    """The page, open; at the end it must have complained of nothing."""
    async with browser_page(folder, language=language) as page:
        await page.size(1280, 900)
        await page.open(f"{hub.url('web')}/")
        yield page
        await asyncio.sleep(0.1)
        assert page.complaints == []


async def enter(page: Page, hub: Cluster, left: str, right: str) -> None:
    for selector, text in (("#key", hub.api_key), ("#left", left), ("#right", right)):
        await page.type(selector, text)
    await page.press("Enter", 13)
    await page.until("document.querySelectorAll('.phone .pill[data-state=live]').length === 2")


async def say(page: Page, phone: str, text: str) -> None:
    await page.type(f"#phone-{phone} .composer input", text)
    await page.press("Enter", 13)


def bubble(phone: str, kind: str, text: str) -> str:
    """The expression for one message on a phone."""
    items = f"[...document.querySelectorAll('#phone-{phone} .thread .{kind}')]"
    return f"{items}.find(li => li.textContent.includes({json.dumps(text)}))"


def reached(phone: str, text: str, state: str) -> str:
    return f"{bubble(phone, 'mine', text)}?.querySelector('.steps')?.dataset.state === '{state}'"


async def shoot(page: Page, name: str) -> None:
    if SHOTS:
        await page.shoot(Path(SHOTS) / f"{name}.png")


async def test_two_phones_talk_and_what_was_missed_comes_on_return(
    hub: Cluster, tmp_path: Path, users: tuple[str, str]
) -> None:
    async with console(hub, tmp_path) as page:
        await page.until("document.querySelectorAll('#dependencies [data-ok=true]').length === 3")
        await enter(page, hub, *users)
        for phone in ("one", "two"):
            await page.until(f"document.querySelector('#phone-{phone} .about[data-presence=online]')")

        await page.type("#phone-one .composer input", "typ")
        await page.until("document.querySelector('#phone-two .about[data-presence=typing]')")
        await say(page, "one", "Lunch at noon?")
        await page.until(bubble("two", "theirs", "Lunch at noon?"))
        await page.until(reached("one", "Lunch at noon?", "delivered"))
        await page.until("document.querySelector('#phone-two .counts').textContent === 'Unread: 1'")
        await page.click("#phone-two .bar button:nth-of-type(1)")
        await page.until(reached("one", "Lunch at noon?", "read"))
        await page.until("document.querySelector('#phone-two .counts').textContent === 'Unread: 0'")

        await page.click("#phone-two .bar button:nth-of-type(2)")
        await page.until("document.querySelector('#phone-two .pill[data-state=off]')")
        await page.until("document.querySelector('#phone-one .about[data-presence=offline]')")
        for text in ("first missed", "second missed"):
            await say(page, "one", text)
            await page.until(reached("one", text, "accepted"))
        await page.until(
            "document.querySelector('#phone-two .counts').textContent === 'Waiting on the hub: 2'"
        )
        assert not await page.run(f"Boolean({bubble('two', 'theirs', 'missed')})")

        await page.click("#phone-two .bar button:nth-of-type(2)")
        await page.until(bubble("two", "theirs", "second missed"))
        shown = "[...document.querySelectorAll('#phone-two .theirs .text')].map(e => e.textContent)"
        assert await page.run(shown) == ["Lunch at noon?", "first missed", "second missed"]
        await page.until(reached("one", "second missed", "delivered"))
        assert await page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert not any(hub.api_key in url or "eyJ" in url for url in page.requested)
        stores = "JSON.stringify([localStorage, location.href])"
        assert hub.api_key not in await page.run(stores)


async def test_a_notification_goes_all_four_steps(
    hub: Cluster, tmp_path: Path, users: tuple[str, str]
) -> None:
    async with console(hub, tmp_path, "zh-CN") as page:
        await enter(page, hub, *users)
        await page.run(f"void (document.querySelector('#notify-to').value = '{users[1]}')")
        await page.type("#notify-title", "差旅报销待审批 ✈️")
        await page.click("#notify-send")
        await page.until(bubble("two", "card", "差旅报销待审批 ✈️"))
        await page.until("document.querySelector('#sent .steps[data-state=delivered]')")
        await page.until("document.querySelector('#phone-two .counts').textContent === '未读 1 条'")
        await page.click("#phone-two .bar button:nth-of-type(1)")
        await page.until("document.querySelector('#sent .steps[data-state=read]')")
        for route, title in (("policy:urgent", "按策略"), ("own", "自定义")):
            chosen = f"document.querySelector('#notify-route').value = '{route}'"
            await page.run(
                f"{chosen}, void document.querySelector('#notify-route').dispatchEvent(new Event('change'))"
            )
            await page.type("#notify-title", title)
            await page.click("#notify-send")
            await page.until(bubble("two", "card", title))
        await page.type("#notify-json", "{")
        await page.click("#notify-send")
        await page.until("document.querySelector('#notify-problem').textContent === '路由不是有效的 JSON。'")


async def test_what_people_write_stays_text(hub: Cluster, tmp_path: Path, users: tuple[str, str]) -> None:
    left, right = f"{EVIL[:-1].replace('/', '')} {users[0]}>", users[1]
    for user in (left, right):
        hub.request("POST", f"{hub.url('web')}/v1/tokens", {"user": user})
    batch = {"users": [{"user_id": user, "name": EVIL} for user in (left, right)]}
    hub.request("POST", f"{hub.url('web')}/v1/users/batch", batch)
    async with console(hub, tmp_path) as page:
        await page.run("void (window.alert = () => { throw new Error('ran') })")
        await enter(page, hub, left, right)
        assert await page.run("document.querySelector('#phone-one h3').textContent") == EVIL
        await say(page, "one", EVIL)
        await page.until(bubble("two", "theirs", EVIL))
        content = {"title": EVIL, "text": f"</li><script>alert(1)</script>{EVIL}"}
        body = {"to": [{"user_id": right}], "content": content}
        hub.request("POST", f"{hub.url('web')}/v1/notifications", body)
        own = {"kind": "text", "body": {"x": EVIL}}
        hub.request("POST", f"{hub.url('web')}/v1/messages", {"to": {"user": right}, "sender": left, **own})
        await page.type("#notify-title", EVIL)
        await page.click("#notify-send")
        await page.until("document.querySelector('#sent li')")
        await page.until(bubble("two", "card", "<script>alert(1)"))
        await page.until(bubble("two", "theirs", '{"x":'))
        await page.run("void (document.querySelector('#log').open = true)")
        assert await page.run("document.querySelectorAll('img').length") == 1  # the sign at the top
        assert await page.run("document.querySelectorAll('main script').length") == 0


async def test_the_language_is_the_browsers_until_chosen_and_then_remembered(
    hub: Cluster, tmp_path: Path, users: tuple[str, str]
) -> None:
    async with console(hub, tmp_path, "zh-CN") as page:
        assert await page.run("document.documentElement.lang") == "zh-CN"
        assert await page.run("document.title") == "消息中心"
        await page.until("document.querySelector('#health-state').textContent === '就绪'")
        await enter(page, hub, *users)
        await say(page, "one", "hello")
        await page.until(reached("one", "hello", "delivered"))
        await page.click("[data-lang=en]")
        latin = "document.body.innerText.replace(/中文/g, '').match(/[\\u4e00-\\u9fff].*/g)"
        assert await page.run(latin) is None
        await page.command("Page.reload")
        await page.until("document.title === 'Notification hub'")
        # the key is still this tab's: both phones come back by themselves
        await page.until("document.querySelectorAll('.phone .pill[data-state=live]').length === 2")
        await page.until(bubble("two", "theirs", "hello"))
        await page.click("#leave")
        await page.until("!document.querySelector('#enter').hidden && !document.querySelector('#key').value")
        assert await page.run("sessionStorage.getItem('hub.console.trial')") is None


async def test_a_wrong_key_is_explained(hub: Cluster, tmp_path: Path) -> None:
    async with browser_page(tmp_path, language="en-US") as page:
        await page.open(f"{hub.url('web')}/")
        await page.type("#key", "hub_wrong")
        await page.press("Enter", 13)
        await page.until(
            "document.querySelector('#enter-problem').textContent.includes('does not know this key')"
        )
        assert await page.run("document.activeElement.id") == "key"


async def test_a_hub_that_went_away_is_seen_and_comes_back(
    hub: Cluster, tmp_path: Path, users: tuple[str, str]
) -> None:
    async with browser_page(tmp_path, language="en-US") as page:
        await page.open(f"{hub.url('web')}/")
        await enter(page, hub, *users)
        await asyncio.to_thread(hub.kill, "web")
        await page.until("document.querySelectorAll('.phone .pill[data-state=waiting]').length >= 1")
        await say(page, "one", "written while it was away")
        await page.until("document.querySelector('#health-state[data-state=unreachable]')")
        hub._processes["web"].start()  # not in a thread: it would end with it
        await page.until("document.querySelectorAll('.phone .pill[data-state=live]').length === 2", 40)
        await page.until(bubble("two", "theirs", "written while it was away"))
        assert await page.run("document.querySelectorAll('#phone-two .thread .theirs').length") == 1
        await page.until("document.querySelector('#health-state[data-state=ready]')")


@pytest.mark.skipif(not SHOTS, reason="HUB_CONSOLE_SHOTS names a folder for screenshots")
@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_screenshots(hub: Cluster, tmp_path: Path, users: tuple[str, str], language: str) -> None:
    async with console(hub, tmp_path, language) as page:
        await page.until("document.querySelectorAll('#dependencies [data-ok=true]').length === 3")
        await shoot(page, f"start-{language}")
        await enter(page, hub, *users)
        zh = language == "zh-CN"
        await say(page, "one", "中午一起吃饭吗？" if zh else "Lunch at noon?")
        await asyncio.sleep(0.6)
        await page.click("#phone-two .bar button:nth-of-type(1)")
        await say(page, "two", "好，老地方。" if zh else "Yes, the usual place.")
        await page.run(f"void (document.querySelector('#notify-to').value = '{users[1]}')")
        await page.click("#notify-send")
        await asyncio.sleep(0.6)
        await page.click("#phone-two .bar button:nth-of-type(2)")
        await say(page, "one", "我先点菜了" if zh else "I have ordered already.")
        await page.run("void (document.querySelector('#log').open = true)")
        await asyncio.sleep(1)
        await shoot(page, f"desktop-{language}")
        await page.dark(on=True)
        await shoot(page, f"desktop-dark-{language}")
        await page.dark(on=False)
        for width in (390, 360):
            await page.size(width, 844)
            await asyncio.sleep(0.3)
            root = "document.documentElement"
            assert await page.run(f"{root}.scrollWidth <= {root}.clientWidth"), width
        await page.size(390, 844)
        await asyncio.sleep(0.2)
        await shoot(page, f"mobile-{language}")


async def test_everything_has_a_name_and_enough_contrast(
    hub: Cluster, tmp_path: Path, users: tuple[str, str]
) -> None:
    contrast = (Path(__file__).parent / "contrast.js").read_text()
    async with console(hub, tmp_path) as page:
        assert await page.run(contrast) == []
        await enter(page, hub, *users)
        await say(page, "one", "Lunch?")
        await page.until("document.querySelector('#phone-two .counts').textContent === 'Unread: 1'")
        await page.click("#phone-two .bar button:nth-of-type(1)")
        await page.until(reached("one", "Lunch?", "read"))
        await page.click("#notify-send")
        await page.until("document.querySelector('#sent li')")
        await page.run("void (document.querySelector('#log').open = true)")
        for dark in (False, True):
            await page.dark(on=dark)
            assert await page.run(contrast) == []
        named = {"textbox", "button", "combobox", "link", "checkbox", "log", "region", "DisclosureTriangle"}
        tree = await page.command("Accessibility.getFullAXTree")
        nodes = [node for node in tree["nodes"] if node.get("role", {}).get("value") in named]
        assert len(nodes) > 20
        assert [n for n in nodes if not n["ignored"] and not n.get("name", {}).get("value")] == []


async def test_the_keyboard_reaches_what_the_mouse_does(hub: Cluster, tmp_path: Path) -> None:
    async with console(hub, tmp_path) as page:
        reached_ids = []
        for _ in range(12):
            await page.press("Tab", 9)
            active = (
                "(a => a.id || a.dataset.lang || a.getAttribute('href') || a.tagName)(document.activeElement)"
            )
            reached_ids.append(await page.run(active))
        links = ["#main", "docs", "openapi.json", "asyncapi.json", "metrics", "zh", "en"]
        assert reached_ids == [*links, "key", "key-show", "left", "right", "enter-button"]
