"""The phone page: its policy, and in a real browser what a person can do with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID
from tests.sandbox.browser import CHROMIUM, Page, open_page
from tests.sandbox.rig import MP_TODO, TODO_DATA, Lab

PHONE = Path(__file__).parents[2] / "hub" / "sandbox" / "phone"
MODULES = sorted(path.name for path in PHONE.glob("*.js"))
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")


def test_the_page_loads_nothing_from_elsewhere(lab: Lab) -> None:
    response = lab.http.get("/")
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    for path in PHONE.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_served_as_scripts(lab: Lab, name: str) -> None:
    assert "javascript" in lab.http.get(f"/phone/{name}").headers["content-type"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for the module."""
    with open_page(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(browser: Page, lab: Lab) -> Iterator[Page]:
    """The phone of alice, in English."""
    browser.open("about:blank")
    browser.open(f"{lab.base}/#person=alice&lang=en")
    browser.until("document.querySelector('.live.on') && document.querySelectorAll('.account').length === 2")
    yield browser
    assert browser.problems == []


@needs_chromium
def test_a_card_arrives_live_and_can_be_tapped_and_compared(lab: Lab, page: Page) -> None:
    page.click(".account button", "Follow")
    page.click(".thread", "星河办公")
    openid = lab.openid("alice")
    hostile = TODO_DATA | {"thing1": {"value": "<img src=x onerror=a()>"[:20]}}
    lab.send(openid, data=hostile, url="https://hub.example/tasks/1")
    page.click(".card", "<img src=x")
    page.sees("Opens a web page")
    page.sees("https://hub.example/tasks/1")
    page.sees('"thing1"')
    assert page.evaluate("document.querySelector('.sheet-up a').rel") == "noopener noreferrer"
    (message,) = lab.control("GET", "/messages")["messages"]
    assert message["tapped_at"] is not None


@needs_chromium
def test_a_subscription_is_asked_for_on_the_phone(lab: Lab, page: Page) -> None:
    page.evaluate("[...document.querySelectorAll('.account')].at(-1).querySelector('.ask').click()")
    page.sees("asks to send you messages")
    page.click(".check", "审批结果通知")
    page.click(".sheet-up .primary", "Allow")
    page.sees("1 left")
    grants = lab.tie("alice", PROGRAM_APPID)["grants"]
    assert grants[MP_TODO]["remaining"] == 1
    assert [grant["remaining"] for grant in grants.values()].count(0) == 1
    lab.subscribe_send(lab.openid("alice", PROGRAM_APPID), page="pages/task/detail?id=1")
    page.click(".thread", "Service notices")
    page.click(".card", "审批待处理通知")
    page.sees("Opens the mini program")


@needs_chromium
def test_choices_that_are_kept_show_no_dialog(lab: Lab, page: Page) -> None:
    ask = "[...document.querySelectorAll('.account')].at(-1).querySelector('.ask').click()"
    page.evaluate(ask)
    page.click(".check", "Always keep")
    page.click(".sheet-up .primary", "Allow")
    page.sees("always allow")
    page.evaluate(ask)
    page.sees("2 left")


@needs_chromium
def test_template_messages_are_switched_off_one_by_one(lab: Lab, page: Page) -> None:
    openid = lab.follow()
    page.click("[role=switch][aria-label='receive 审批待处理通知']")
    page.until("document.querySelector('.chip.red')")
    assert lab.send(openid)["errcode"] == 43101


@needs_chromium
def test_a_scan_follows_and_people_and_languages_change(lab: Lab, page: Page) -> None:
    body = {"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "bind:1"}}}
    ticket = lab.official("/cgi-bin/qrcode/create", body)["ticket"]
    page.until(f"document.querySelector('#codes option')?.value === '{ticket}'")
    page.evaluate(f"document.getElementById('ticket').value = '{ticket}'")
    page.click("#scan-button")
    page.sees("Unfollow")
    assert lab.tie("alice", OFFICIAL_APPID)["qr_scene_str"] == "bind:1"
    page.click(".person", "王志强")
    page.until("document.querySelector('.person.on').innerText === '王志强'")
    page.until("!document.body.innerText.includes('Unfollow')")
    page.click("#language")
    page.sees("服务通知")
    page.click("#language")


@needs_chromium
def test_what_cannot_be_done_is_said(lab: Lab, page: Page) -> None:
    page.evaluate("document.getElementById('ticket').value = 'none'")
    page.click("#scan-button")
    page.sees("no such QR code")
    page.problems.clear()  # the browser notes the 404 itself


@needs_chromium
def test_the_consent_page_leads_back(lab: Lab, page: Page) -> None:
    page.open(
        f"{lab.base}/connect/oauth2/authorize?appid={OFFICIAL_APPID}"
        f"&redirect_uri={lab.base}/&response_type=code&scope=snsapi_base&state=s1"
    )
    page.click("a.choice", "陈思雨")
    page.until("location.search.includes('code=') && location.search.includes('state=s1')")
