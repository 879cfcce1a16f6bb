"""Events as values, in both formats, and the key that tells a repeat from a second event."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hub.channels._wechat.events import (
    Choice,
    Event,
    Followed,
    JobStatus,
    OtherEvent,
    Scanned,
    SentResult,
    SubscribeAnswered,
    SubscribeChanged,
    SubscribeSent,
    TemplateJobFinished,
    Unfollowed,
    read_event,
)
from hub.channels._wechat.markup import Unreadable, parse
from tests.unit.wechat.callbacks import APPID, HEAD, JOB, json_event, xml_event


def read(body: bytes, appid: str = APPID) -> Event:
    return read_event(parse(body), appid=appid)


def test_an_event_says_where_it_comes_from() -> None:
    origin = read(JOB).origin
    assert (origin.appid, origin.account, origin.openid) == (APPID, "gh_x", "oAnn")
    assert origin.at == datetime(2014, 3, 24, 11, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("success", JobStatus.SUCCESS),
        ("failed:user block", JobStatus.USER_BLOCK),
        ("failed: system failed", JobStatus.SYSTEM_FAILED),
        ("failed:something new", JobStatus.UNKNOWN),
        ("", JobStatus.UNKNOWN),
    ],
)
@pytest.mark.parametrize("name", ["TEMPLATESENDJOBFINISH", "TemplateSendJobFinish"])
def test_a_template_message_ends(name: str, words: str, status: JobStatus) -> None:
    event = read(xml_event(name, f"<MsgID>3248682510344192008</MsgID><Status>{words}</Status>"))
    assert event == TemplateJobFinished(event.origin, "3248682510344192008", status, words)


ITEM = "<List><TemplateId>T1</TemplateId><SubscribeStatusString>accept</SubscribeStatusString>"


@pytest.mark.parametrize(
    "body",
    [
        xml_event(
            "subscribe_msg_popup_event",
            f"<SubscribeMsgPopupEvent>{ITEM}<PopupScene>2</PopupScene></List></SubscribeMsgPopupEvent>",
        ),
        json_event(
            "subscribe_msg_popup_event",
            List={"TemplateId": "T1", "SubscribeStatusString": "accept", "PopupScene": "2"},
        ),
        json_event(
            "subscribe_msg_popup_event",
            List=[{"TemplateId": "T1", "SubscribeStatusString": "accept", "PopupScene": 2}],
        ),
        json_event(
            "subscribe_msg_popup_event",
            SubscribeMsgPopupEvent={
                "List": {"TemplateId": "T1", "SubscribeStatusString": "accept", "PopupScene": 2}
            },
        ),
    ],
)
def test_one_answer_comes_in_four_shapes(body: bytes) -> None:
    event = read(body)
    assert event == SubscribeAnswered(event.origin, (Choice("T1", True, "accept", 2),))


def test_several_answers_come_at_once() -> None:
    reject = "<List><TemplateId>T2</TemplateId><SubscribeStatusString>reject</SubscribeStatusString></List>"
    rest = f"<SubscribeMsgPopupEvent>{ITEM}</List>{reject}</SubscribeMsgPopupEvent>"
    event = read(xml_event("subscribe_msg_popup_event", rest))
    assert isinstance(event, SubscribeAnswered)
    assert event.choices == (Choice("T1", True, "accept"), Choice("T2", False, "reject"))


def test_a_refusal_in_the_settings() -> None:
    event = read(
        json_event("subscribe_msg_change_event", List={"SubscribeStatusString": "reject", "TemplateId": "T1"})
    )
    assert event == SubscribeChanged(event.origin, (Choice("T1", False, "reject"),))


@pytest.mark.parametrize("code", [0, "0"])
def test_a_subscribe_message_ends(code: object) -> None:
    item = {"TemplateId": "T1", "MsgID": 3248682510344192008, "ErrorCode": code, "ErrorStatus": "success"}
    event = read(json_event("subscribe_msg_sent_event", List=item))
    assert event == SubscribeSent(event.origin, (SentResult("T1", "3248682510344192008", 0, "success"),))


def test_an_empty_list_is_an_event_without_items() -> None:
    for body in (json_event("subscribe_msg_sent_event"), json_event("subscribe_msg_sent_event", List=["x"])):
        event = read(body)
        assert event == SubscribeSent(event.origin, ())


def test_following_scanning_leaving() -> None:
    plain = read(xml_event("subscribe", "<EventKey></EventKey>"))
    assert plain == Followed(plain.origin)
    by_code = read(xml_event("subscribe", "<EventKey>qrscene_bind:42</EventKey><Ticket>t</Ticket>"))
    assert by_code == Followed(by_code.origin, "bind:42", "t")
    scan = read(xml_event("SCAN", "<EventKey>bind:42</EventKey><Ticket>t</Ticket>"))
    assert scan == Scanned(scan.origin, "bind:42", "t")
    left = read(xml_event("unsubscribe"))
    assert left == Unfollowed(left.origin)


def test_what_is_not_known_is_kept() -> None:
    event = read(xml_event("CLICK", "<EventKey>menu</EventKey>"))
    assert isinstance(event, OtherEvent)
    assert (event.msg_type, event.event, event.fields["EventKey"]) == ("event", "CLICK", "menu")
    text = read(f"<xml>{HEAD}<MsgType>text</MsgType><Content>hi</Content><MsgId>9</MsgId></xml>".encode())
    assert isinstance(text, OtherEvent)
    assert (text.msg_type, text.event) == ("text", "")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1}',
        json_event("subscribe", FromUserName="'; drop table"),
        json_event("subscribe", FromUserName=""),
        json_event("subscribe", ToUserName="x" * 200),
        json_event("subscribe", CreateTime="soon"),
        json_event("subscribe", CreateTime="9" * 12),
        json_event("subscribe", CreateTime=["1"]),
        xml_event("TEMPLATESENDJOBFINISH", "<Status>success</Status>"),
        json_event("subscribe_msg_sent_event", List={"MsgID": 1, "ErrorCode": 0}),
        json_event("subscribe_msg_sent_event", List={"TemplateId": "T", "ErrorCode": "x"}),
    ],
)
def test_what_every_event_has_must_be_there(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(body)


def key(body: bytes, appid: str = APPID) -> str:
    return read(body, appid).origin.key


def test_a_repeat_has_the_same_key_in_either_format() -> None:
    item = {"TemplateId": "T1", "SubscribeStatusString": "accept"}
    bare = json_event("subscribe_msg_popup_event", List=item)
    assert key(bare) == key(json_event("subscribe_msg_popup_event", List=[item]))
    assert key(bare) == key(
        xml_event(
            "subscribe_msg_popup_event", f"<SubscribeMsgPopupEvent>{ITEM}</List></SubscribeMsgPopupEvent>"
        )
    )


def test_every_other_event_has_another_key() -> None:
    item = {"TemplateId": "T1", "SubscribeStatusString": "accept"}
    name = "subscribe_msg_popup_event"
    keys = {
        key(JOB),
        key(JOB, "wxother"),
        key(JOB.replace(b"oAnn", b"oBob")),
        key(JOB.replace(b"200163836", b"200163837")),
        key(JOB.replace(b"1395658920", b"1395658921")),
        key(JOB.replace(b"success", b"failed:user block")),
        key(xml_event("SCAN", "<EventKey>1</EventKey>")),
        key(xml_event("SCAN", "<EventKey>2</EventKey>")),
        key(json_event(name, List=item)),
        key(json_event(name, List=[item, item])),
        key(json_event(name, List={**item, "TemplateId": "T2"})),
        key(json_event(name, List={**item, "SubscribeStatusString": "reject"})),
    }
    assert len(keys) == 12


def test_parts_of_a_key_cannot_be_shifted_into_each_other() -> None:
    one = xml_event("SCAN", "<MsgID>1</MsgID><EventKey>23</EventKey>")
    two = xml_event("SCAN", "<MsgID>12</MsgID><EventKey>3</EventKey>")
    assert key(one) != key(two)
