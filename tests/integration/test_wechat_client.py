"""The client against a server on a real port: what is sent, and what is understood."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from hub.channels._wechat.answers import (
    Explanation,
    Follower,
    MiniLogin,
    QrCode,
    Sent,
    Template,
    WebLogin,
)
from hub.channels._wechat.client import (
    MiniLang,
    MiniMessage,
    MiniPage,
    MiniState,
    SubscribeNotice,
    TemplateMessage,
    client_msg_id,
)
from hub.channels._wechat.faults import Failure, Kind
from tests.unit.wechat.fake_wechat import APPID, RID, SECRET, answering, hang
from tests.unit.wechat.rig import MESSAGE, MINI, MSGID, Rig, open_rig


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with open_rig() as opened:
        yield opened


# --- sends


async def test_a_template_message_goes_out_as_documented(rig: Rig) -> None:
    result = await rig.client.send_template(
        TemplateMessage(
            "oAnn", "T1", MESSAGE.data, "id1", url="https://x.cn/a", mini=MiniPage("wxmini", "p?a=1")
        )
    )
    assert result == Sent(MSGID)
    method, path, query, body = rig.fake.requests[-1]
    assert (method, path) == ("POST", "/cgi-bin/message/template/send")
    assert query == {"access_token": rig.fake.token}
    assert body == {
        "touser": "oAnn",
        "template_id": "T1",
        "data": {"thing1": {"value": "差旅报销 👍"}, "amount2": {"value": "¥1200.00"}},
        "url": "https://x.cn/a",
        "miniprogram": {"appid": "wxmini", "pagepath": "p?a=1"},
        "client_msg_id": "id1",
    }


async def test_text_is_not_escaped(rig: Rig) -> None:
    await rig.client.send_template(MESSAGE)
    assert "差旅报销 👍".encode() in rig.fake.bodies[-1]
    assert b"\\u" not in rig.fake.bodies[-1]
    assert rig.fake.headers[-1]["Content-Type"] == "application/json"


async def test_a_notice_and_a_mini_program_message_go_out_as_documented(rig: Rig) -> None:
    await rig.client.send_notice(SubscribeNotice("oAnn", "T1", {"thing1": "x"}, page="https://x.cn"))
    _, path, _, body = rig.fake.requests[-1]
    assert path == "/cgi-bin/message/subscribe/bizsend"
    assert body == {
        "touser": "oAnn",
        "template_id": "T1",
        "data": {"thing1": {"value": "x"}},
        "page": "https://x.cn",
    }
    message = MiniMessage("oAnn", "T1", {}, "pages/a?b=c", MiniState.TRIAL, MiniLang.ENGLISH)
    assert await rig.client.send_mini(message) == Sent(MSGID)
    _, path, _, body = rig.fake.requests[-1]
    assert path == "/cgi-bin/message/subscribe/send"
    assert body == {
        "touser": "oAnn",
        "template_id": "T1",
        "data": {},
        "page": "pages/a?b=c",
        "miniprogram_state": "trial",
        "lang": "en_US",
    }


async def test_an_answer_without_a_msgid_is_a_success(rig: Rig) -> None:
    rig.fake.behave = answering('{"errcode":"0","errmsg":"ok"}', content_type="text/plain")
    assert await rig.client.send_mini(MINI) == Sent(None)


async def test_a_repeat_that_wechat_refuses_as_one_is_a_success(rig: Rig) -> None:
    rig.fake.behave = answering('{"errcode":45065,"errmsg":"clientmsgid exist"}')
    assert await rig.client.send_template(MESSAGE) == Sent(None, duplicate=True)


@pytest.mark.parametrize("code", [-1, 43101, 47003, 40164, 45009, 99999])
async def test_a_refusal_is_classified_with_its_words(rig: Rig, code: int) -> None:
    rig.fake.behave = answering(f'{{"errcode":{code},"errmsg":"data.thing1.value invalid {RID}"}}')
    failure = await rig.failed()
    assert (failure.errcode, failure.rid, failure.sent) == (code, RID.removeprefix("rid: "), False)
    assert len(rig.fake.requests) == 1


def test_the_id_for_deduplication_is_stable_and_short() -> None:
    assert client_msg_id("dlv_" + "0" * 32) == "0" * 32
    long = client_msg_id("dlv_" + "x" * 60)
    assert len(long) == 32
    assert long == client_msg_id("dlv_" + "x" * 60) != client_msg_id("dlv_" + "y" * 60)
    assert client_msg_id("审批").isascii()


# --- the token


async def test_a_refused_token_is_renewed_and_the_send_repeated_once(rig: Rig) -> None:
    await rig.client.send_template(MESSAGE)
    rig.fake.invalidate()
    assert await rig.client.send_template(MESSAGE) == Sent(MSGID)
    assert rig.fake.fetches == [False, False]
    assert len(rig.fake.requests) == 3


async def test_two_hundred_sends_with_a_refused_token_are_one_fetch(rig: Rig) -> None:
    await rig.client.send_template(MESSAGE)
    rig.fake.invalidate()
    results = await asyncio.gather(*(rig.client.send_template(MESSAGE) for _ in range(100)))
    assert set(results) == {Sent(MSGID)}
    assert rig.fake.fetches == [False, False]


async def test_a_server_that_refuses_every_token_is_asked_twice_at_most(rig: Rig) -> None:
    rig.fake.refuse_all = True
    failure = await rig.failed()
    assert (failure.kind, failure.sent) == (Kind.TOKEN, False)
    assert len(rig.fake.requests) == 2
    for _ in range(10):
        assert (await rig.failed()).kind is Kind.TOKEN
    assert rig.fake.fetches.count(True) <= 1
    assert len(rig.fake.fetches) <= 4


async def test_nothing_is_sent_without_a_token(rig: Rig) -> None:
    rig.fake.behave_token = answering('{"errcode":40164,"errmsg":"invalid ip 1.2.3.4, not in whitelist"}')
    failure = await rig.failed()
    assert (failure.kind, failure.sent) == (Kind.ACCOUNT, False)
    rig.fake.behave_token = hang
    assert rig.fake.requests == []


# --- the other calls


async def test_private_templates_name_their_fields(rig: Rig) -> None:
    content = "申请人:{{thing1.DATA}}\n金额:{{amount2.DATA}}\x01\n{{thing1.DATA}}"
    item = {"template_id": "T1", "title": "审批", "content": content, "example": "e", "primary_industry": ""}
    rig.fake.answers["/cgi-bin/template/get_all_private_template"] = {"template_list": [item]}
    templates = await rig.client.private_templates()
    assert templates == (Template("T1", "审批", content, "e", ("thing1", "amount2")),)
    assert rig.fake.requests[-1][0] == "GET"


async def test_subscribe_templates_tell_kinds_and_enums(rig: Rig) -> None:
    enums = [{"keywordCode": "enum1.DATA", "enumValueList": ["a", "b"]}]
    rig.fake.answers["/wxaapi/newtmpl/gettemplate"] = {
        "errcode": 0,
        "data": [
            {
                "priTmplId": "P1",
                "title": "t",
                "content": "{{enum1.DATA}}",
                "type": 3,
                "keywordEnumValueList": enums,
            },
            {"priTmplId": "P2", "title": "t", "content": "", "example": "", "type": 2},
        ],
    }
    templates = await rig.client.subscribe_templates()
    assert templates == (
        Template("P1", "t", "{{enum1.DATA}}", "", ("enum1",), True, (("enum1", ("a", "b")),)),
        Template("P2", "t", "", "", ()),
    )


async def test_logins_need_no_token_and_hide_their_keys(rig: Rig) -> None:
    rig.fake.answers["/sns/jscode2session"] = {"openid": "oAnn", "session_key": "sk==", "unionid": "u"}
    login = await rig.client.mini_login("c1")
    assert login == MiniLogin("oAnn", "u", "sk==")
    assert "sk==" not in repr(login)
    assert rig.fake.requests[-1] == (
        "GET",
        "/sns/jscode2session",
        {"appid": APPID, "secret": SECRET, "js_code": "c1", "grant_type": "authorization_code"},
        None,
    )
    rig.fake.answers["/sns/oauth2/access_token"] = {
        "access_token": "user-token",
        "expires_in": 7200,
        "openid": "oAnn",
        "scope": "snsapi_base,snsapi_userinfo",
        "is_snapshotuser": 1,
    }
    web = await rig.client.web_login("c2")
    assert web == WebLogin("oAnn", None, ("snsapi_base", "snsapi_userinfo"), True, "user-token")
    assert "user-token" not in repr(web)
    assert rig.fake.fetches == []


async def test_login_refusals(rig: Rig) -> None:
    rig.fake.behave = answering('{"errcode":40029,"errmsg":"invalid code"}')
    result = await rig.client.mini_login("bad")
    assert isinstance(result, Failure)
    assert result.kind is Kind.LOGIN
    rig.fake.behave = hang
    unclear = await rig.client.web_login("c")
    assert isinstance(unclear, Failure)
    assert unclear.kind is Kind.AMBIGUOUS
    assert "http" not in repr(unclear)


async def test_a_qr_code(rig: Rig) -> None:
    rig.fake.answers["/cgi-bin/qrcode/create"] = {
        "ticket": "a+b/c==",
        "expire_seconds": 60,
        "url": "http://w/q",
    }
    code = await rig.client.create_qr("bind:1", expires_in=timedelta(minutes=1))
    assert code == QrCode("a+b/c==", "http://w/q", timedelta(minutes=1))
    assert code.picture == "https://mp.weixin.qq.com/cgi-bin/showqrcode?ticket=a%2Bb%2Fc%3D%3D"
    assert rig.fake.requests[-1][3] == {
        "expire_seconds": 60,
        "action_name": "QR_STR_SCENE",
        "action_info": {"scene": {"scene_str": "bind:1"}},
    }
    for scene, life in (("", 60), ("x" * 65, 60), ("x", 0), ("x", 2_592_001)):
        with pytest.raises(ValueError, match="scene"):
            await rig.client.create_qr(scene, expires_in=timedelta(seconds=life))


async def test_followers_and_strangers(rig: Rig) -> None:
    path = "/cgi-bin/user/info"
    rig.fake.answers[path] = {"subscribe": 0, "openid": "oBob"}
    assert await rig.client.follower("oBob") == Follower("oBob", False)
    rig.fake.answers[path] = {
        "subscribe": 1,
        "openid": "oAnn",
        "unionid": "u",
        "subscribe_scene": "ADD_SCENE_QR_CODE",
        "qr_scene": 98765,
        "qr_scene_str": "",
    }
    assert await rig.client.follower("oAnn") == Follower("oAnn", True, "u", "ADD_SCENE_QR_CODE", "98765")


async def test_an_explanation_leaves_out_what_was_carried(rig: Rig) -> None:
    rig.fake.answers["/cgi-bin/openapi/rid/get"] = {
        "errcode": 0,
        "request": {
            "invoke_time": 1635156704,
            "cost_in_ms": 30,
            "request_url": "https://api.weixin.qq.com/cgi-bin/message/template/send?access_token=SECRETTOKEN",
            "request_body": '{"touser":"oAnn"}',
            "response_body": '{"errcode":43101}',
            "client_ip": "1.2.3.4",
        },
    }
    result = await rig.client.explain("66bdb248-1fa23ff9-58483015")
    at = datetime(2021, 10, 25, 10, 11, 44, tzinfo=UTC)
    path = "/cgi-bin/message/template/send"
    assert result == Explanation(at, timedelta(milliseconds=30), path, "1.2.3.4", '{"errcode":43101}')


async def test_an_explanation_without_a_request_is_odd(rig: Rig) -> None:
    result = await rig.client.explain("x")
    assert isinstance(result, Failure)
    assert "request" in result.words
    assert rig.client.appid == APPID


@pytest.mark.parametrize(
    "answer",
    [
        {"template_list": None},
        {"template_list": ["x"]},
        {"template_list": [{"title": "no id"}]},
        {},
    ],
)
async def test_an_answer_that_is_not_as_documented(rig: Rig, answer: dict[str, object]) -> None:
    rig.fake.answers["/cgi-bin/template/get_all_private_template"] = answer
    result = await rig.client.private_templates()
    assert isinstance(result, Failure)
    assert result.kind is Kind.BUSY
    assert "not as documented" in result.words
