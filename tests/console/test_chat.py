"""Chat on the console's phones: two people, each in their own browser, in one group of a real hub."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.console.browser import Page
from tests.console.test_page import EVIL, console, enter, say, shoot
from tests.support.cluster import Cluster

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("chromium")]

_numbers = itertools.count(1)
PHONE = "#phone-one"


@pytest.fixture
def pair() -> tuple[str, str]:
    number = next(_numbers)
    return f"ann{number}", f"ben{number}"


@asynccontextmanager
async def two_pages(
    hub: Cluster, folder: Path, pair: tuple[str, str], languages: tuple[str, str]
) -> AsyncIterator[tuple[Page, Page]]:
    """Both people, each on the first phone of a browser of their own."""
    ann, ben = pair
    for name in ("ann", "ben"):
        (folder / name).mkdir()
    async with (
        console(hub, folder / "ann", languages[0]) as one,
        console(hub, folder / "ben", languages[1]) as two,
    ):
        await enter(one, hub, ann, f"{ann}-friend")
        await enter(two, hub, ben, f"{ben}-friend")
        yield one, two


async def make_group(page: Page, title: str, members: str) -> None:
    await page.run(f"void (document.querySelector('{PHONE} .new-group').open = true)")
    await page.type("#group-title-left", title)
    await page.type("#group-members-left", members)
    await page.press("Enter", 13)
    current = f"document.querySelector('{PHONE} .talk[data-kind=group][aria-current] b')?.textContent"
    await page.until(
        f"{current} === {json.dumps(title)} && !document.querySelector('{PHONE} .new-group').open"
    )


def bubble(text: str) -> str:
    """The expression for a message that is shown on the first phone."""
    items = f"[...document.querySelectorAll('{PHONE} .thread > li:not([hidden])')]"
    return f"{items}.find(li => li.querySelector('.text')?.textContent === {json.dumps(text)})"


def notice(text: str) -> str:
    items = f"[...document.querySelectorAll('{PHONE} .thread .notice:not([hidden])')]"
    return f"{items}.find(li => li.textContent === {json.dumps(text)})"


async def do(page: Page, text: str, verb: str, nth: int = 0) -> None:
    """Open a message's menu and choose from it."""
    await page.until(f"{bubble(text)}?.querySelector('.more:not([hidden])')")
    await page.run(f"{bubble(text)}.querySelector('.more').click()")
    await page.run(f"{bubble(text)}.querySelectorAll('.menu [data-verb={verb}]')[{nth}].click()")


async def pick_group(page: Page) -> None:
    await page.until(f"document.querySelector('{PHONE} .talk[data-kind=group]')")
    await page.click(f"{PHONE} .talk[data-kind=group]")
    await page.until(f"document.querySelector('{PHONE} .talk[data-kind=group][aria-current]')")


async def reload(page: Page) -> None:
    await page.run("void (window.before = true)")
    await page.command("Page.reload")
    await page.until(
        "!window.before && document.querySelectorAll('.phone .pill[data-state=live]').length === 2"
    )


async def test_what_is_said_and_changed_in_a_group_is_seen_live_and_after_a_reload(
    hub: Cluster, tmp_path: Path, pair: tuple[str, str]
) -> None:
    ann, ben = pair
    async with two_pages(hub, tmp_path, pair, ("en-US", "zh-CN")) as (one, two):
        await make_group(one, "Lunch", ben)
        await one.until(notice(f"{ann} made the group “Lunch”"))
        await say(one, "one", f"Noon? @{ben}")
        row = f"document.querySelector('{PHONE} .talk[data-kind=group]')"
        await two.until(f"{row}?.querySelector('.count')?.textContent === '1'")
        await two.until(f"{row}.querySelector('.mention')")
        await pick_group(two)
        await two.until(notice(f"{ann} 创建了群聊“Lunch”"))
        noon = f"Noon? @{ben}"
        await two.until(f"{bubble(noon)}?.querySelector('.who').textContent === '{ann}'")
        await two.click(f"{PHONE} .bar button:nth-of-type(1)")
        await two.until(f"!{row}.querySelector('.count') && !{row}.querySelector('.mention')")

        await do(two, noon, "reply")
        await say(two, "one", "Yes")
        await one.until(f"{bubble('Yes')}?.querySelector('.quote').textContent === '{ann}: {noon}'")
        await do(two, noon, "react")
        chip = f"{bubble(noon)}?.querySelector('.chip')?.textContent"
        await one.until(f"{chip} === '👍 1'")
        await one.run(f"{bubble(noon)}.querySelector('.chip').click()")
        await two.until(f"{chip} === '👍 2'")
        await two.run(f"{bubble(noon)}.querySelector('.chip').click()")
        await one.until(f"{chip} === '👍 1'")

        await say(one, "one", "At one")
        await do(one, "At one", "edit")
        await say(one, "one", "At two")
        await two.until(f"{bubble('At two')}?.querySelector('.edited')")
        await say(two, "one", "a mistake")
        await one.until(bubble("a mistake"))
        await do(two, "a mistake", "recall")
        await one.until(f"!{bubble('a mistake')} && {bubble(f'{ben} took a message back')}")
        await two.until(bubble("你撤回了一条消息"))
        await two.run(f"{bubble('你撤回了一条消息')}.querySelector('.how button').click()")
        written = f"document.querySelector('{PHONE} .composer input')"
        await two.until(f"{written}.value === 'a mistake' && document.activeElement === {written}")
        await two.run(f"void ({written}.value = '')")
        await do(one, "Yes", "hide")
        await one.until(f"!{bubble('Yes')}")
        assert await two.run(f"Boolean({bubble('Yes')})")

        for page, name in ((one, "chat-en"), (two, "chat-zh")):
            await page.until(f"{row}.querySelector('.last').textContent.length > 0")
            await shoot(page, name)
            await page.size(360, 844)
            root = "document.documentElement"
            assert await page.run(f"{root}.scrollWidth <= {root}.clientWidth")
            await shoot(page, f"{name}-mobile")
            await page.size(1280, 900)
        for page in (one, two):
            await reload(page)
            await pick_group(page)
            await page.until(f"{bubble('At two')}?.querySelector('.edited')")
            await page.until(f"{chip} === '👍 1'")
            shown = await page.run(f"document.querySelector('{PHONE} .thread').innerText")
            assert "a mistake" not in shown
            assert "At one" not in shown
            assert '{"' not in shown
        assert not await one.run(f"Boolean({bubble('Yes')})")
        await two.until(f"{bubble('Yes')}.querySelector('.quote').textContent === '{ann}：{noon}'")
        await two.until(bubble("你撤回了一条消息"))


async def test_what_is_kept_of_a_conversation_is_shown_in_the_list(
    hub: Cluster, tmp_path: Path, pair: tuple[str, str]
) -> None:
    async with two_pages(hub, tmp_path, pair, ("en-US", "en-US")) as (one, _):
        await make_group(one, "First", pair[1])
        await make_group(one, "Second", pair[1])
        titles = f"[...document.querySelectorAll('{PHONE} .talk[data-kind=group] b')].map(b => b.textContent)"
        row = f"[...document.querySelectorAll('{PHONE} .talk')].find(b => b.textContent.startsWith('First'))"
        await one.run(f"{row}.click()")
        await one.until(f"{row}.getAttribute('aria-current')")
        await one.click(f"{PHONE} [data-own=pinned]")
        await one.until(f"{titles}.join() === 'First,Second' && {row}.querySelector('.pin')")
        await one.click(f"{PHONE} [data-own=muted]")
        await one.until(f"{row}.querySelector('.mute')")
        await one.type(f"{PHONE} .composer input", "half a thought")
        await one.run(f"document.querySelector('{PHONE} .talk[data-kind=all]').click()")
        await one.until(f"{row}.querySelector('.last').textContent === 'Draft: half a thought'")
        await one.run(f"{row}.click()")
        await one.until(f"document.querySelector('{PHONE} .composer input').value === 'half a thought'")
        await one.run(f"document.querySelector('{PHONE} .composer input').focus()")
        await one.press("Enter", 13)
        await one.until(bubble("half a thought"))
        await one.until(f"{row}.querySelector('.last').textContent.endsWith(': half a thought')")
        await one.until(f"!{row}.classList.contains('drafted')")


async def test_two_browsers_of_one_person_show_the_same_list(
    hub: Cluster, tmp_path: Path, pair: tuple[str, str]
) -> None:
    """What she reads, sends, pins, mutes, drafts and takes back in one is seen in the other, without a reload."""
    ann, _ = pair
    async with two_pages(hub, tmp_path, (ann, ann), ("en-US", "en-US")) as (one, two):
        await make_group(one, "First", f"{ann}-friend")
        await make_group(one, "Second", f"{ann}-friend")
        rows = f"[...document.querySelectorAll('{PHONE} .talk[data-kind=group]')]"
        shown = f"JSON.stringify({rows}.map(b => b.innerText))"
        row = f"{rows}.find(b => b.textContent.startsWith('First'))"

        async def same(also: str) -> None:
            for page in (one, two):
                await page.until(also)
            await two.until(f"{shown} === {json.dumps(await one.run(shown))}")

        await same(f"{rows}.length === 2")
        place = await one.run(f"{row}.dataset.talk")
        url = f"{hub.url('web')}/v1/conversations/{place}/messages"
        said = {"sender": f"{ann}-friend", "body": {"text": "Noon?"}, "mentions": [ann]}
        await asyncio.to_thread(hub.request, "POST", url, said)
        await same(f"{row}.querySelector('.count')?.textContent === '1' && {row}.querySelector('.mention')")
        await same(f"{rows}[0] === {row}")
        await one.run(f"{row}.click()")
        await one.until(f"{row}.getAttribute('aria-current')")
        await one.click(f"{PHONE} .bar button:nth-of-type(1)")
        await same(f"!{row}.querySelector('.count') && !{row}.querySelector('.mention')")
        await one.click(f"{PHONE} [data-own=pinned]")
        await same(f"{row}.querySelector('.pin')")
        await one.click(f"{PHONE} [data-own=muted]")
        await same(f"{row}.querySelector('.mute')")
        await say(one, "one", "At one")
        await same(f"{row}.querySelector('.last').textContent.endsWith(': At one')")
        await do(one, "At one", "recall")
        await same(f"{row}.querySelector('.last').textContent === 'Taken back'")
        await one.type(f"{PHONE} .composer input", "half a thought")
        await one.run(f"document.querySelector('{PHONE} .talk[data-kind=all]').click()")
        await same(f"{row}.querySelector('.last').textContent === 'Draft: half a thought'")


async def test_the_menu_of_a_message_is_for_the_keyboard_too(
    hub: Cluster, tmp_path: Path, pair: tuple[str, str]
) -> None:
    contrast = (Path(__file__).parent / "contrast.js").read_text()
    async with two_pages(hub, tmp_path, pair, ("en-US", "en-US")) as (one, _):
        await make_group(one, "Keys", pair[1])
        await say(one, "one", "hello")
        await one.until(f"{bubble('hello')}?.querySelector('.more:not([hidden])')")
        await one.run(f"{bubble('hello')}.querySelector('.more').focus()")
        await one.press("Enter", 13)
        await one.until(f"{bubble('hello')}.querySelector('.menu').contains(document.activeElement)")
        assert (
            await one.run(f"{bubble('hello')}.querySelector('.more').getAttribute('aria-expanded')") == "true"
        )
        for dark in (False, True):
            await one.dark(on=dark)
            assert await one.run(contrast) == []
        unnamed = "filter(b => b.checkVisibility() && !b.textContent && !b.ariaLabel)"
        assert await one.run(f"[...document.querySelectorAll('button')].{unnamed}.length") == 0
        await one.press("Escape", 27)
        await one.until(f"document.activeElement === {bubble('hello')}.querySelector('.more')")


async def test_titles_names_emoji_and_notices_stay_text(
    hub: Cluster, tmp_path: Path, pair: tuple[str, str]
) -> None:
    ann, ben = pair
    url = hub.url("web")
    batch = {"users": [{"user_id": user, "name": f"{user} {EVIL}"} for user in pair]}
    hub.request("POST", f"{url}/v1/users/batch", batch)
    async with two_pages(hub, tmp_path, pair, ("en-US", "zh-CN")) as (one, two):
        for page in (one, two):
            await page.run("void (window.alert = () => { throw new Error('ran') })")
        await make_group(one, EVIL, ben)
        await pick_group(two)
        await say(one, "one", EVIL)
        await two.until(
            f"{bubble(EVIL)}?.querySelector('.who').textContent === '{ann} ' + {json.dumps(EVIL)}"
        )
        await do(two, EVIL, "reply")
        await say(two, "one", "quoted")
        await one.until(f"{bubble('quoted')}?.querySelector('.quote').textContent.includes('onerror')")
        found = f"document.querySelector('{PHONE} .talk[data-kind=group]').dataset.talk"
        conversation = await one.run(found)
        hub.request("PUT", f"{url}/v1/conversations/{conversation}/announcement", {"text": EVIL})
        await one.until(notice(f"Business system announced: {EVIL}"))
        await two.until(notice(f"业务系统 发布了群公告：{EVIL}"))
        # what a hub would refuse, a hub that was broken into might still say
        await two.run(
            "import('/console/static/bubble.js').then(({ Bubble }) => {"
            f"const evil = {json.dumps(EVIL)};"
            "const world = { self: 'a', peer: 'b', ledger: { state: () => 'read' }, name: (u) => u, group: () => evil,"
            " quoted: () => ({ kind: 'text', sender: evil, body: evil }), everything: () => true, act() {} };"
            "const reactions = new Map([[evil, { count: 1, mine: false }]]);"
            "const at = new Date().toISOString();"
            "const body = { event: evil, by: evil, users: [evil, evil], text: evil, title: evil, role: evil };"
            "const notice = (event) => ({ id: 'n', kind: 'notice', body: { ...body, event }, at });"
            "const said = { id: 'x', kind: evil, sender: evil, body, at, reply_to: 'y', reactions };"
            "for (const message of [said, ...[evil, 'role', 'joined', 'announcement', 'changed'].map(notice)])"
            f" document.querySelector('{PHONE} .thread').append(new Bubble(message, world).node);"
            "})"
        )
        for page in (one, two):
            assert await page.run("document.querySelectorAll('img').length") == 1  # the sign at the top
            assert await page.run("document.querySelectorAll('main script').length") == 0
