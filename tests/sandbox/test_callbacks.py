"""What is pushed to an account's URL, and how."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hub.sandbox.crypto import decrypt, signature
from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID
from tests.sandbox.rig import MEETING, MEETING_DATA, MP_RESULT, MP_TODO, Lab, Receiver

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


def between(text: str, name: str) -> str:
    """The content of an XML element."""
    inner = text.split(f"<{name}>", 1)[1].split(f"</{name}>", 1)[0]
    return inner.removeprefix("<![CDATA[").removesuffix("]]>")


def test_the_url_is_checked_with_echostr(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    (check,) = receiver.calls
    assert set(check.query) == {"signature", "timestamp", "nonce", "echostr"}


def test_a_url_that_answers_something_else_is_not_taken(lab: Lab, receiver: Receiver) -> None:
    receiver.echo = '"quoted"'
    body = {"url": receiver.url, "token": receiver.token}
    answer = lab.control("PUT", f"/accounts/{OFFICIAL_APPID}/callback", body, status=409)
    assert "echostr" in answer["error"]
    gone = body | {"url": "http://127.0.0.1:1/"}
    lab.control("PUT", f"/accounts/{OFFICIAL_APPID}/callback", gone, status=409)
    lab.control("PUT", f"/accounts/{OFFICIAL_APPID}/callback", gone | {"verify": False})


def test_official_accounts_get_xml_only(lab: Lab, receiver: Receiver) -> None:
    body = {"url": receiver.url, "token": receiver.token, "format": "json"}
    lab.control("PUT", f"/accounts/{OFFICIAL_APPID}/callback", body, status=422)
    short = body | {"format": "xml", "mode": "aes", "encoding_aes_key": "x"}
    lab.control("PUT", f"/accounts/{OFFICIAL_APPID}/callback", short, status=422)


def test_job_finish(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    openid = lab.follow()
    msgid = lab.send(openid)["msgid"]
    lab.settle()
    (push,) = [call for call in receiver.posts() if "TEMPLATESENDJOBFINISH" in call.body]
    assert push.query["openid"] == openid
    stamp = push.query["timestamp"], push.query["nonce"]
    assert push.query["signature"] == signature(receiver.token, *stamp)
    assert between(push.body, "ToUserName") == "gh_5a6d0c8b1e2f"
    assert between(push.body, "FromUserName") == openid
    assert between(push.body, "MsgID") == str(msgid)
    assert between(push.body, "Status") == "success"


def test_a_follower_who_blocks_messages(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    openid = lab.follow()
    lab.control("PATCH", f"/people/alice/ties/{OFFICIAL_APPID}", {"blocks_messages": True})
    assert lab.send(openid)["errcode"] == 0
    lab.settle()
    assert between(receiver.bodies("JOBFINISH")[0], "Status") == "failed:user block"
    assert not any(thread["messages"] for thread in lab.control("GET", "/people/alice/phone")["threads"])


def test_a_system_failure(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    openid = lab.follow()
    lab.chaos(fail=1.0)
    lab.send(openid)
    lab.settle()
    assert between(receiver.bodies("JOBFINISH")[0], "Status") == "failed: system failed"


def test_following(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    body = {"appid": OFFICIAL_APPID}
    for verb in ("follow", "follow", "unfollow", "unfollow"):
        lab.control("POST", f"/people/alice/{verb}", body)
    lab.settle()
    assert sorted(between(call.body, "Event") for call in receiver.posts()) == ["subscribe", "unsubscribe"]


def test_scanning_as_a_stranger_and_as_a_follower(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    info = {"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "bind:abc"}}}
    made = lab.official("/cgi-bin/qrcode/create", info)
    lab.control("POST", "/people/alice/scan", {"ticket": made["ticket"]})
    lab.settle()
    lab.control("POST", "/people/alice/scan", {"url": made["url"]})
    lab.settle()
    first, second = (call.body for call in receiver.posts())
    assert (between(first, "Event"), between(first, "EventKey")) == ("subscribe", "qrscene_bind:abc")
    assert (between(second, "Event"), between(second, "EventKey")) == ("SCAN", "bind:abc")
    assert between(first, "Ticket") == between(second, "Ticket") == made["ticket"]


def test_xml_subscription_events(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    openid = lab.accept(MEETING, appid=OFFICIAL_APPID)
    body = {"touser": openid, "template_id": MEETING, "data": MEETING_DATA}
    msgid = lab.official("/cgi-bin/message/subscribe/bizsend", body)["msgid"]
    off = {"appid": OFFICIAL_APPID, "template_id": MEETING, "choice": "reject"}
    lab.control("POST", "/people/alice/settings", off)
    lab.control("POST", "/people/alice/settings", off | {"choice": "accept"})
    lab.settle()
    assert len(receiver.posts()) == 3
    popup = between(between(receiver.bodies("popup_event")[0], "SubscribeMsgPopupEvent"), "List")
    assert between(popup, "SubscribeStatusString") == "accept"
    assert between(popup, "PopupScene") == "0"
    sent = between(between(receiver.bodies("sent_event")[0], "SubscribeMsgSentEvent"), "List")
    assert between(sent, "MsgID") == str(msgid)
    assert (between(sent, "ErrorCode"), between(sent, "ErrorStatus")) == ("0", "success")
    change = between(between(receiver.bodies("change_event")[0], "SubscribeMsgChangeEvent"), "List")
    assert between(change, "SubscribeStatusString") == "reject"


def choose(lab: Lab, **choices: str) -> None:
    """The mini program's dialog."""
    body = {"appid": PROGRAM_APPID, "choices": choices, "scene": 2}
    lab.control("POST", "/people/alice/subscribe", body)
    lab.settle()


def test_a_json_list_is_an_object_for_one_and_an_array_for_two(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver, PROGRAM_APPID, format="json")
    choose(lab, **{MP_TODO: "accept"})
    choose(lab, **{MP_TODO: "accept", MP_RESULT: "reject"})
    one, two = (json.loads(call.body) for call in receiver.posts())
    assert one["Event"] == "subscribe_msg_popup_event"
    expected = {"TemplateId": MP_TODO, "SubscribeStatusString": "accept", "PopupScene": "2"}
    assert one["List"] == expected
    assert [item["SubscribeStatusString"] for item in two["List"]] == ["accept", "reject"]
    assert isinstance(one["CreateTime"], int)


def test_json_as_seen_in_the_wild(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver, PROGRAM_APPID, format="json", numbers_as_strings=True, json_wrapper=True)
    choose(lab, **{MP_TODO: "accept"})
    body = json.loads(receiver.posts()[0].body)
    assert body["CreateTime"].isdigit()
    assert body["SubscribeMsgPopupEvent"]["List"]["TemplateId"] == MP_TODO


@pytest.mark.parametrize("form", ["xml", "json"])
@pytest.mark.parametrize("mode", ["aes", "compatible"])
def test_encrypted_pushes(lab: Lab, receiver: Receiver, form: str, mode: str) -> None:
    lab.hear(receiver, PROGRAM_APPID, format=form, mode=mode, encoding_aes_key=KEY)
    choose(lab, **{MP_TODO: "accept"})
    (push,) = receiver.posts()
    assert push.query["encrypt_type"] == "aes"
    cipher = json.loads(push.body)["Encrypt"] if form == "json" else between(push.body, "Encrypt")
    stamp = push.query["timestamp"], push.query["nonce"]
    assert push.query["msg_signature"] == signature(receiver.token, *stamp, cipher)
    assert MP_TODO in decrypt(cipher, encoding_aes_key=KEY, appid=PROGRAM_APPID)
    assert (MP_TODO in push.body) == (mode == "compatible")


def pushes(lab: Lab) -> list[dict[str, Any]]:
    """The pushes as the sandbox remembers them."""
    found: list[dict[str, Any]] = lab.control("GET", "/callbacks")["pushes"]
    return found


def test_three_tries_for_a_url_that_fails(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    receiver.statuses = [500, 500, 500]
    lab.follow()
    lab.settle()
    assert len(receiver.posts()) == 3
    (push,) = pushes(lab)
    assert push["outcome"] == "given up"
    assert [tried["status"] for tried in push["tries"]] == [500, 500, 500]
    assert lab.ledger()["callbacks"] == {"tries": 3, "given_up": 1}


def test_a_slow_answer_is_asked_again_and_may_come_twice(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    lab.settings(callback_timeout_ms=100)
    receiver.delays = [0.4]
    lab.follow()
    lab.settle()
    assert len(receiver.posts()) == 2
    first, second = receiver.posts()
    assert first.body == second.body
    assert first.query["nonce"] != second.query["nonce"]
    (push,) = pushes(lab)
    assert push["outcome"] == "answered"
    assert "no answer in" in push["tries"][0]["error"]


def test_retries_may_keep_their_signature(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    lab.settings(resign_retries=False)
    receiver.statuses = [500]
    lab.follow()
    lab.settle()
    first, second = receiver.posts()
    assert first.query == second.query


def test_events_that_are_dropped_doubled_or_late(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    openid = lab.follow()
    lab.settle()
    receiver.calls.clear()
    lab.chaos(drop=1.0)
    lab.send(openid)
    lab.settle()
    assert receiver.posts() == []
    lab.chaos(duplicate=1.0)
    lab.send(openid)
    lab.settle()
    first, second = receiver.posts()
    assert first.body == second.body
    receiver.calls.clear()
    lab.chaos(late=1.0, late_ms=300)
    lab.send(openid)
    assert receiver.posts() == []
    lab.settle()
    assert len(receiver.posts()) == 1


def test_an_event_before_the_answer(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    openid = lab.follow()
    lab.settle()
    lab.chaos(early=1.0)
    receiver.calls.clear()
    lab.send(openid)
    assert len(receiver.posts()) == 1


def test_what_a_person_writes_is_pushed(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    lab.follow()
    body = {"appid": OFFICIAL_APPID, "text": "你好 ]]> <b>"}
    lab.control("POST", "/people/alice/write", body)
    lab.settle()
    (body_text,) = receiver.bodies("MsgId")
    assert between(body_text, "MsgType") == "text"
    assert "]]]]><![CDATA[> <b>" in body_text


def test_a_dropped_callback_is_silence(lab: Lab, receiver: Receiver) -> None:
    lab.hear(receiver)
    lab.control("DELETE", f"/accounts/{OFFICIAL_APPID}/callback")
    lab.follow()
    lab.settle()
    assert receiver.posts() == []
    assert lab.ledger()["callbacks"] == {"no_url": 1}
