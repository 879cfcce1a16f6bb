"""Signatures and the sealed envelope of callbacks (WXBizMsgCrypt).

The AES-CBC cipher and the digest come from wechatpy. The framing around them does not: wechatpy 1.8.18 decodes base64
that has junk in it, takes any padding byte for true, answers a cut message with IndexError, struct.error,
UnicodeDecodeError or an assertion, compares signatures with `!=`, and draws its random prefix from `random`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Final

from wechatpy.crypto.cryptography import WeChatCipher  # type: ignore[import-untyped]
from wechatpy.utils import WeChatSigner  # type: ignore[import-untyped]

_PREFIX: Final = 16
_LENGTH: Final = 4
_BLOCK: Final = 32
"""Of the padding; the cipher's own block is 16. A 16-byte unpadder breaks on half of all messages."""
_CIPHER_BLOCK: Final = 16
_KEY_TEXT: Final = re.compile(r"[A-Za-z0-9+/]{43}")


class Undecipherable(ValueError):
    """Not sealed with any of the keys for this account, cut, or tampered with."""


def sign(*parts: str) -> str:
    """SHA-1 over the sorted parts: (token, timestamp, nonce), and the sealed text where there is one."""
    signer = WeChatSigner()
    signer.add_data(*parts)
    digest: str = signer.signature
    return digest


def is_signed(given: str, *parts: str) -> bool:
    """Whether `given` is the signature of the parts, in constant time."""
    return hmac.compare_digest(sign(*parts).encode(), given.encode("utf-8", "replace"))


class MessageCipher:
    """Opens and seals for one account. Several keys all open; the first one seals (rotation)."""

    def __init__(self, appid: str, aes_keys: Sequence[str]) -> None:
        """Raises ValueError for anything but EncodingAESKeys of 43 characters."""
        if not aes_keys or not all(_KEY_TEXT.fullmatch(key) for key in aes_keys):
            message = "An EncodingAESKey has 43 characters, A-Z a-z 0-9 + /"
            raise ValueError(message)
        self._appid = appid.encode()
        self._ciphers = [WeChatCipher(base64.b64decode(key + "=")) for key in aes_keys]

    def open(self, sealed: str) -> bytes:
        """The message. Raises Undecipherable."""
        try:
            blocks = base64.b64decode(sealed.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise Undecipherable("not base64") from error
        if not blocks or len(blocks) % _CIPHER_BLOCK:
            raise Undecipherable("not whole blocks")
        for cipher in self._ciphers:
            message = _unframe(cipher.decrypt(blocks), self._appid)
            if message is not None:
                return message
        raise Undecipherable("no key of this account opens it")

    def seal(self, message: bytes, *, prefix: bytes | None = None) -> str:
        """The sealed text; `prefix` is 16 random bytes, given only to make it repeatable."""
        start = secrets.token_hex(_PREFIX // 2).encode() if prefix is None else prefix
        if len(start) != _PREFIX:
            message_ = f"The prefix has {_PREFIX} bytes"
            raise ValueError(message_)
        framed = start + len(message).to_bytes(_LENGTH, "big") + message + self._appid
        pad = _BLOCK - len(framed) % _BLOCK
        return base64.b64encode(self._ciphers[0].encrypt(framed + bytes([pad]) * pad)).decode("ascii")


def _unframe(plain: bytes, appid: bytes) -> bytes | None:
    """random(16) + length(4) + message + appid + padding; None where any of them is not as it must be."""
    pad = plain[-1]
    if not 1 <= pad <= _BLOCK or plain[-pad:] != bytes([pad]) * pad:
        return None
    body = plain[_PREFIX:-pad]
    length = int.from_bytes(body[:_LENGTH], "big")
    end = _LENGTH + length
    if len(body) < _LENGTH or end > len(body) or not hmac.compare_digest(body[end:], appid):
        return None
    return body[_LENGTH:end]
