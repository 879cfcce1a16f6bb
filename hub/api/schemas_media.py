"""Schemas of uploaded files, of how long messages are kept, and of the removal of users."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from fastapi import Path
from pydantic import BeforeValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema

from hub.api.schemas import Shown, Strict, Text, example
from hub.core.media import MediaRecord
from hub.core.removal import Removal

_DAYS: Final = re.compile(r"P(?:(\d{1,5})D)?(?:T(?=\d)(?:(\d{1,5})H)?)?")
_SHORTEST, _LONGEST = timedelta(hours=1), timedelta(days=36_500)
_MEDIA: Final[dict[str, Any]] = {
    "id": "med_0195a0c4d2e87c1d9c7b2f7d3c1b0a99",
    "name": "照片.jpg",
    "mime": "image/jpeg",
    "size": 48_213,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "state": "ready",
    "created_at": "2026-03-01T01:12:00Z",
}


def _retention(value: object) -> object:
    if value is None or isinstance(value, timedelta):
        return value
    found = _DAYS.fullmatch(value) if isinstance(value, str) else None
    if found is None or not any(found.groups()):
        message = "expected an ISO 8601 duration of days and hours, such as P30D or PT12H"
        raise ValueError(message)
    length = timedelta(days=int(found[1] or 0), hours=int(found[2] or 0))
    if not _SHORTEST <= length <= _LONGEST:
        message = "expected at least one hour and at most 36,500 days"
        raise ValueError(message)
    return length


def _written(length: timedelta) -> str:
    hours = length // timedelta(hours=1)
    return f"P{hours // 24}D" if hours % 24 == 0 else f"PT{hours}H"


Retention: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(_retention),
    PlainSerializer(_written, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "duration",
            "pattern": r"^P(\d{1,5}D)?(T(\d{1,5}H)?)?$",
            "examples": ["P365D"],
        }
    ),
]
PathMedia: TypeAlias = Annotated[
    str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="The id of a file.")
]
FileName: TypeAlias = Annotated[Text, StringConstraints(max_length=255)]


class MediaShown(Shown):
    """An uploaded file. Messages show it by its id: `{"media": "med_…"}` in their bodies. `sha256` is empty where the
    bytes went past the hub."""

    model_config = example(_MEDIA, title="Media")

    id: str
    name: str
    mime: str
    size: int
    sha256: str
    state: Literal["pending", "ready"]
    created_at: datetime


class UploadNew(Strict):
    """A file that the client will put into the store itself."""

    model_config = example({"name": "课程.mp4", "mime": "video/mp4", "size": 734_003_200})

    name: FileName = ""
    mime: Annotated[
        str, StringConstraints(max_length=127, pattern=r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+$")
    ] = "application/octet-stream"
    size: Annotated[int, Field(ge=1, le=2**40)]


class UploadShown(MediaShown):
    """Where to put the bytes: send them with exactly this method and these headers, then complete the upload."""

    model_config = example(
        {
            **_MEDIA,
            "sha256": "",
            "state": "pending",
            "method": "PUT",
            "url": "https://files.example.com/bucket/med_0195a0c4d2e87c1d9c7b2f7d3c1b0a99?X-Amz-Signature=…",
            "headers": {"content-type": "image/jpeg", "content-length": "48213"},
        },
        title="MediaUpload",
    )

    method: str
    url: str
    headers: dict[str, str]


class LinkShown(Shown):
    """A URL that works without a token until a time: for `<img>` and for downloads."""

    model_config = example(
        {
            "url": "/v1/media/med_0195a0c4d2e87c1d9c7b2f7d3c1b0a99/file?expires=1772327520&signature=5f2b",
            "expires_at": "2026-03-01T01:22:00Z",
        },
        title="MediaLink",
    )

    url: str
    expires_at: datetime


class RemovalShown(Shown):
    """The removal of a user. It goes on by itself; `done` says that nothing of the user is left."""

    model_config = example(
        {
            "id": "rmv_0195a0",
            "messages": "keep",
            "state": "running",
            "removed": 1_204,
            "created_at": "2026-03-01T01:12:00Z",
            "ended_at": None,
        },
        title="Removal",
    )

    id: str
    messages: Literal["keep", "erase"]
    state: Literal["running", "done"]
    removed: int = Field(description="Rows and files removed so far.")
    created_at: datetime
    ended_at: datetime | None


def media_shown(record: MediaRecord) -> MediaShown:
    """A file as answers show it."""
    return MediaShown(
        id=record.id,
        name=record.name,
        mime=record.mime,
        size=record.size,
        sha256=record.sha256,
        state="ready" if record.state == "ready" else "pending",
        created_at=record.created_at,
    )


def removal_shown(removal: Removal) -> RemovalShown:
    """A removal as answers show it."""
    return RemovalShown(
        id=removal.id,
        messages=removal.messages.value,
        state=removal.state.value,
        removed=removal.removed,
        created_at=removal.created_at,
        ended_at=removal.ended_at,
    )
