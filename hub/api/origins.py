"""Where browsers may be sent: after they have proved something, nowhere that the operator has not named."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit


def may_return(address: str, origins: Collection[str]) -> bool:
    """Whether `address` is a path at this hub, or of one of these origins (`https://app.example.com`).

    What browsers read otherwise than it looks is neither: a backslash counts as a slash for them, and tabs and line
    breaks as nothing.
    """
    if not _plain(address):
        return False
    if address.startswith("/"):
        return not address.startswith("//")
    parts = _parts(address)
    if parts is None:
        return False
    origin = f"{parts.scheme}://{parts.netloc}".lower()
    return parts.scheme in ("http", "https") and origin in {known.rstrip("/").lower() for known in origins}


def is_web_link(address: str) -> bool:
    """Whether it is a whole http(s) address that leads where it seems to lead: without a user name before its host."""
    if not address.startswith(("https://", "http://")) or not _plain(address):
        return False
    parts = _parts(address)
    return parts is not None and bool(parts.hostname) and "@" not in parts.netloc


def _plain(address: str) -> bool:
    return address.isprintable() and not any(character in address for character in "\\ \u3000")


def _parts(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  (raises ValueError where it is none)
    except ValueError:
        return None
    return parts
