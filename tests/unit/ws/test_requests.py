"""Client frames: what is understood, and that nothing else gets through or breaks anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.channels.ws.codes import ErrorCode
from hub.channels.ws.requests import (
    KNOWN,
    Ack,
    Bye,
    Hello,
    History,
    Malformed,
    Ping,
    Read,
    Send,
    Sync,
    Typing,
    Watch,
    decode,
    nested_too_deeply,
    peek_id,
)
from hub.core.identity import Platform

HELLO: dict[str, Any] = {"type": "hello", "token": "t", "device": {"id": "d", "platform": "web"}}
SEND: dict[str, Any] = {
    "type": "send",
    "id": 1,
    "to": {"conversation": "c"},
    "client_msg_id": "m",
    "kind": "text",
    "body": {"text": "hi"},
}
VALID: list[dict[str, Any]] = [
    HELLO,
    {**HELLO, "cursor": 5, "id": "x", "device": {"id": "d", "platform": "app", "name": "Läptop"}},
    SEND,
    {**SEND, "to": {"user": "u"}, "mentions": ["a", "b"], "body": "plain"},
    {"type": "ack", "seq": 3},
    {"type": "sync", "id": "s", "after": 0, "limit": 500},
    {"type": "history", "id": "h", "conversation": "c"},
    {"type": "history", "id": "h", "conversation": "c", "before": 5, "limit": 1},
    {"type": "read", "conversation": "c", "seq": 3},
    {"type": "typing", "conversation": "c"},
    {"type": "watch", "id": "w", "users": ["a"]},
    {"type": "ping", "id": 0},
    {"type": "bye"},
    {"type": "recall", "id": "r", "message": "m"},
    {
        "type": "edit",
        "id": "e",
        "message": "m",
        "body": {"text": "x"},
        "mentions": ["a"],
        "client_msg_id": "c",
    },
    {"type": "react", "id": "r", "message": "m", "emoji": "👍🏽"},
    {"type": "react", "id": "r", "message": "m", "emoji": ":ship:", "added": False},
    {"type": "pin", "id": "p", "message": "m", "added": False},
    {"type": "hide", "id": "h", "messages": ["m", "n"]},
    {
        "type": "forward",
        "id": "f",
        "messages": ["m"],
        "to": {"user": "u"},
        "client_msg_id": "c",
        "merged": True,
    },
    {**SEND, "reply_to": "msg_1", "mentions": ["@all"]},
    {"type": "action", "id": 7, "message": "msg_1", "action": "approve"},
    {
        "type": "action",
        "id": 7,
        "message": "m",
        "action": "a",
        "data": {"comment": "好", "client_action_id": "c"},
    },
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("frame", VALID)
def test_every_frame_of_the_protocol_is_understood(frame: dict[str, Any]) -> None:
    decode(encoded(frame))


def test_fields_arrive() -> None:
    hello = decode(encoded(VALID[1]))
    assert isinstance(hello, Hello)
    assert (hello.token, hello.cursor, hello.device.platform) == ("t", 5, Platform.APP)
    assert isinstance(decode(b'{"type":"ack","seq":3}'), Ack)
    kinds = [type(decode(encoded(frame))) for frame in VALID[5:13]]
    assert kinds == [Sync, History, History, Read, Typing, Watch, Ping, Bye]


def test_a_body_is_passed_on_as_it_was_written() -> None:
    written = b'{"type":"send","id":1,"to":{"user":"u"},"client_msg_id":"m","kind":"text","body": {"a" :1.0, "b":1e2} }'
    frame = decode(written)
    assert isinstance(frame, Send)
    assert bytes(frame.body) == b'{"a" :1.0, "b":1e2}'


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": ""},
        {"id": "x" * 65},
        {"id": -1},
        {"id": 1.5},
        {"id": True},
        {"to": {}},
        {"to": {"user": "u", "conversation": "c"}},
        {"to": {"user": ""}},
        {"to": "u"},
        {"to": {"user": 5}},
        {"client_msg_id": ""},
        {"client_msg_id": "x" * 65},
        {"client_msg_id": "a b"},
        {"client_msg_id": "a\n"},
        {"client_msg_id": "é"},
        {"kind": "Text"},
        {"kind": "text\n"},
        {"kind": ""},
        {"kind": "x" * 33},
        {"kind": "tombstone"},
        {"body": None},
        {"body": 5},
        {"body": [1]},
        {"body": True},
        {"mentions": ["u"] * 51},
        {"mentions": [""]},
        {"mentions": "u"},
    ],
)
def test_a_send_with_a_bad_field_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as caught:
        decode(encoded({**SEND, **change}))
    assert caught.value.code == ErrorCode.BAD_REQUEST
    assert caught.value.id == (None if "id" in change else 1)


@pytest.mark.parametrize(
    "frame",
    [
        {**HELLO, "token": ""},
        {**HELLO, "token": "x" * 8_193},
        {**HELLO, "token": 5},
        {**HELLO, "device": {"id": "d", "platform": "tv"}},
        {**HELLO, "device": {"platform": "web"}},
        {**HELLO, "device": {"id": "d d", "platform": "web"}},
        {**HELLO, "cursor": -1},
        {**HELLO, "cursor": 2**53},
        {**HELLO, "cursor": "5"},
        {"type": "ack"},
        {"type": "ack", "seq": 1.5},
        {"type": "ack", "seq": -1},
        {"type": "sync", "id": 1},
        {"type": "sync", "id": 1, "after": 0, "limit": 0},
        {"type": "sync", "id": 1, "after": 0, "limit": 501},
        {"type": "history", "id": 1, "conversation": "c", "before": 1, "after": 2},
        {"type": "history", "id": 1, "conversation": "x" * 41},
        {"type": "watch", "id": 1, "users": ["u"] * 201},
        {"type": "watch", "id": 1, "users": None},
        {"type": "ping"},
    ],
)
def test_values_out_of_bounds_are_refused(frame: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as caught:
        decode(encoded(frame))
    assert caught.value.code == ErrorCode.BAD_REQUEST


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"hello"',
        b"5",
        b'{"type":5}',
        b"{}",
        b'{"type":null}',
        b"\x00",
        b'{"type"}',
    ],
)
def test_what_is_no_frame_is_a_bad_request(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        decode(data)
    assert caught.value.code == ErrorCode.BAD_REQUEST


def test_an_unknown_type_is_named_as_such_with_the_known_ones() -> None:
    with pytest.raises(Malformed) as caught:
        decode(b'{"type":"sent","id":"q"}')
    assert caught.value.code == ErrorCode.UNKNOWN_TYPE
    assert caught.value.id == "q"
    assert all(name in caught.value.detail for name in KNOWN)
    with pytest.raises(Malformed) as caught:
        decode(b'{"type":"sent","id":[]}')
    assert (caught.value.code, caught.value.id) == (ErrorCode.UNKNOWN_TYPE, None)


def test_unknown_fields_are_for_newer_releases() -> None:
    decode(encoded({**SEND, "priority": "high"}))


def test_deep_nesting_is_refused_before_it_overflows_anybody() -> None:
    with pytest.raises(Malformed, match="nested"):
        decode(b'{"type":"send","body":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    with pytest.raises(Malformed):
        decode(b"[" * 100_000)
    assert peek_id(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}") is None


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b"[" * 64 + b"]" * 64, False),
        (b"[" * 65 + b"]" * 65, True),
        (b'{"a":' * 65 + b"1" + b"}" * 65, True),
        (b'["' + b"[" * 200 + b'"]', False),
        (b'["\\"' + b"[" * 200 + b'"]', False),
        (b'["\\\\",' + b"[" * 200 + b"]" * 201, True),
        (b"[" + b"[]," * 200 + b"[]]", False),
    ],
)
def test_depth_is_measured_outside_of_strings(body: bytes, deep: bool) -> None:
    json.loads(body)
    assert nested_too_deeply(body) is deep


@given(json_values)
def test_any_json_is_a_frame_or_malformed(value: object) -> None:
    _survives(encoded(value))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_malformed(data: bytes) -> None:
    _survives(data)


@given(st.sampled_from(VALID), st.data())
def test_a_frame_with_any_field_replaced_is_a_frame_or_malformed(
    frame: dict[str, Any], data: st.DataObject
) -> None:
    changed = dict(frame)
    field = data.draw(st.sampled_from(sorted(changed)))
    changed[field] = data.draw(json_values)
    if data.draw(st.booleans()):
        changed[data.draw(st.text(max_size=5))] = data.draw(json_values)
    _survives(encoded(changed))


@given(st.sampled_from(VALID), st.integers(0, 300), st.binary(max_size=3))
def test_a_damaged_frame_is_a_frame_or_malformed(frame: dict[str, Any], at: int, damage: bytes) -> None:
    whole = encoded(frame)
    _survives(whole[:at] + damage + whole[at + len(damage) :])


def _survives(data: bytes) -> None:
    peek_id(data)
    try:
        decode(data)
    except Malformed as malformed:
        error = malformed
    else:
        return
    assert error.code in (ErrorCode.BAD_REQUEST, ErrorCode.UNKNOWN_TYPE)
    assert error.detail
