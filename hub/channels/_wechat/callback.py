"""The way in for WeChat's callbacks: signed, fresh, sealed where sealing was agreed, and read into an event.

    CallbackRefused   why, as a closed word; the body is not looked at any further

Whether it was seen before is asked of `CallbackMemory`, by the caller, around what it does with the event.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hub.channels._wechat import markup
from hub.channels._wechat.crypto import MessageCipher, Undecipherable, is_signed
from hub.channels._wechat.events import Event, read_event

WINDOW: Final = timedelta(minutes=10)
"""WeChat's signatures never end by themselves. Its three tries lie within seconds."""
REMEMBER: Final = timedelta(days=1)
_MAX_PARAMETER: Final = 256
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")


class Refusal(StrEnum):
    """Why a callback is not believed."""

    OVERSIZE = "oversize"
    UNSIGNED = "unsigned"
    """The signature is missing or wrong."""
    STALE = "stale"
    """The time is missing, or too far from ours."""
    NOT_SEALED = "not_sealed"
    """Plain, although the account has a key."""
    UNDECIPHERABLE = "undecipherable"
    UNREADABLE = "unreadable"


class CallbackRefused(Exception):
    """The callback is not believed; `detail` has nothing of the body."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal.value}: {detail}" if detail else refusal.value)
        self.refusal = refusal
        self.detail = detail


@dataclass(frozen=True, slots=True)
class CallbackAccount:
    """What is agreed with WeChat for one account. With `aes_keys`, nothing plain is accepted (compatible mode
    sends both, and only the sealed half is read). During a rotation there are two keys, the new one first."""

    appid: str
    token: str = field(repr=False)
    aes_keys: Sequence[str] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Callback:
    """A believed callback. In plain mode the signature does not cover the body: then the same `signature_key` with
    another `body_digest` is a forgery, and CallbackMemory tells. Both are empty for a sealed one."""

    event: Event
    signature_key: str = ""
    body_digest: str = ""


def check_url(account: CallbackAccount, query: Mapping[str, str], *, now: datetime) -> str:
    """The answer to WeChat's check of the URL: its `echostr`, as text/plain. Raises CallbackRefused."""
    _check_signature(account, query, now)
    return _parameter(query, "echostr")


def open_callback(
    account: CallbackAccount,
    query: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    max_bytes: int = markup.MAX_BYTES,
) -> Callback:
    """The event in a POST. Raises CallbackRefused; nothing is decrypted before its signature holds."""
    if len(body) > max_bytes:
        raise CallbackRefused(Refusal.OVERSIZE)
    if account.aes_keys:
        return Callback(_read(account, _unseal(account, query, body, now)))
    _check_signature(account, query, now)
    event = _read(account, body)
    signed = "\n".join(_parameter(query, name) for name in ("signature", "timestamp", "nonce"))
    return Callback(event, _digest(account.appid.encode() + signed.encode()), _digest(body))


def _unseal(account: CallbackAccount, query: Mapping[str, str], body: bytes, now: datetime) -> bytes:
    sealed = _fields(body).get("Encrypt")
    if not isinstance(sealed, str) or not sealed:
        raise CallbackRefused(Refusal.NOT_SEALED)
    _check_signature(account, query, now, sealed)
    try:
        return MessageCipher(account.appid, account.aes_keys).open(sealed)
    except Undecipherable as error:
        raise CallbackRefused(Refusal.UNDECIPHERABLE, str(error)) from error


def _check_signature(account: CallbackAccount, query: Mapping[str, str], now: datetime, *sealed: str) -> None:
    """`signature` covers token, time and nonce; `msg_signature` covers the sealed text too."""
    given = _parameter(query, "msg_signature" if sealed else "signature")
    timestamp, nonce = _parameter(query, "timestamp"), _parameter(query, "nonce")
    # Empty parts would make a signature of less than was agreed.
    complete = bool(account.token and given and timestamp and nonce)
    if not complete or not is_signed(given, account.token, timestamp, nonce, *sealed):
        raise CallbackRefused(Refusal.UNSIGNED)
    if not _TIMESTAMP.fullmatch(timestamp):
        raise CallbackRefused(Refusal.STALE, "the time is no number")
    if abs(now.timestamp() - int(timestamp)) > WINDOW.total_seconds():
        raise CallbackRefused(Refusal.STALE)


def _read(account: CallbackAccount, body: bytes) -> Event:
    try:
        return read_event(_fields(body), appid=account.appid)
    except markup.Unreadable as error:
        raise CallbackRefused(Refusal.UNREADABLE, str(error)) from error


def _fields(body: bytes) -> markup.Fields:
    try:
        return markup.parse(body)
    except markup.Unreadable as error:
        raise CallbackRefused(Refusal.UNREADABLE, str(error)) from error


def _parameter(query: Mapping[str, str], name: str) -> str:
    value = query.get(name, "")
    if len(value) > _MAX_PARAMETER:
        raise CallbackRefused(Refusal.OVERSIZE)
    return value


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
