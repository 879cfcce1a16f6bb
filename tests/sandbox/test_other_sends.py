"""Customer-service messages, the old one-time subscription, and what is gone."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID
from tests.sandbox.rig import Lab

CUSTOM = "/cgi-bin/message/custom/send"


def text(openid: str, content: str = "您好") -> dict[str, object]:
    """A text message."""
    return {"touser": openid, "msgtype": "text", "text": {"content": content}}


def test_no_window_no_message(lab: Lab) -> None:
    openid = lab.follow()
    lab.advance(61)
    assert lab.official(CUSTOM, text(openid))["errcode"] == 45015


def test_three_messages_in_the_minute_after_following(lab: Lab) -> None:
    openid = lab.follow()
    assert [lab.official(CUSTOM, text(openid))["errcode"] for _ in range(4)] == [0, 0, 0, 45047]


def test_five_messages_in_48_hours_after_writing(lab: Lab) -> None:
    openid = lab.follow()
    lab.advance(61)
    lab.control("POST", "/people/alice/write", {"appid": OFFICIAL_APPID, "text": "在吗"})
    lab.tokens.clear()
    lab.advance(47 * 3600)
    assert [lab.official(CUSTOM, text(openid))["errcode"] for _ in range(6)] == [0] * 5 + [45047]
    lab.tokens.clear()
    lab.advance(3601)
    assert lab.official(CUSTOM, text(openid))["errcode"] == 45015


def test_two_messages_in_the_minute_after_opening_the_mini_program(lab: Lab) -> None:
    lab.control("POST", "/people/alice/login", {"appid": PROGRAM_APPID})
    openid = lab.openid("alice", PROGRAM_APPID)
    assert [lab.program(CUSTOM, text(openid))["errcode"] for _ in range(3)] == [0, 0, 45047]


def test_kinds_of_customer_service_messages(lab: Lab) -> None:
    openid = lab.follow()
    assert lab.official(CUSTOM, {"touser": openid, "msgtype": "x"})["errcode"] == 40008
    assert lab.official(CUSTOM, {"touser": openid, "msgtype": "text"})["errcode"] == 70000
    image = {"touser": openid, "msgtype": "image", "image": {"media_id": "m"}}
    assert lab.official(CUSTOM, image)["errcode"] == 0


def confirm(lab: Lab, answer: str, scene: str = "1000") -> dict[str, list[str]]:
    """The page that asks, and where it leads back."""
    query = {
        "action": "get_confirm",
        "appid": OFFICIAL_APPID,
        "scene": scene,
        "template_id": "one-time",
        "redirect_url": "https://hub.example/back",
        "reserved": "csrf",
        "sandbox_person": "alice",
        "sandbox_answer": answer,
    }
    location = lab.http.get("/mp/subscribemsg", params=query).headers["location"]
    return parse_qs(urlsplit(location).query)


def one_time(lab: Lab, openid: str, **more: object) -> int:
    """POST /cgi-bin/message/template/subscribe."""
    body: dict[str, object] = {
        "touser": openid,
        "template_id": "one-time",
        "scene": "1000",
        "title": "审批通过",
        "data": {"content": {"value": "您的报销已通过", "color": "#173177"}},
    }
    return int(lab.official("/cgi-bin/message/template/subscribe", body | more)["errcode"])


def test_one_message_per_confirmed_scene_and_no_adding_up(lab: Lab) -> None:
    confirm(lab, "confirm")
    back = confirm(lab, "confirm")
    assert (back["action"], back["reserved"], back["scene"]) == (["confirm"], ["csrf"], ["1000"])
    openid = back["openid"][0]
    assert one_time(lab, openid, scene="1001") == 43101
    assert one_time(lab, openid) == 0
    assert one_time(lab, openid) == 43101


def test_a_scene_that_was_cancelled(lab: Lab) -> None:
    assert confirm(lab, "cancel")["action"] == ["cancel"]
    assert one_time(lab, lab.openid("alice")) == 43101


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"touser": "x"}, 40003),
        ({"template_id": ""}, 40037),
        ({"scene": "10001"}, 40035),
        ({"title": "十六个字的标题实在是太长了不可以"}, 40062),
        ({"data": {"content": {"value": "x" * 201}}}, 47003),
    ],
)
def test_a_one_time_message_that_is_refused(lab: Lab, more: dict[str, object], code: int) -> None:
    confirm(lab, "confirm")
    assert one_time(lab, lab.openid("alice"), **more) == code
    assert one_time(lab, lab.openid("alice")) == 0


def test_the_page_asks_who_and_whether(lab: Lab) -> None:
    query = {
        "action": "get_confirm",
        "appid": OFFICIAL_APPID,
        "scene": "1",
        "template_id": "t",
        "redirect_url": "https://hub.example/",
    }
    assert "陈思雨" in lab.http.get("/mp/subscribemsg", params=query).text
    asked = lab.http.get("/mp/subscribemsg", params=query | {"sandbox_person": "alice"}).text
    assert "允许" in asked
    assert "取消" in asked
    assert lab.http.get("/mp/subscribemsg", params=query | {"scene": "10001"}).status_code == 400


def test_what_is_gone(lab: Lab) -> None:
    assert lab.program("/cgi-bin/message/wxopen/template/uniform_send", {"a": 1})["errcode"] == 45109
    assert lab.program("/cgi-bin/message/wxopen/template/send", {"a": 1})["errcode"] == 46101
