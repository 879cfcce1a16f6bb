"""Template messages of official accounts."""

from __future__ import annotations

from typing import Any

import pytest

from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID
from tests.sandbox.rig import INDUSTRY, MEETING, SECRETS, TODO, TODO_DATA, Lab

PATH = "/cgi-bin/message/template/send"


def shown(lab: Lab, person: str = "alice") -> list[dict[str, Any]]:
    """The cards on the phone, oldest first."""
    threads = lab.control("GET", f"/people/{person}/phone")["threads"]
    return [message for thread in threads for message in thread["messages"]]


def test_a_card_reaches_the_phone(lab: Lab) -> None:
    answer = lab.send(lab.follow(), url="https://hub.example/task/1")
    assert (answer["errcode"], answer["errmsg"]) == (0, "ok")
    assert answer["msgid"] > 2**53
    (card,) = shown(lab)
    assert card["msgid"] == str(answer["msgid"])
    assert card["title"] == "审批待处理通知"
    assert card["lines"][0] == ["审批事项", "差旅报销"]
    assert card["link"] == {"kind": "url", "target": "https://hub.example/task/1"}
    assert card["request"]["data"] == TODO_DATA


def test_msgids_can_be_small(lab: Lab) -> None:
    lab.settings(big_msgid=False)
    assert lab.send(lab.follow())["msgid"] < 2**31


def test_a_mini_program_wins_over_the_page(lab: Lab) -> None:
    program = {"appid": PROGRAM_APPID, "pagepath": "pages/task/detail?id=1"}
    lab.send(lab.follow(), url="https://hub.example/", miniprogram=program)
    (card,) = shown(lab)
    assert card["link"] == {
        "kind": "miniprogram",
        "appid": PROGRAM_APPID,
        "target": "pages/task/detail?id=1",
        "fallback": "https://hub.example/",
    }


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"touser": "nobody"}, 40003),
        ({"touser": None}, 40003),
        ({"template_id": ""}, 40036),
        ({"template_id": "x" * 200}, 40036),
        ({"template_id": "TM00015"}, 40037),
        ({"template_id": MEETING}, 40037),
        ({"url": "https://e.example/" + "x" * 1024}, 40039),
        ({"miniprogram": {"appid": "wx0", "pagepath": "a"}}, 40166),
        ({"miniprogram": {"appid": PROGRAM_APPID, "pagepath": "pages/none"}}, 40165),
        ({"data": None}, 47003),
        ({"data": TODO_DATA | {"thing1": {"value": "清仓特价来了"}}}, 40249),
    ],
)
def test_what_is_refused(lab: Lab, more: dict[str, Any], code: int) -> None:
    assert lab.send(lab.follow(), **more)["errcode"] == code
    assert lab.ledger()["messages"]["accepted"] == 0


def test_another_accounts_openid_is_invalid(lab: Lab) -> None:
    assert lab.send(lab.openid("alice", PROGRAM_APPID))["errcode"] == 40003


def test_only_followers(lab: Lab) -> None:
    answer = lab.send(lab.openid("alice"))
    assert answer["errcode"] == 43004
    assert answer["errmsg"].startswith("require subscribe")


def test_a_blacklisted_follower(lab: Lab) -> None:
    openid = lab.follow()
    lab.control("PATCH", f"/people/alice/ties/{OFFICIAL_APPID}", {"blacklisted": True})
    assert lab.send(openid)["errcode"] == 43019


def test_one_template_can_be_refused_and_allowed_again(lab: Lab) -> None:
    openid = lab.follow()
    body = {"appid": OFFICIAL_APPID, "template_id": TODO, "choice": "reject"}
    lab.control("POST", "/people/alice/settings", body)
    assert lab.send(openid)["errcode"] == 43101
    notice = {"keyword1": {"value": "a"}, "keyword2": {"value": "b"}}
    assert lab.send(openid, template_id=INDUSTRY, data=notice)["errcode"] == 0
    lab.control("POST", "/people/alice/settings", body | {"choice": "accept"})
    assert lab.send(openid)["errcode"] == 0


def test_a_restricted_template(lab: Lab) -> None:
    openid = lab.follow()
    lab.control("PATCH", f"/accounts/{OFFICIAL_APPID}/templates/{TODO}", {"restricted": True})
    assert lab.send(openid)["errcode"] == 43116


@pytest.mark.parametrize(("changed", "code"), [({"verified": False}, 48001), ({"api_banned": True}, 48004)])
def test_an_account_that_may_not(lab: Lab, changed: dict[str, Any], code: int) -> None:
    openid = lab.follow()
    lab.control("PATCH", f"/accounts/{OFFICIAL_APPID}", changed)
    assert lab.send(openid)["errcode"] == code


def test_a_mini_programs_token_is_unauthorized(lab: Lab) -> None:
    assert lab.program(PATH, {"touser": "x"})["errcode"] == 48001


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("thing1", "字" * 21, "data.thing1.value invalid"),
        ("thing1", "a\nb", "data.thing1.value invalid"),
        ("thing1", "", "data.thing1.value is empty"),
        ("time3", "2020-01-18 16:18:49.0", "data.time3.value invalid"),
        ("amount4", "12345678901", "data.amount4.value invalid"),
        ("const5", "别的", "data.const5.value invalid"),
        ("thing9", "unknown", "data.thing9.value invalid"),
    ],
)
def test_a_field_that_does_not_fit_is_named(lab: Lab, field: str, value: str, words: str) -> None:
    answer = lab.send(lab.follow(), data=TODO_DATA | {field: {"value": value}})
    assert answer["errcode"] == 47003
    assert answer["errmsg"].startswith(f"argument invalid! {words} rid: ")


def test_a_missing_field_is_named(lab: Lab) -> None:
    data = {name: value for name, value in TODO_DATA.items() if name != "thing2"}
    assert "data.thing2.value is empty" in lab.send(lab.follow(), data=data)["errmsg"]


def test_colours_are_accepted_and_not_shown(lab: Lab) -> None:
    data = TODO_DATA | {"thing1": {"value": "差旅", "color": "#173177"}}
    assert lab.send(lab.follow(), data=data)["errcode"] == 0
    assert shown(lab)[0]["lines"][0] == ["审批事项", "差旅"]


def test_an_industry_template_is_shortened_silently(lab: Lab) -> None:
    data = {
        "first": {"value": "你好", "color": "#ff0000"},
        "keyword1": {"value": "第一行\n第二行" + "长" * 30},
        "keyword2": {"value": "好😀的"},
        "remark": {"value": "备注"},
    }
    assert lab.send(lab.follow(), template_id=INDUSTRY, data=data)["errcode"] == 0
    lines = shown(lab)[0]["lines"]
    assert lines == [["标题", ("第一行第二行" + "长" * 30)[:20]], ["内容", "好的"]]


def test_client_msg_id_sends_once_in_ten_minutes(lab: Lab) -> None:
    openid = lab.follow()
    first = lab.send(openid, client_msg_id="dlv_1")
    lab.advance(598)
    again = lab.send(openid, client_msg_id="dlv_1")
    assert (again["errcode"], again["msgid"]) == (0, first["msgid"])
    assert len(shown(lab)) == 1
    assert lab.ledger()["messages"]["suppressed_duplicates"] == 1
    assert lab.ledger()["doubles"] == []


def test_after_ten_minutes_it_is_sent_again_and_the_ledger_tells(lab: Lab) -> None:
    openid = lab.follow()
    lab.send(openid, client_msg_id="dlv_1")
    lab.advance(601)
    lab.send(openid, client_msg_id="dlv_1")
    (double,) = lab.ledger()["doubles"]
    assert (double["client_msg_id"], double["sent"]) == ("dlv_1", 2)


def test_client_msg_id_is_per_openid(lab: Lab) -> None:
    for person in ("alice", "bob"):
        lab.send(lab.follow(person), client_msg_id="dlv_1")
    assert lab.ledger()["messages"]["accepted"] == 2
    assert lab.ledger()["doubles"] == []


def test_a_refused_send_does_not_use_up_its_client_msg_id(lab: Lab) -> None:
    assert lab.send(lab.openid("alice"), client_msg_id="dlv_1")["errcode"] == 43004
    assert lab.send(lab.follow(), client_msg_id="dlv_1")["errcode"] == 0
    assert lab.ledger()["messages"]["accepted"] == 1


def test_a_suppressed_duplicate_may_be_an_error(lab: Lab) -> None:
    lab.settings(duplicate_answer="error")
    openid = lab.follow()
    lab.send(openid, client_msg_id="dlv_1")
    assert lab.send(openid, client_msg_id="dlv_1")["errcode"] == 45065


def test_bodies_that_are_not_json(lab: Lab) -> None:
    params = {"access_token": lab.token(OFFICIAL_APPID)}
    codes = [lab.http.post(PATH, params=params, content=raw).json()["errcode"] for raw in (b"", b"{", b"[]")]
    assert codes == [44002, 47001, 47001]
    assert lab.http.get(PATH, params=params).json()["errcode"] == 43002


def test_escaped_bodies_can_be_refused(lab: Lab) -> None:
    lab.settings(refuse_escapes=True)
    params = {"access_token": lab.token(OFFICIAL_APPID)}
    answer = lab.http.post(PATH, params=params, content=b'{"touser":"\\u5f20"}').json()
    assert answer["errcode"] == 40033


def test_the_daily_quota_is_shown_and_can_be_cleared(lab: Lab) -> None:
    openid = lab.follow()
    lab.control("PATCH", f"/accounts/{OFFICIAL_APPID}", {"daily_limits": {PATH: 2}})
    assert [lab.send(openid)["errcode"] for _ in range(3)] == [0, 0, 45009]
    quota = lab.official("/cgi-bin/openapi/quota/get", {"cgi_path": PATH})["quota"]
    assert quota == {"daily_limit": 2, "used": 2, "remain": 0}
    assert lab.official("/cgi-bin/clear_quota", {"appid": OFFICIAL_APPID})["errcode"] == 0
    assert lab.send(openid)["errcode"] == 0
    assert lab.official("/cgi-bin/openapi/quota/clear", {"cgi_path": PATH})["errcode"] == 0
    assert lab.official("/cgi-bin/openapi/quota/get", {"cgi_path": PATH})["quota"]["used"] == 0


def test_the_daily_quota_begins_anew_at_midnight_in_beijing(lab: Lab) -> None:
    openid = lab.follow()
    lab.control("PATCH", f"/accounts/{OFFICIAL_APPID}", {"daily_limits": {PATH: 1}})
    lab.send(openid)
    assert lab.send(openid)["errcode"] == 45009
    lab.tokens.clear()
    lab.advance(86400)
    assert lab.send(openid)["errcode"] == 0


def test_the_minute_quota(lab: Lab) -> None:
    openid = lab.follow()
    lab.control("PATCH", f"/accounts/{OFFICIAL_APPID}", {"minute_limits": {PATH: 1}})
    lab.control("POST", "/clock", {"freeze": True})
    assert [lab.send(openid)["errcode"] for _ in range(2)] == [0, 45011]
    lab.advance(60)
    assert lab.send(openid)["errcode"] == 0


def test_quotas_are_cleared_ten_times_a_month(lab: Lab) -> None:
    body = {"appid": OFFICIAL_APPID, "appsecret": SECRETS[OFFICIAL_APPID]}
    codes = [lab.http.post("/cgi-bin/clear_quota/v2", json=body).json()["errcode"] for _ in range(10)]
    assert codes == [0] * 10
    assert lab.official("/cgi-bin/clear_quota", {"appid": OFFICIAL_APPID})["errcode"] == 48006
    assert lab.official("/cgi-bin/openapi/quota/get", {"cgi_path": "/none"})["errcode"] == 76021


def test_a_rid_explains_an_error_to_the_same_account(lab: Lab) -> None:
    rid = lab.send("nobody")["errmsg"].rsplit(" ", 1)[1]
    request = lab.official("/cgi-bin/openapi/rid/get", {"rid": rid})["request"]
    assert "nobody" in request["request_body"]
    assert "40003" in request["response_body"]
    assert lab.program("/cgi-bin/openapi/rid/get", {"rid": rid})["errcode"] == 76003
    assert lab.official("/cgi-bin/openapi/rid/get", {"rid": "x"})["errcode"] == 76002
    unknown = {"rid": "00000000-00000000-00000000"}
    assert lab.official("/cgi-bin/openapi/rid/get", unknown)["errcode"] == 76001
    lab.tokens.clear()
    lab.advance(8 * 86400)
    assert lab.official("/cgi-bin/openapi/rid/get", {"rid": rid})["errcode"] == 76004


def test_a_client_msg_id_is_remembered_longer_than_its_message_is_kept(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.sandbox.world._MESSAGES_KEPT", 2)
    openid = lab.follow()
    first = lab.send(openid, client_msg_id="d1")
    for number in range(3):
        lab.send(openid, client_msg_id=f"other{number}")
    assert lab.send(openid, client_msg_id="d1")["msgid"] == first["msgid"]
    assert lab.ledger()["doubles"] == []
