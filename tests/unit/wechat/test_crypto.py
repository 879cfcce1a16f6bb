"""Signatures and sealing agree with WeChat's own examples and with another implementation; nothing forged opens."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wechatpy.crypto import WeChatCrypto  # type: ignore[import-untyped]

from hub.channels._wechat.crypto import MessageCipher, Undecipherable, is_signed, sign
from tests.unit.wechat.callbacks import AES_KEY, APPID, TOKEN

REPLY = "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ=="
INBOUND = (
    "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6Js"
    "XUnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8Ea"
    "jAsjLY2km32IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04="
)


def cipher(appid: str = APPID, *keys: str) -> MessageCipher:
    return MessageCipher(appid, keys or (AES_KEY,))


@pytest.mark.parametrize(
    ("timestamp", "nonce", "signature"),
    [
        ("1714036504", "1514711492", "f464b24fc39322e44b38aa78f5edd27bd1441696"),
        ("1714037059", "486452656", "899cf89e464efb63f54ddac96b0a0a235f53aa78"),
    ],
)
def test_plain_signatures_of_the_platform_hold(timestamp: str, nonce: str, signature: str) -> None:
    assert sign(TOKEN, timestamp, nonce) == signature
    assert is_signed(signature, TOKEN, timestamp, nonce)
    assert not is_signed(signature, TOKEN, timestamp, nonce + "0")


def test_the_platforms_sealed_reply_is_ours_bit_by_bit() -> None:
    assert cipher().seal(b'{"demo_resp":"good luck"}', prefix=b"707722b803182950") == REPLY
    assert sign(TOKEN, "1713424427", "415670741", REPLY) == "1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1"


def test_the_platforms_inbound_message_opens() -> None:
    assert is_signed("046e02f8204d34f8ba5fa3b1db94908f3df2e9b3", TOKEN, "1714112445", "415670741", INBOUND)
    message = json.loads(cipher().open(INBOUND))
    assert message["Event"] == "debug_demo"
    assert message["debug_str"] == "hello world"


@pytest.mark.parametrize("given", ["", "é" * 40, "f464b24fc39322e44b38aa78f5edd27bd144169", "\ud800"])
def test_no_odd_signature_is_accepted_or_raises(given: str) -> None:
    assert not is_signed(given, TOKEN, "1714036504", "1514711492")


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_whatever_is_sealed_opens_here_and_in_another_implementation(text: str) -> None:
    message = text.encode()
    assert cipher().open(cipher().seal(message)) == message
    other = WeChatCrypto(TOKEN, AES_KEY, APPID)
    sealed = cipher().seal(message)
    assert other.decrypt_message({"Encrypt": sealed}, sign(TOKEN, "1", "2", sealed), "1", "2") == text


@pytest.mark.parametrize("length", range(30, 66))
def test_paddings_of_up_to_thirty_two_bytes_are_taken_off(length: int) -> None:
    message = b"x" * length
    assert cipher().open(cipher().seal(message)) == message


@pytest.mark.parametrize(
    "sealed",
    [
        "",
        "====",
        "not base64 at all",
        REPLY[:-4],
        REPLY[:40],
        REPLY + REPLY[:24],
        "A" + REPLY[1:-24] + "B" * 23 + "=",
        " " + REPLY,
        "审批",
        base64.b64encode(b"\x00" * 16).decode(),
        base64.b64encode(b"\x00" * 64).decode(),
    ],
)
def test_what_is_cut_or_changed_does_not_open(sealed: str) -> None:
    with pytest.raises(Undecipherable):
        cipher().open(sealed)


def test_every_changed_last_block_is_noticed() -> None:
    raw = base64.b64decode(REPLY)
    for bit in range(128):
        changed = bytearray(raw)
        changed[len(raw) - 1 - bit // 8] ^= 1 << bit % 8
        with pytest.raises(Undecipherable):
            cipher().open(base64.b64encode(bytes(changed)).decode())


def test_another_accounts_message_does_not_open() -> None:
    with pytest.raises(Undecipherable):
        cipher("wxother").open(REPLY)
    with pytest.raises(Undecipherable):
        cipher(APPID[:-1]).open(REPLY)


def test_another_key_does_not_open_but_a_rotated_one_does() -> None:
    new = "B" * 43
    with pytest.raises(Undecipherable):
        cipher(APPID, new).open(REPLY)
    assert cipher(APPID, new, AES_KEY).open(REPLY) == b'{"demo_resp":"good luck"}'
    assert cipher(APPID, new).open(cipher(APPID, new, AES_KEY).seal(b"x")) == b"x"


@pytest.mark.parametrize("keys", [(), ("short",), ("A" * 42 + "!",), (AES_KEY, "A" * 44)])
def test_a_malformed_key_is_refused_at_once(keys: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="43 characters"):
        MessageCipher(APPID, keys)


def test_a_prefix_has_sixteen_bytes() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        cipher().seal(b"", prefix=b"short")
