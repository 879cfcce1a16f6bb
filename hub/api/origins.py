"""Where a browser may be sent after it has proved something: nowhere that the operator has not named."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit


def may_return(address: str, origins: Collection[str]) -> bool:
    """Whether `address` is a path at this hub, or of one of these origins (`https://app.example.com`).

    What browsers read otherwise than it looks is neither: a backslash counts as a slash for them, and tabs and line
    breaks as nothing.
    """
    if not address.isprintable() or any(character in address for character in "\\ \u3000"):
        return False
    if address.startswith("/"):
        return not address.startswith("//")
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  (raises ValueError where it is none)
    except ValueError:
        return False
    origin = f"{parts.scheme}://{parts.netloc}".lower()
    return parts.scheme in ("http", "https") and origin in {known.rstrip("/").lower() for known in origins}
