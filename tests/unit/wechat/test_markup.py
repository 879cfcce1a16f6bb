"""Bodies are read without expanding, fetching or believing anything."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.channels._wechat.markup import MAX_BYTES, Unreadable, parse


def test_xml_and_json_say_the_same() -> None:
    expected = {"A": "1", "B": "审批 <✓>", "L": [{"X": "1"}, {"X": "2"}], "E": ""}
    xml = "<xml><A>1</A><B><![CDATA[审批 <✓>]]></B><L><X>1</X></L><L><X>2</X></L><E/></xml>"
    assert parse(xml.encode()) == expected
    assert parse(b"\xef\xbb\xbf\n" + xml.encode()) == expected
    body = {"A": 1, "B": "审批 <✓>", "L": [{"X": "1"}, {"X": 2}], "E": None}
    assert parse(json.dumps(body).encode()) == expected


def test_numbers_keep_all_their_digits() -> None:
    assert parse(b'{"MsgID":3248682510344192008999}') == {"MsgID": "3248682510344192008999"}
    assert parse(b'{"t":true,"f":1.50}') == {"t": "true", "f": "1.50"}


def test_three_repeated_elements_are_one_list() -> None:
    assert parse(b"<xml><L>1</L><L>2</L><L>3</L></xml>") == {"L": ["1", "2", "3"]}


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>'
    b"<xml><A>&lol2;</A></xml>"
)


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><xml><A>1</A></xml>',
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><xml><A>&e;</A></xml>',
        b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1/x"> %p;]><xml><A>1</A></xml>',
        b"<!DOCTYPE xml><xml><A>1</A></xml>",
        b"<xml><A>&e;</A></xml>",
        b"<xml><?php evil ?><A>1</A></xml>",
        b'<xml a="1"><A>1</A></xml>',
        b"<xml><A>1</A>",
        b"<xml><A>1</B></xml>",
        b"<xml>\xff\xfe</xml>",
        '<?xml version="1.0" encoding="utf-16"?><xml><A>1</A></xml>'.encode("utf-16"),
        b"<xml></xml>",
        b"<xml>text</xml>",
        b"<xml>" + b"<a>" * 50 + b"</a>" * 50 + b"</xml>",
        b"<xml>" + b"<a/>" * 3_000 + b"</xml>",
        b"<xml><A>\x00</A></xml>",
        b"",
        b"[]",
        b'"text"',
        b"{",
        b'{"a":NaN}',
        b'{"a":"\\u0000"}',
        b'{"a":"\\ud800"}',
        b'{"\\ud800":1}',
        b'{"a":' + b"[" * 30_000,
        b'{"a":' + b"[" * 20 + b"]" * 20 + b"}",
        b'{"a":[' + b"1," * 5_000 + b"1]}",
        b"\xff\xff",
    ],
)
def test_what_wechat_would_not_send_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(body)


def test_an_oversize_body_is_not_even_read() -> None:
    with pytest.raises(Unreadable, match="bytes"):
        parse(b"<xml><A>" + b"x" * MAX_BYTES + b"</A></xml>")
    with pytest.raises(Unreadable, match="10 bytes"):
        parse(b"<xml><A>1</A></xml>", max_bytes=10)


@given(
    st.binary(max_size=300) | st.text(max_size=300).map(lambda t: ("<xml>" + t).encode("utf-8", "replace"))
)
@settings(max_examples=300, deadline=None)
def test_no_body_raises_anything_else(body: bytes) -> None:
    try:
        parse(body)
    except Unreadable:
        return
