"""Pure: short signed links to a task for one person. They say where to go after a login, and let nobody in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from hub.core.message import UserKey
from hub.core.task import TaskId

LINK_LIFE: Final = timedelta(days=30)
_SHAPE: Final = struct.Struct(">16sQI")
_MAC_BYTES: Final = 12
_DEADLINE_LIMIT: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class TaskLink:
    """What a link says."""

    task: TaskId
    user: UserKey
    """For whom it was made; SYSTEM for whoever holds it."""
    expires_at: datetime


class TaskLinks:
    """Signs and reads links. `secrets` are the hub's, of which the first signs and all are read; the keys made of them
    sign nothing else."""

    def __init__(self, *secrets: bytes) -> None:
        self._keys = [hmac.digest(secret, b"hub task links v1", hashlib.sha256) for secret in secrets]

    def token(self, link: TaskLink) -> str:
        """54 characters of URL-safe base64. Expiry is kept in whole seconds."""
        number = bytes.fromhex(link.task.removeprefix("tsk_"))
        ends = min(int(link.expires_at.timestamp()), _DEADLINE_LIMIT)
        said = _SHAPE.pack(number, link.user, ends)
        return _text(said + _mac(self._keys[0], said))

    def read(self, token: str, *, now: datetime) -> TaskLink | None:
        """What a token says; None for one that is not ours, or whose time is over."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(raw) != _SHAPE.size + _MAC_BYTES or _text(raw) != token:
            return None
        said, mac = raw[: _SHAPE.size], raw[_SHAPE.size :]
        if not any(hmac.compare_digest(_mac(key, said), mac) for key in self._keys):
            return None
        number, user, ends = _SHAPE.unpack(said)
        expires_at = datetime.fromtimestamp(ends, UTC)
        return (
            None if expires_at <= now else TaskLink(TaskId(f"tsk_{number.hex()}"), UserKey(user), expires_at)
        )


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _mac(key: bytes, said: bytes) -> bytes:
    return hmac.digest(key, said, hashlib.sha256)[:_MAC_BYTES]
