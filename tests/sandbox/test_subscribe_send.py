"""Subscribe messages: acceptances, and that none is spent twice."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID
from tests.sandbox.rig import (
    MEETING,
    MEETING_DATA,
    MP_LEVEL,
    MP_PROGRESS,
    MP_RESULT,
    MP_TODO,
    MP_TODO_DATA,
    TODO,
    Lab,
)

PATH = "/cgi-bin/message/subscribe/send"
PROGRESS_DATA = {
    "thing1": {"value": "居住证"},
    "phrase2": {"value": "审核中"},
    "date3": {"value": "2026年3月1日"},
}


def test_one_acceptance_is_one_message(lab: Lab) -> None:
    openid = lab.accept(MP_TODO)
    first = lab.subscribe_send(openid, page="pages/task/detail?id=7")
    assert (first["errcode"], first["errmsg"]) == (0, "ok")
    assert first["msgid"] > 2**53
    second = lab.subscribe_send(openid)
    assert second["errcode"] == 43101
    assert second["errmsg"].startswith("user refuse to accept the msg rid: ")


def test_acceptances_add_up_and_do_not_expire(lab: Lab) -> None:
    openid = lab.accept(MP_TODO, times=3)
    lab.advance(400 * 86400)
    assert [lab.subscribe_send(openid)["errcode"] for _ in range(4)] == [0, 0, 0, 43101]
    assert lab.ledger()["grants"] == {"spent": 3, "sends_past_grants": 0}


def test_nobody_asked_nobody_is_told(lab: Lab) -> None:
    assert lab.subscribe_send(lab.openid("alice", PROGRAM_APPID))["errcode"] == 43101


def test_a_failed_send_spends_nothing(lab: Lab) -> None:
    openid = lab.accept(MP_TODO)
    assert lab.subscribe_send(openid, data={})["errcode"] == 47003
    assert lab.subscribe_send(openid, page="pages/none")["errcode"] == 41030
    assert lab.subscribe_send(openid)["errcode"] == 0


def test_refusing_in_the_settings_voids_what_was_left(lab: Lab) -> None:
    openid = lab.accept(MP_TODO, times=2)
    body = {"appid": PROGRAM_APPID, "template_id": MP_TODO, "choice": "reject"}
    lab.control("POST", "/people/alice/settings", body)
    assert lab.subscribe_send(openid)["errcode"] == 43101
    assert lab.tie("alice", PROGRAM_APPID)["grants"][MP_TODO]["remaining"] == 0


def test_a_long_term_subscription_is_not_used_up(lab: Lab) -> None:
    openid = lab.accept(MP_PROGRESS)
    more = {"template_id": MP_PROGRESS, "data": PROGRESS_DATA}
    assert [lab.subscribe_send(openid, **more)["errcode"] for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"touser": "x"}, 40003),
        ({"template_id": TODO}, 40037),
        ({"miniprogram_state": "beta"}, 40035),
        ({"lang": "fr_FR"}, 40035),
        ({"page": "pages/none"}, 41030),
        ({"data": MP_TODO_DATA | {"thing1": {"value": "网上赌博"}}}, 45168),
        ({"data": MP_TODO_DATA | {"name2": {"value": "一二三四五六七八九十一"}}}, 47003),
    ],
)
def test_what_is_refused(lab: Lab, more: dict[str, Any], code: int) -> None:
    assert lab.subscribe_send(lab.accept(MP_TODO), **more)["errcode"] == code


@pytest.mark.parametrize("state", ["developer", "trial"])
def test_unreleased_pages_open_in_unreleased_versions(lab: Lab, state: str) -> None:
    answer = lab.subscribe_send(lab.accept(MP_TODO), page="pages/new", miniprogram_state=state, lang="en_US")
    assert answer["errcode"] == 0


def test_a_banned_template_or_account(lab: Lab) -> None:
    openid = lab.accept(MP_TODO)
    lab.control("PATCH", f"/accounts/{PROGRAM_APPID}/templates/{MP_TODO}", {"banned": True})
    assert lab.subscribe_send(openid)["errcode"] == 43107


def test_an_enum_field_takes_its_values_only(lab: Lab) -> None:
    openid = lab.accept(MP_LEVEL, times=2)
    data = {
        "character_string1": {"value": "A-1"},
        "enum2": {"value": "紧急"},
        "thing3": {"value": "停电"},
    }
    assert lab.subscribe_send(openid, template_id=MP_LEVEL, data=data)["errcode"] == 0
    wrong = data | {"enum2": {"value": "一般"}}
    answer = lab.subscribe_send(openid, template_id=MP_LEVEL, data=wrong)
    assert "data.enum2.value invalid" in answer["errmsg"]


def test_the_other_accounts_token_is_unauthorized(lab: Lab) -> None:
    assert lab.official(PATH, {})["errcode"] == 48001
    assert lab.program("/cgi-bin/message/subscribe/bizsend", {"touser": "x"})["errcode"] == 48001


async def _many(lab: Lab, bodies: list[dict[str, Any]]) -> list[int]:
    params = {"access_token": lab.token(PROGRAM_APPID)}
    async with httpx2.AsyncClient(base_url=lab.base, timeout=20) as http:

        async def one(body: dict[str, Any]) -> int:
            return int((await http.post(PATH, params=params, json=body)).json()["errcode"])

        return await asyncio.gather(*(one(body) for body in bodies))


async def test_a_hundred_at_once_never_send_past_the_grants(lab: Lab) -> None:
    openid = lab.accept(MP_TODO, times=5)
    body = {"touser": openid, "template_id": MP_TODO, "data": MP_TODO_DATA}
    codes = await _many(lab, [body] * 100)
    assert set(codes) <= {0, 43101, 43108}
    assert codes.count(43108) > 0
    for _ in range(5):
        codes += [lab.subscribe_send(openid)["errcode"]]
    assert codes.count(0) == 5
    ledger = lab.ledger()
    assert ledger["grants"] == {"spent": 5, "sends_past_grants": 0}
    assert ledger["messages"]["by_api"] == {"subscribe/send": 5}


async def test_different_people_can_be_sent_to_at_once(lab: Lab) -> None:
    lab.settings(processing_ms=30)
    people = ("alice", "bob", "carol")
    openids = [lab.accept(MP_TODO, person=person) for person in people]
    bodies = [{"touser": openid, "template_id": MP_TODO, "data": MP_TODO_DATA} for openid in openids]
    assert await _many(lab, bodies) == [0, 0, 0]


def test_the_dialog_takes_three_of_one_kind(lab: Lab) -> None:
    def ask(*templates: str, status: int = 200) -> Any:
        body = {"appid": PROGRAM_APPID, "choices": dict.fromkeys(templates, "accept")}
        return lab.control("POST", "/people/alice/subscribe", body, status=status)

    result = ask(MP_TODO, MP_RESULT, MP_LEVEL)["result"]
    assert result == {MP_TODO: "accept", MP_RESULT: "accept", MP_LEVEL: "accept"}
    assert "together" in ask(MP_TODO, MP_PROGRESS, status=400)["error"]
    assert "no template" in ask("none", status=404)["error"]


def test_templates_with_equal_titles_are_filtered_and_banned_ones_are_ban(lab: Lab) -> None:
    twin = {"template_id": "twin", "title": "审批待处理通知", "content": "事:{{thing1.DATA}}", "kind": 2}
    lab.control("POST", f"/accounts/{PROGRAM_APPID}/templates", twin)
    lab.control("PATCH", f"/accounts/{PROGRAM_APPID}/templates/{MP_RESULT}", {"banned": True})
    choices = {MP_TODO: "accept", "twin": "accept", MP_RESULT: "accept"}
    body = {"appid": PROGRAM_APPID, "choices": choices}
    result = lab.control("POST", "/people/alice/subscribe", body)["result"]
    assert result == {MP_TODO: "accept", "twin": "filter", MP_RESULT: "ban"}


def test_a_choice_that_is_kept_repeats_itself(lab: Lab) -> None:
    body = {"appid": PROGRAM_APPID, "choices": {MP_TODO: "accept"}, "always": True}
    lab.control("POST", "/people/alice/subscribe", body)
    again = {"appid": PROGRAM_APPID, "choices": {MP_TODO: "reject"}}
    assert lab.control("POST", "/people/alice/subscribe", again)["result"] == {MP_TODO: "accept"}
    assert lab.tie("alice", PROGRAM_APPID)["grants"][MP_TODO]["remaining"] == 2


def test_bizsend_needs_an_acceptance_and_no_follower(lab: Lab) -> None:
    openid = lab.accept(MEETING, appid=OFFICIAL_APPID)
    body = {
        "touser": openid,
        "template_id": MEETING,
        "data": MEETING_DATA,
        "page": "https://hub.example/",
        "miniprogram": {"appid": PROGRAM_APPID, "pagepath": "pages/index/index"},
    }
    first, second = (lab.official("/cgi-bin/message/subscribe/bizsend", body) for _ in range(2))
    assert (first["errcode"], second["errcode"]) == (0, 43101)
    assert first["msgid"] > 2**53
    threads = lab.control("GET", "/people/alice/phone")["threads"]
    (service,) = [thread for thread in threads if thread["messages"]]
    assert service["kind"] == "service"
    assert service["messages"][0]["link"]["kind"] == "miniprogram"
