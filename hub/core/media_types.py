"""What the first bytes of a file say it is, and what a browser may be shown of it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from hub.core.errors import Refused

BEGINNING: Final = 512
"""Bytes that are looked at."""
ANY: Final = "application/octet-stream"
_MIME: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}")
_MARKS: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypheix", "image/heic"),
    (4, b"ftypmif1", "image/heic"),
    (0, b"BM", "image/bmp"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"\xff\xf9", "audio/aac"),
    (0, b"#!AMR", "audio/amr"),
    (0, b"fLaC", "audio/flac"),
    (8, b"WAVE", "audio/wav"),
    (0, b"#!SILK", "audio/silk"),
    (0, b"\x02#!SILK", "audio/silk"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
)
_MARKUP: Final = re.compile(
    rb"^\s*(<\?xml|<!doctype|<html|<svg|<script|<head|<body|<iframe|<!--)", re.IGNORECASE
)
# What one container is called where it holds something else.
_SAME: Final = (
    frozenset(
        {"video/mp4", "audio/mp4", "audio/m4a", "audio/x-m4a", "video/quicktime", "video/3gpp", "audio/3gpp"}
    ),
    frozenset({"video/webm", "audio/webm", "video/x-matroska"}),
    frozenset({"audio/ogg", "video/ogg", "audio/opus"}),
    frozenset({"image/jpeg", "image/jpg", "image/pjpeg"}),
    frozenset({"audio/mpeg", "audio/mp3"}),
    frozenset({"audio/wav", "audio/x-wav", "audio/wave"}),
    frozenset({"image/heic", "image/heif"}),
    frozenset({"image/bmp", "image/x-ms-bmp"}),
)
_SHOWN: Final = frozenset(
    {
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/avif",
        "image/bmp",
        "video/mp4",
        "video/webm",
    }
    | {
        "audio/ogg",
        "audio/mpeg",
        "audio/aac",
        "audio/wav",
        "audio/mp4",
        "audio/webm",
        "audio/amr",
        "audio/flac",
    }
)
"""Shown in a page; everything else is saved to a file, so that nothing uploaded ever runs in the hub's origin."""


def sniffed(beginning: bytes) -> str | None:
    """The type that the first bytes tell, None where they tell nothing."""
    for offset, mark, mime in _MARKS:
        if beginning[offset : offset + len(mark)] == mark:
            return mime
    return "text/html" if _MARKUP.match(beginning) else None


def checked_mime(declared: str, beginning: bytes) -> str:
    """The type to keep of a file that is called `declared` (empty: not at all). Raises Refused: media_type_invalid for
    what is no type, media_type_mismatch for pictures, sound and film whose bytes are something else."""
    mime = declared.partition(";")[0].strip().lower()
    if mime in ("", ANY):
        return sniffed(beginning) or ANY
    if not _MIME.fullmatch(mime):
        raise Refused("media_type_invalid", "The type of a file is written as `image/png`.")
    found = sniffed(beginning)
    if (
        mime.partition("/")[0] in ("image", "audio", "video")
        and not _is_svg(mime)
        and not _agree(mime, found)
    ):
        detail = f"The file is called {mime}, and its bytes look like {found or 'something else'}."
        raise Refused("media_type_mismatch", detail)
    return mime


def _is_svg(mime: str) -> bool:
    """A picture to its author and a program to a browser: kept as what it is called, and only ever saved."""
    return mime == "image/svg+xml"


def _agree(declared: str, found: str | None) -> bool:
    if found is None:
        # Kinds of sound and film are many: what is not known is no proof, but a known picture is always told.
        return declared not in _SHOWN
    return declared == found or any({declared, found} <= same for same in _SAME)


def disposition(mime: str, name: str) -> str:
    """The Content-Disposition of a file: `inline` for what cannot run, with its name for every kind of client."""
    how = "inline" if mime in _SHOWN else "attachment"
    if not name:
        return how
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def clean_name(name: str) -> str:
    """A file's name without folders and control characters, at most 255 characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable()).strip()[:255]
