"""The bodies of callbacks: XML as official accounts get them, JSON as mini programs may choose."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from hub.sandbox.state import Account, CallbackFormat, Message

Fields: TypeAlias = dict[str, Any]
"""One push, without ToUserName, FromUserName and CreateTime."""

POPUP: Final = "subscribe_msg_popup_event"
CHANGE: Final = "subscribe_msg_change_event"
SENT: Final = "subscribe_msg_sent_event"
JOB_FINISH: Final = "TEMPLATESENDJOBFINISH"
_WRAPPERS: Final[Mapping[str, str]] = {
    POPUP: "SubscribeMsgPopupEvent",
    CHANGE: "SubscribeMsgChangeEvent",
    SENT: "SubscribeMsgSentEvent",
}


def job_finish(message: Message) -> Fields:
    """What became of a template message."""
    return {"MsgType": "event", "Event": JOB_FINISH, "MsgID": message.msgid, "Status": str(message.status)}


def sent(message: Message, *, failed: bool) -> Fields:
    """What became of a subscribe message. Only system failures come this way."""
    item = {
        "TemplateId": message.template_id,
        "MsgID": str(message.msgid),
        "ErrorCode": "-1" if failed else "0",
        "ErrorStatus": "system failed" if failed else "success",
    }
    return {"MsgType": "event", "Event": SENT, "List": [item]}


def popup(choices: Mapping[str, str], scene: int) -> Fields:
    """What a person chose in the subscription dialog."""
    items = [
        {"TemplateId": template, "SubscribeStatusString": choice, "PopupScene": str(scene)}
        for template, choice in choices.items()
    ]
    return {"MsgType": "event", "Event": POPUP, "List": items}


def change(template_id: str) -> Fields:
    """A subscription was switched off in the settings; switching on is not told."""
    item = {"TemplateId": template_id, "SubscribeStatusString": "reject"}
    return {"MsgType": "event", "Event": CHANGE, "List": [item]}


def follow(*, scene: str = "", ticket: str = "") -> Fields:
    """subscribe; EventKey qrscene_... and Ticket after a scan."""
    fields: Fields = {
        "MsgType": "event",
        "Event": "subscribe",
        "EventKey": f"qrscene_{scene}" if ticket else "",
    }
    return fields | ({"Ticket": ticket} if ticket else {})


def unfollow() -> Fields:
    """unsubscribe."""
    return {"MsgType": "event", "Event": "unsubscribe", "EventKey": ""}


def scan(*, scene: str, ticket: str) -> Fields:
    """SCAN by a follower: the scene without a prefix."""
    return {"MsgType": "event", "Event": "SCAN", "EventKey": scene, "Ticket": ticket}


def text(content: str, msgid: int) -> Fields:
    """Something the person wrote."""
    return {"MsgType": "text", "Content": content, "MsgId": msgid}


def body_of(account: Account, fields: Fields, *, openid: str, at: int) -> str:
    """The push in the account's format."""
    whole = {"ToUserName": account.original_id, "FromUserName": openid, "CreateTime": at} | fields
    callback = account.callback
    if callback is None or callback.format is CallbackFormat.XML:
        return _xml(whole)
    return _json(whole, strings=callback.numbers_as_strings, wrapper=callback.json_wrapper)


def _xml(whole: Fields) -> str:
    parts = []
    for name, value in whole.items():
        if name == "List":
            wrapper = _WRAPPERS[whole["Event"]]
            parts.append(
                f"<{wrapper}>{''.join(f'<List>{_elements(item)}</List>' for item in value)}</{wrapper}>"
            )
        else:
            parts.append(_elements({name: value}))
    return f"<xml>{''.join(parts)}</xml>"


def _elements(fields: Mapping[str, Any]) -> str:
    return "".join(
        f"<{name}>{value}</{name}>" if isinstance(value, int) else f"<{name}>{_cdata(value)}</{name}>"
        for name, value in fields.items()
    )


def _cdata(value: str) -> str:
    return f"<![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]>"


def _json(whole: Fields, *, strings: bool, wrapper: bool) -> str:
    """List is an object when there is one item and an array otherwise."""
    items: Sequence[Any] = whole.get("List", [])
    if items:
        listed = {"List": items[0] if len(items) == 1 else items}
        rest = {name: value for name, value in whole.items() if name != "List"}
        whole = rest | ({_WRAPPERS[whole["Event"]]: listed} if wrapper else listed)
    if strings:
        whole = {name: str(value) if isinstance(value, int) else value for name, value in whole.items()}
    return json.dumps(whole, ensure_ascii=False)


def envelope(account: Account, cipher: str, *, as_json: bool) -> str:
    """The body of the safe mode: the receiver and the cipher text."""
    if as_json:
        return json.dumps({"ToUserName": account.original_id, "Encrypt": cipher}, ensure_ascii=False)
    return f"<xml>{_elements({'ToUserName': account.original_id, 'Encrypt': cipher})}</xml>"


def with_cipher(body: str, cipher: str, *, as_json: bool) -> str:
    """The body of the compatible mode: readable, and the cipher text of the same beside it."""
    if as_json:
        return json.dumps(json.loads(body) | {"Encrypt": cipher}, ensure_ascii=False)
    return body.removesuffix("</xml>") + _elements({"Encrypt": cipher}) + "</xml>"
