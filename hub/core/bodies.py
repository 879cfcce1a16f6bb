"""Pure: what well-known kinds of messages say, and which kinds are the hub's own.

Other kinds are the product's: their bodies are any JSON object or string, and are passed on as they are. So are fields
that are not named here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from hub.core.message import RECALLED, TOMBSTONE

FORWARD: Final = "forward"
"""Several messages forwarded as one."""
EDIT: Final = "edit"
RECALL: Final = "recall"
REACTION: Final = "reaction"
PIN: Final = "pin"
HIDDEN: Final = "hidden"
OWN_KINDS: Final = frozenset(
    {TOMBSTONE, RECALLED, RECALL, EDIT, REACTION, PIN, HIDDEN, FORWARD, "notice", "notification"}
)
"""What only the hub says: a client that could say it could forge a change."""

_TEXT: Final = 65_536
_NAME: Final = 255
_URL: Final = 2_048
_DATA: Final = 32_768
_FILES: Final = 9
_SIZE: Final = 2**53 - 1
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_MEDIA = re.compile(r"med_[A-Za-z0-9_-]{1,60}\Z")
_HTTPS = re.compile(r"https://[^\s\x00-\x1f\x7f/?#]+[^\s\x00-\x1f\x7f]*\Z")
_MIME = re.compile(r"[a-z0-9.+-]{1,63}/[a-z0-9.+-]{1,63}\Z", re.IGNORECASE)

Check: TypeAlias = Callable[[object], str | None]
"""What is wrong with a value, or None."""


@dataclass(frozen=True, slots=True)
class BodyFault:
    """What is wrong with a body: `pointer` leads into it (`/media`), `detail` is for people."""

    pointer: str
    detail: str


def _text(most: int, *, least: int = 0) -> Check:
    def check(value: object) -> str | None:
        if not isinstance(value, str) or not least <= len(value) <= most:
            return f"a string of {least} to {most:,} characters"
        return None

    return check


def _whole(most: int) -> Check:
    def check(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            return f"a whole number from 0 to {most:,}"
        return None

    return check


def _degrees(most: int) -> Check:
    def check(value: object) -> str | None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or abs(value) > most:  # type: ignore[arg-type]
            return f"a number from -{most} to {most}"
        return None

    return check


def _matching(pattern: re.Pattern[str], what: str, most: int) -> Check:
    def check(value: object) -> str | None:
        if not isinstance(value, str) or len(value) > most or pattern.match(value) is None:
            return what
        return None

    return check


_media_id = _matching(_MEDIA, "the id of an upload (`med_…`)", 64)


def _media(value: object) -> str | None:
    if isinstance(value, list):
        if not 1 <= len(value) <= _FILES:
            return f"one to {_FILES} ids of uploads"
        return next((wrong for wrong in map(_media_id, value) if wrong), None)
    return _media_id(value)


_FILE: Final[dict[str, Check]] = {
    "media": _media,
    "url": _matching(_HTTPS, "an https URL", _URL),
    "name": _text(_NAME, least=1),
    "mime": _matching(_MIME, "a media type such as image/png", 127),
    "size": _whole(_SIZE),
    "text": _text(_TEXT),
    "thumb": _text(_DATA),
}
_PICTURE: Final[dict[str, Check]] = _FILE | {"width": _whole(100_000), "height": _whole(100_000)}


@dataclass(frozen=True, slots=True)
class Shape:
    """Fields with their checks; of each group of `needs` at least one field must be there."""

    fields: Mapping[str, Check]
    needs: tuple[tuple[str, ...], ...] = ()
    bare: bool = False
    """A plain string will do too."""


SHAPES: Final[Mapping[str, Shape]] = {
    "text": Shape({"text": _text(_TEXT)}, bare=True),
    "image": Shape(_PICTURE, (("media", "url"),)),
    "file": Shape(_FILE, (("media", "url"), ("name",))),
    "voice": Shape(_FILE | {"duration_ms": _whole(_HOUR_MS)}, (("media", "url"),)),
    "video": Shape(_PICTURE | {"duration_ms": _whole(_DAY_MS)}, (("media", "url"),)),
    "card": Shape({"user": _text(128, least=1), "name": _text(_NAME), "avatar": _text(_URL)}, (("user",),)),
    "location": Shape(
        {"lat": _degrees(90), "lng": _degrees(180), "name": _text(_NAME), "address": _text(1_024)},
        (("lat",), ("lng",)),
    ),
    "custom": Shape({}, bare=True),
}


def body_fault(kind: str, body: object) -> BodyFault | None:
    """What is wrong with the body (as decoded JSON) of a message of this kind; None where nothing is, and for every
    kind that the hub does not know."""
    shape = SHAPES.get(kind)
    if shape is None:
        return None
    if isinstance(body, str):
        if shape.bare and len(body) <= _TEXT:
            return None
        return BodyFault("", f"the body of `{kind}` is an object")
    if not isinstance(body, dict):
        return BodyFault("", "a body is an object or a string")
    for group in shape.needs:
        if not any(body.get(name) is not None for name in group):
            return BodyFault("", f"the body of `{kind}` needs `{'` or `'.join(group)}`")
    for name, check in shape.fields.items():
        value = body.get(name)
        wrong = check(value) if value is not None else None
        if wrong:
            return BodyFault(f"/{name}", f"`{name}` of `{kind}` must be {wrong}")
    return None
