"""Groups, files and search on the console's phones: what somebody who knows a chat app looks for."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from pathlib import Path

import pytest

from tests.console.browser import Page
from tests.console.test_chat import (
    PHONE,
    bubble,
    do,
    make_group,
    notice,
    pair,
    pick_group,
    reload,
    two_pages,
)
from tests.console.test_page import say, shoot
from tests.support.cluster import Cluster

__all__ = ["pair"]
pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("chromium")]

ROW = f"document.querySelector('{PHONE} .talk[data-kind=group]')"


def a_picture() -> bytes:
    """A PNG of two by two pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
    rows = zlib.compress(b"".join(b"\0" + bytes(6) for _ in range(2)))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def choose_file(page: Page, name: str, mime: str, data: bytes) -> None:
    """What the file dialog of the first phone does when somebody has chosen."""
    text = base64.b64encode(data).decode()
    await page.run(
        "(() => {"
        f"const bytes = Uint8Array.from(atob('{text}'), (one) => one.charCodeAt(0));"
        "const chosen = new DataTransfer();"
        f"chosen.items.add(new File([bytes], {json.dumps(name)}, {{ type: '{mime}' }}));"
        "const input = document.querySelector('#file-left');"
        "input.files = chosen.files;"
        "input.dispatchEvent(new Event('change'));"
        "})()"
    )


async def press(page: Page, what: str) -> None:
    button = f"document.querySelector('{PHONE} .manage [data-do={what}]')"
    await page.until(button)
    await page.run(f"{button}.click()")


async def member_menu(page: Page, user: str) -> None:
    more = f"document.querySelector('{PHONE} .members [data-user={user}] .more')"
    await page.until(more)
    await page.run(f"{more}.click()")


async def test_a_group_is_run_from_the_phone_of_who_owns_it(
    hub: Cluster, tmp_path: Path, pair: tuple[str, str]
) -> None:
    ann, ben = pair
    hub.request("POST", f"{hub.url('web')}/v1/tokens", {"user": f"{ann}-late"})
    async with two_pages(hub, tmp_path, pair, ("en-US", "zh-CN")) as (one, two):
        await make_group(one, "Trip", f"{ben}, {ann}-friend")
        await pick_group(two)
        await one.click(f"{PHONE} [data-own=manage]")
        await one.type("#manage-title-left", "Spring trip")
        await one.press("Enter", 13)
        await two.until(notice(f"{ann} 将群名称改为“Spring trip”"))
        await one.type("#manage-announce-left", "Bring boots")
        await one.press("Enter", 13)
        await two.until(f"document.querySelector('{PHONE} .announced')?.textContent.endsWith('Bring boots')")
        await one.type("#manage-invite-left", f"{ann}-late")
        await one.press("Enter", 13)
        await two.until(notice(f"{ann} 邀请 {ann}-late 加入"))
        await member_menu(one, f"{ann}-late")
        await press(one, "manage_kick")
        assert await one.run(f"document.querySelector('{PHONE} [data-do=manage_kick]').textContent") == (
            "Take out? Press again"
        )
        await press(one, "manage_kick")
        await two.until(notice(f"{ann} 将 {ann}-late 移出群聊"))
        await member_menu(one, ben)
        await press(one, "manage_silence")
        await one.until(f"document.querySelector('{PHONE} .members').innerText.includes('silenced until')")
        await say(two, "one", "hello?")
        problem = f"document.querySelector('{PHONE} .thread .meta .problem')?.textContent"
        await two.until(f"{problem} === '未发送：你已被禁言。'")
        await shoot(one, "group-en")
        await member_menu(one, ben)
        await press(one, "manage_unsilence")
        await member_menu(one, ben)
        await press(one, "manage_transfer")
        await press(one, "manage_transfer")
        await two.until(notice(f"群主已转让给 {ben}"))
        await two.click(f"{PHONE} [data-own=manage]")
        await press(two, "manage_dissolve")
        await press(two, "manage_dissolve")
        await two.until(f"document.querySelector('{PHONE} .composer input').disabled")
        await one.until(
            f"document.querySelector('{PHONE} .composer input').placeholder === 'The group has been dissolved.'"
        )
        assert not await one.run(f"Boolean(document.querySelector('{PHONE} .manage form:not([hidden])'))")


async def test_files_are_shown_and_what_is_no_picture_is_refused_in_words(
    hub: Cluster, tmp_path: Path, pair: tuple[str, str]
) -> None:
    async with two_pages(hub, tmp_path, pair, ("en-US", "zh-CN")) as (one, two):
        await make_group(one, "Files", pair[1])
        await pick_group(two)
        await choose_file(one, "照片 1.png", "image/png", a_picture())
        picture = f"document.querySelector('{PHONE} .thread .picture img')"
        for page in (one, two):
            await page.until(f"{picture}?.naturalWidth === 2 && {picture}.alt === '照片 1.png'")
        await two.until(f"{ROW}.querySelector('.last').textContent.endsWith('[图片] 照片 1.png')")
        await choose_file(one, "page.svg", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
        await two.until(
            f"document.querySelector('{PHONE} .thread .file:not(.image) button')?.textContent.includes('page.svg')"
        )
        assert "{" not in await two.run(f"document.querySelector('{PHONE} .thread').innerText")


async def test_who_is_meant_is_found_by_name_and_read_counts_say_who(
    hub: Cluster, tmp_path: Path, pair: tuple[str, str]
) -> None:
    ann, ben = pair
    names = [{"user_id": ann, "name": "安安"}, {"user_id": ben, "name": "小本"}]
    hub.request("POST", f"{hub.url('web')}/v1/users/batch", {"users": names})
    async with two_pages(hub, tmp_path, pair, ("zh-CN", "en-US")) as (one, two):
        await make_group(one, "名字", f"{ben}, {ann}-friend")
        await one.type(f"{PHONE} .composer input", "＠小")
        await one.until(f"document.querySelector('{PHONE} .offered button')?.textContent === '小本'")
        await one.click(f"{PHONE} .offered button")
        await one.command("Input.insertText", text="看一下报销单")
        await one.press("Enter", 13)
        said = "＠小本 看一下报销单"
        await two.until(f"{ROW}?.querySelector('.mention')")
        await pick_group(two)
        shown = "@小本 看一下报销单"
        await two.until(f"{bubble(shown)}?.querySelector('.at')?.textContent === '@小本'")
        # opening it was reading it
        await two.until(f"!{ROW}.querySelector('.count') && !{ROW}.querySelector('.mention')")
        counted = f"{bubble(shown)}?.querySelector('.read-by')"
        await one.until(f"{counted}?.textContent === '1 人已读'", 5)
        await one.run(f"{counted}.click()")
        await one.until(
            f"{bubble(shown)}.querySelector('.readers').textContent === '已读：小本。未读：{ann}-friend。'"
        )
        assert said.replace("＠", "@") == shown


async def test_a_word_in_chinese_is_found_and_shown_where_it_was_said(
    hub: Cluster, tmp_path: Path, pair: tuple[str, str]
) -> None:
    async with two_pages(hub, tmp_path, pair, ("zh-CN", "en-US")) as (one, two):
        await make_group(one, "Words", pair[1])
        await say(one, "one", "周五交差旅报销单")
        await one.until(f"{bubble('周五交差旅报销单')}?.querySelector('.steps[data-state]')")
        url = hub.url("web")
        conversation = await one.run(f"{ROW}.dataset.talk")
        for number in range(60):
            body = {"body": {"text": f"filler {number}"}, "client_msg_id": f"f{conversation}{number}"}
            hub.request("POST", f"{url}/v1/conversations/{conversation}/messages", body)
        await reload(two)
        await pick_group(two)
        await two.until(f"document.querySelector('{PHONE} .before:not([hidden])')")
        assert not await two.run(f"{bubble('周五交差旅报销单')}?.checkVisibility()")
        hub.start_worker()
        await two.run(f"void (document.querySelector('{PHONE} .search').open = true)")
        hit = f"document.querySelector('{PHONE} .hit')"
        await two.type("#search-left", "报销")
        answered = f"document.querySelector('{PHONE} .search .quiet').textContent"
        while not await two.run(f"Boolean({hit})"):  # the worker indexes in a moment
            await two.run(f"document.querySelector('{PHONE} .search form').requestSubmit()")
            await two.until(answered)
        assert await two.run(f"{hit}.querySelector('mark').textContent") == "报销"
        await two.run(f"{hit}.click()")
        await two.until(
            f"document.querySelector('{PHONE} .located .text')?.textContent === '周五交差旅报销单'"
        )


async def test_a_message_is_forwarded_to_the_conversation_that_is_picked(
    hub: Cluster, tmp_path: Path, pair: tuple[str, str]
) -> None:
    async with two_pages(hub, tmp_path, pair, ("en-US", "en-US")) as (one, two):
        await make_group(one, "From", pair[1])
        await say(one, "one", "pass it on")
        await make_group(one, "Into", pair[1])
        row = f"[...document.querySelectorAll('{PHONE} .talk')].find(b => b.textContent.startsWith('From'))"
        await one.run(f"{row}.click()")
        await do(one, "pass it on", "forward")
        into = row.replace("'From'", "'Into'")
        await one.run(f"{into}.click()")
        await one.until(f"{bubble('pass it on')}?.querySelector('.who')?.textContent.endsWith('forwarded')")
        await two.until(f"{into}?.querySelector('.last').textContent.endsWith('pass it on')")
