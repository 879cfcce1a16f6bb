"""Template administration, of template messages and of subscriptions."""

from __future__ import annotations

from typing import Any

import pytest

from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID
from tests.sandbox.rig import MP_LEVEL, TODO, Lab

ADD = "/cgi-bin/template/api_add_template"
LIST = "/cgi-bin/template/get_all_private_template"
NEW = "/wxaapi/newtmpl"


def test_all_private_templates_without_an_errcode(lab: Lab) -> None:
    answer = lab.get(OFFICIAL_APPID, LIST)
    assert set(answer) == {"template_list"}
    first = answer["template_list"][0]
    assert set(first) == {"template_id", "title", "primary_industry", "deputy_industry", "content", "example"}
    assert first["template_id"] == TODO
    assert "{{thing1.DATA}}" in first["content"]
    assert len(answer["template_list"]) == 3


def test_a_template_is_added_used_and_deleted(lab: Lab) -> None:
    body = {"template_id_short": "47125", "keyword_name_list": ["会议主题", "会议时间"]}
    template_id = lab.official(ADD, body)["template_id"]
    data = {"thing1": {"value": "周会"}, "time2": {"value": "15:00"}}
    openid = lab.follow()
    assert lab.send(openid, template_id=template_id, data=data)["errcode"] == 0
    body = {"template_id": template_id}
    assert lab.official("/cgi-bin/template/del_private_template", body)["errcode"] == 0
    assert lab.send(openid, template_id=template_id, data=data)["errcode"] == 40037
    assert lab.official("/cgi-bin/template/del_private_template", body)["errcode"] == 40037


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"template_id_short": "TM00015"}, 40247),
        ({"template_id_short": "99"}, 40037),
        ({}, 40037),
        ({"template_id_short": "47125", "keyword_name_list": ["没有"]}, 40246),
        ({"template_id_short": "47125"}, 40246),
    ],
)
def test_a_template_that_cannot_be_added(lab: Lab, body: dict[str, Any], code: int) -> None:
    assert lab.official(ADD, body)["errcode"] == code


def test_25_templates(lab: Lab) -> None:
    body = {"template_id_short": "47125", "keyword_name_list": ["会议主题"]}
    codes = [lab.official(ADD, body)["errcode"] for _ in range(23)]
    assert codes == [0] * 22 + [45026]


def test_industries_change_once_a_month_and_take_their_templates_along(lab: Lab) -> None:
    assert lab.get(OFFICIAL_APPID, "/cgi-bin/template/get_industry") == {
        "primary_industry": {"first_class": "IT科技", "second_class": "互联网|电子商务"},
        "secondary_industry": {"first_class": "IT科技", "second_class": "IT软件与服务"},
    }
    change = "/cgi-bin/template/api_set_industry"
    assert lab.official(change, {"industry_id1": "1", "industry_id2": "42"})["errcode"] == 40035
    assert lab.official(change, {"industry_id1": "7", "industry_id2": "2"})["errcode"] == 0
    assert len(lab.get(OFFICIAL_APPID, LIST)["template_list"]) == 2
    assert lab.official(change, {"industry_id1": "1", "industry_id2": "2"})["errcode"] == 45009


def test_messages_that_reached_nobody_can_be_asked_for(lab: Lab) -> None:
    openid = lab.follow()
    lab.send(openid)
    lab.chaos(fail=1.0)
    msgid = lab.send(openid)["msgid"]
    body = {"tmpl_msg_id": TODO, "largest_id": 0, "limit": 100}
    (info,) = lab.official("/wxa/sec/queryblocktmplmsg", body)["msginfo"]
    assert (info["id"], info["openid"]) == (msgid, openid)
    assert lab.official("/wxa/sec/queryblocktmplmsg", body | {"limit": 101})["errcode"] == 40035


@pytest.mark.parametrize("appid", [OFFICIAL_APPID, PROGRAM_APPID])
def test_the_public_library(lab: Lab, appid: str) -> None:
    categories = lab.get(appid, f"{NEW}/getcategory")["data"]
    assert {"id": 616, "name": "办公"} in categories
    query = {"ids": "616,307", "start": "1", "limit": "30"}
    titles = lab.get(appid, f"{NEW}/getpubtemplatetitles", **query)
    assert titles["count"] == 3
    assert [title["tid"] for title in titles["data"]] == [47124, 47125]
    keywords = lab.get(appid, f"{NEW}/getpubtemplatekeywords", tid="47125")
    assert keywords["data"][0] == {"kid": 1, "name": "会议主题", "example": "周会", "rule": "thing"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"ids": "", "start": "0", "limit": "1"}, 200018),
        ({"ids": "616", "start": "x", "limit": "1"}, 200016),
        ({"ids": "616", "start": "0", "limit": "31"}, 200017),
    ],
)
def test_titles_asked_for_wrongly(lab: Lab, query: dict[str, str], code: int) -> None:
    assert lab.get(PROGRAM_APPID, f"{NEW}/getpubtemplatetitles", **query)["errcode"] == code


def test_a_subscription_template_is_added_once_used_and_deleted(lab: Lab) -> None:
    body = {"tid": "47125", "kidList": [2, 1], "sceneDesc": "会议提醒"}
    template_id = lab.program(f"{NEW}/addtemplate", body)["priTmplId"]
    assert lab.program(f"{NEW}/addtemplate", body)["errcode"] == 200022
    found = {entry["priTmplId"]: entry for entry in lab.get(PROGRAM_APPID, f"{NEW}/gettemplate")["data"]}
    assert found[template_id]["type"] == 2
    assert found[template_id]["content"] == "会议时间:{{time2.DATA}}\n会议主题:{{thing1.DATA}}"
    enums = [{"keywordCode": "enum2.DATA", "enumValueList": ["普通", "紧急"]}]
    assert found[MP_LEVEL]["keywordEnumValueList"] == enums
    openid = lab.accept(template_id)
    data = {"thing1": {"value": "周会"}, "time2": {"value": "15:00"}}
    assert lab.subscribe_send(openid, template_id=template_id, data=data)["errcode"] == 0
    assert lab.program(f"{NEW}/deltemplate", {"priTmplId": template_id})["errcode"] == 0
    assert lab.program(f"{NEW}/deltemplate", {"priTmplId": template_id})["errcode"] == 200014


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"tid": "1"}, 200014),
        ({"tid": "47125", "kidList": [1]}, 200020),
        ({"tid": "47125", "kidList": [1, 9]}, 200020),
        ({"tid": "47125", "kidList": [1, 2], "sceneDesc": "x" * 16}, 200021),
    ],
)
def test_a_subscription_template_that_cannot_be_added(lab: Lab, body: dict[str, Any], code: int) -> None:
    assert lab.program(f"{NEW}/addtemplate", body)["errcode"] == code
