"""WeChat's callback signatures and WXBizMsgCrypt, from the side of WeChat."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_BLOCK: Final = 32
"""WXBizMsgCrypt pads to 32 bytes although AES has blocks of 16: a 16-byte unpadder breaks on it."""
_KEY_LETTERS: Final = 43


class CryptoError(ValueError):
    """The key or the cipher text is not what it should be."""


def signature(*parts: str) -> str:
    """sha1 of the sorted parts: token, timestamp, nonce, and the cipher text for msg_signature."""
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324  WeChat's choice


def key_of(encoding_aes_key: str) -> bytes:
    """The 32 bytes of an EncodingAESKey."""
    if len(encoding_aes_key) != _KEY_LETTERS:
        raise CryptoError(f"an EncodingAESKey has 43 letters, this one {len(encoding_aes_key)}")
    try:
        return base64.b64decode(encoding_aes_key + "=")
    except binascii.Error as error:
        raise CryptoError("an EncodingAESKey is base64") from error


def encrypt(text: str, *, encoding_aes_key: str, appid: str, head: bytes | None = None) -> str:
    """The Encrypt field: 16 random bytes, length, text, appid; AES-256-CBC with the key's start as IV."""
    key = key_of(encoding_aes_key)
    body = text.encode()
    plain = (head or os.urandom(16)) + len(body).to_bytes(4, "big") + body + appid.encode()
    missing = _BLOCK - len(plain) % _BLOCK
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(
        encryptor.update(plain + bytes([missing]) * missing) + encryptor.finalize()
    ).decode()


def decrypt(cipher: str, *, encoding_aes_key: str, appid: str) -> str:
    """The text inside an Encrypt field. Raises CryptoError, also for another account's appid."""
    key = key_of(encoding_aes_key)
    try:
        decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
        padded = decryptor.update(base64.b64decode(cipher, validate=True)) + decryptor.finalize()
    except ValueError as error:
        raise CryptoError("not a cipher text") from error
    plain = padded[: -padded[-1]] if padded and 1 <= padded[-1] <= _BLOCK else b""
    length = int.from_bytes(plain[16:20], "big")
    if len(plain) < 20 + length or plain[20 + length :].decode(errors="replace") != appid:
        raise CryptoError("wrong key or another account's appid")
    return plain[20 : 20 + length].decode()
