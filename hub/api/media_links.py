"""Signed links to files: they hold for a while, for whoever has them, and for one file."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Final

from hub.core.media import MediaId
from hub.settings import Settings

_PURPOSE: Final = b"hub media links v1"


def signed(settings: Settings, media: MediaId, expires_at: datetime) -> str:
    """The path and query of a link."""
    moment = int(expires_at.timestamp())
    return f"/v1/media/{media}/file?expires={moment}&signature={_signature(settings, media, moment)}"


def holds(settings: Settings, media: MediaId, expires: int, signature: str, now: datetime) -> bool:
    """Whether a link is one of ours and still holds. In constant time, whatever is wrong with the signature."""
    genuine = hmac.compare_digest(_signature(settings, media, expires).encode(), signature.encode())
    return genuine and now.timestamp() < expires


def _signature(settings: Settings, media: MediaId, moment: int) -> str:
    # A key of its own: what is signed here can be nothing else that the hub signs.
    key = hmac.digest(settings.secret_key.get_secret_value().encode(), _PURPOSE, "sha256")
    return hmac.digest(key, f"{media}\n{moment}".encode(), "sha256").hex()
