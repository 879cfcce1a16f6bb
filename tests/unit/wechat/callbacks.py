"""Callbacks as WeChat sends them: signed, and sealed where the account has a key."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hub.channels._wechat.callback import CallbackAccount
from hub.channels._wechat.crypto import MessageCipher, sign

APPID = "wxba5fad812f8e6fb9"
TOKEN = "AAAAA"
AES_KEY = "A" * 43
NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
PLAIN = CallbackAccount(APPID, TOKEN)
SAFE = CallbackAccount(APPID, TOKEN, (AES_KEY,))

HEAD = "<ToUserName>gh_x</ToUserName><FromUserName>oAnn</FromUserName><CreateTime>1395658920</CreateTime>"


def xml_event(name: str, rest: str = "") -> bytes:
    return f"<xml>{HEAD}<MsgType><![CDATA[event]]></MsgType><Event>{name}</Event>{rest}</xml>".encode()


def json_event(name: str, **rest: object) -> bytes:
    head = {"ToUserName": "gh_x", "FromUserName": "oAnn", "CreateTime": 1395658920, "MsgType": "event"}
    return json.dumps({**head, "Event": name, **rest}, ensure_ascii=False).encode()


JOB = xml_event("TEMPLATESENDJOBFINISH", "<MsgID>200163836</MsgID><Status>success</Status>")


def query_of(*sealed: str, at: datetime = NOW, token: str = TOKEN, nonce: str = "4242") -> dict[str, str]:
    timestamp = str(int(at.timestamp()))
    query = {"signature": sign(token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce}
    if sealed:
        query |= {"encrypt_type": "aes", "msg_signature": sign(token, timestamp, nonce, *sealed)}
    return query


def sealed(
    body: bytes, *, appid: str = APPID, key: str = AES_KEY, as_json: bool = False
) -> tuple[str, bytes]:
    """The sealed text and the body that carries it."""
    text = MessageCipher(appid, (key,)).seal(body)
    if as_json:
        return text, json.dumps({"ToUserName": "gh_x", "Encrypt": text}).encode()
    return text, f"<xml><ToUserName>gh_x</ToUserName><Encrypt><![CDATA[{text}]]></Encrypt></xml>".encode()
