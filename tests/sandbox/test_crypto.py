"""Signatures and WXBizMsgCrypt against the vectors of WeChat's own documentation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.sandbox.crypto import CryptoError, decrypt, encrypt, signature

TOKEN = "AAAAA"
KEY = "A" * 43
APPID = "wxba5fad812f8e6fb9"
REPLY = "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ=="
PUSH = (
    "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6JsX"
    "UnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajA"
    "sjLY2km32IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04="
)


@pytest.mark.parametrize(
    ("timestamp", "nonce", "expected"),
    [
        ("1714036504", "1514711492", "f464b24fc39322e44b38aa78f5edd27bd1441696"),
        ("1714037059", "486452656", "899cf89e464efb63f54ddac96b0a0a235f53aa78"),
    ],
)
def test_plain_signatures(timestamp: str, nonce: str, expected: str) -> None:
    assert signature(TOKEN, timestamp, nonce) == expected


def test_an_encrypted_reply() -> None:
    text = '{"demo_resp":"good luck"}'
    assert encrypt(text, encoding_aes_key=KEY, appid=APPID, head=b"707722b803182950") == REPLY
    assert signature(TOKEN, "1713424427", "415670741", REPLY) == "1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1"


def test_an_encrypted_push() -> None:
    assert signature(TOKEN, "1714112445", "415670741", PUSH) == "046e02f8204d34f8ba5fa3b1db94908f3df2e9b3"
    text = decrypt(PUSH, encoding_aes_key=KEY, appid=APPID)
    assert "debug_demo" in text
    assert "hello world" in text


@given(st.text(max_size=200))
def test_what_is_encrypted_can_be_decrypted(text: str) -> None:
    cipher = encrypt(text, encoding_aes_key=KEY, appid=APPID)
    assert decrypt(cipher, encoding_aes_key=KEY, appid=APPID) == text


def test_another_accounts_cipher_text_is_refused() -> None:
    with pytest.raises(CryptoError):
        decrypt(REPLY, encoding_aes_key=KEY, appid="wx0000000000000000")
    with pytest.raises(CryptoError):
        decrypt("not base64", encoding_aes_key=KEY, appid=APPID)
    with pytest.raises(CryptoError):
        encrypt("x", encoding_aes_key="short", appid=APPID)
