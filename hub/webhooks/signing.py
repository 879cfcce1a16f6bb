"""Standard Webhooks: how a body is signed, and how a receiver checks it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from hub.core.webhooks import SECRET_PREFIX

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE: Final = timedelta(minutes=5)
"""How old or how early a timestamp may be: what was recorded cannot be played again later."""

_VERSION: Final = "v1"
_SHORTEST: Final = 24
_LONGEST: Final = 64


class BadSignature(ValueError):
    """The request was not signed with any of these secrets, or not now."""


def key_of(secret: str) -> bytes:
    """The bytes of a `whsec_…` secret. Raises ValueError for what is not 24 to 64 bytes in base64."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not _SHORTEST <= len(key) <= _LONGEST:
        message = f"a signing secret is {SECRET_PREFIX} and {_SHORTEST} to {_LONGEST} bytes in base64"
        raise ValueError(message)
    return key


def signature(secret: str, id_: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64. `timestamp` is in seconds."""
    signed = f"{id_}.{timestamp}.".encode() + body
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return f"{_VERSION},{base64.b64encode(digest).decode('ascii')}"


def headers_of(secrets: Sequence[str], id_: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers; one signature for each secret, so that a receiver may know the old or the new one."""
    timestamp = int(at.timestamp())
    signatures = [signature(secret, id_, timestamp, body) for secret in secrets]
    return {ID: id_, TIMESTAMP: str(timestamp), SIGNATURE: " ".join(signatures)}


def verify(
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    tolerance: timedelta = TOLERANCE,
) -> str:
    """The `webhook-id` of a request that one of `secrets` signed; in constant time. `headers` by their names in small
    letters. Raises BadSignature."""
    id_, stamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not id_ or not stamp.isascii() or not stamp.isdigit():
        message = f"{ID} and {TIMESTAMP} are needed"
        raise BadSignature(message)
    if abs(now.timestamp() - int(stamp)) > tolerance.total_seconds():
        message = f"{TIMESTAMP} is more than {tolerance} away"
        raise BadSignature(message)
    given = [part.encode() for part in headers.get(SIGNATURE, "").split(" ")]
    expected = [signature(secret, id_, int(stamp), body).encode() for secret in secrets]
    # Each with each, without stopping at the first that fits.
    if sum(hmac.compare_digest(one, other) for one in given for other in expected) == 0:
        message = "no signature fits"
        raise BadSignature(message)
    return id_
