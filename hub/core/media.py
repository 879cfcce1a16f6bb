"""Uploaded files: what a file is, which files a message's body names, and what must keep them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NewType, Protocol

from hub.core.errors import HubError, Refused
from hub.core.message import AppId, ConversationId, Draft, MessageId, UserKey

MediaId = NewType("MediaId", str)

MOST_FILES: Final = 9
"""Files that one message may show."""
MOST_REFS: Final = 200
"""Of the messages that show a file, so many (the newest) are looked at to see who may read it."""


class MediaState(StrEnum):
    """PENDING: room has been made, the bytes are on their way. READY: it can be shown. GOING: it is being removed."""

    PENDING = "pending"
    READY = "ready"
    GOING = "going"


@dataclass(frozen=True, slots=True)
class MediaRecord:
    """A file. `owner` is SYSTEM where the business system uploaded it; `sha256` is empty where the bytes went past
    the hub."""

    id: MediaId
    app: AppId
    owner: UserKey
    name: str
    mime: str
    size: int
    sha256: str
    state: MediaState
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes that have come and are kept aside: under `place`, with what they begin with."""

    place: str
    size: int
    sha256: str
    beginning: bytes


@dataclass(frozen=True, slots=True)
class UploadLink:
    """Where a client puts the bytes itself: with this method and these headers."""

    method: str
    url: str
    headers: Mapping[str, str]


class MediaStore(Protocol):
    """Keeps bytes under ids. Raises errors.Unavailable where it cannot be reached."""

    @property
    def direct(self) -> bool:
        """Whether clients fetch and put bytes past the hub, by URLs of the store's own."""
        ...

    async def receive(self, chunks: AsyncIterator[bytes], *, most: int) -> Received:
        """Take bytes aside, never all of them in memory. Raises Refused media_too_large past `most` and media_empty for
        none; nothing is left then."""
        ...

    async def keep(self, received: Received, key: MediaId, *, mime: str) -> None:
        """Keep what was received, for good: it survives the death of the process. Twice is harmless."""
        ...

    async def discard(self, received: Received) -> None:
        """Forget what was received and not kept."""
        ...

    def read(self, key: MediaId, *, start: int, length: int) -> AsyncIterator[bytes]:
        """A stretch of the bytes. Raises errors.NotFound media_not_found."""
        ...

    async def size(self, key: MediaId) -> int | None:
        """How many bytes are kept, None for none."""
        ...

    async def remove(self, key: MediaId) -> None:
        """Remove; what is not there is removed."""
        ...

    def link(self, key: MediaId, *, mime: str, disposition: str, ttl: timedelta, now: datetime) -> str | None:
        """A URL of the store's own that serves the bytes for a while, or None where it has none."""
        ...

    def upload_link(
        self, key: MediaId, *, mime: str, size: int, ttl: timedelta, now: datetime
    ) -> UploadLink | None:
        """Where a client may put exactly so many bytes for a while, or None where it may not."""
        ...

    async def tidy(self, before: datetime) -> None:
        """Remove what was received before a time and never kept."""
        ...


class MediaBook(Protocol):
    """What is known of files. Every method is one transaction and may raise errors.Unavailable."""

    async def add(self, record: MediaRecord) -> None:
        """Note a new file."""
        ...

    async def ready(self, media: MediaId, *, size: int, sha256: str, now: datetime) -> MediaRecord | None:
        """The bytes are there; None where it is gone meanwhile. Twice is harmless."""
        ...

    async def get(self, app: AppId, media: MediaId) -> MediaRecord | None:
        """A file of this app that is not going."""
        ...

    async def any_app(self, media: MediaId) -> MediaRecord | None:
        """The same for whoever holds a link to it, whatever the app."""
        ...

    async def claim(
        self, app: AppId, wanted: Mapping[MessageId, Collection[MediaId]], *, now: datetime
    ) -> None:
        """Note that these messages show these files, which `files` has just found. One that goes meanwhile is left
        out: its message shows a file that is gone."""
        ...

    async def files(self, app: AppId, media: Collection[MediaId]) -> Mapping[MediaId, MediaRecord]:
        """Those of them that are ready."""
        ...

    async def references(
        self, media: Collection[MediaId], *, limit: int
    ) -> Mapping[MediaId, Sequence[MessageId]]:
        """The newest `limit` messages that show each."""
        ...

    async def standings(
        self, user: UserKey, conversations: Collection[ConversationId]
    ) -> Mapping[ConversationId, int]:
        """Those of them that the user is in, with the seq up to which messages are not theirs."""
        ...

    async def of_user(
        self, user: UserKey, *, after: MediaId, limit: int, app: AppId | None = None
    ) -> Sequence[MediaRecord]:
        """A user's own uploads, oldest first; those of the business system (SYSTEM) need the app."""
        ...

    async def take_unused(self, *, before: datetime, limit: int) -> Sequence[MediaId]:
        """Files that nothing refers to and nobody touched since a time, and those that were being removed: they are
        going from now on."""
        ...

    async def take_of_user(self, user: UserKey, *, limit: int) -> Sequence[MediaId]:
        """Uploads of a user: they are going from now on, whatever refers to them."""
        ...

    async def forget(self, media: Collection[MediaId]) -> None:
        """Their bytes are removed: nothing of them is left."""
        ...

    async def stale_references(self, *, before: datetime, limit: int) -> Sequence[tuple[MediaId, MessageId]]:
        """References noted before a time and not looked at since, oldest first."""
        ...

    async def confirm(self, alive: Collection[tuple[MediaId, MessageId]]) -> None:
        """Their messages are there: they need not be looked at again."""
        ...

    async def drop_references(self, gone: Collection[tuple[MediaId, MessageId]]) -> None:
        """Their messages were never committed, or are gone."""
        ...


class Attachments(Protocol):
    """What the engine asks about files before it commits."""

    async def attach(self, drafts: Sequence[Draft]) -> list[HubError | None]:
        """Check the files that these drafts show, and note that they do; what is wrong with each, in order. Drafts
        without files cost nothing. Raises Unavailable."""
        ...


def media_of(body: str) -> tuple[MediaId, ...]:
    """The files that an encoded body names in its top-level field `media`: an id or a list of ids. Raises Refused
    media_invalid for anything else under that name. Bodies without the word are not decoded."""
    if '"media"' not in body:
        return ()
    try:
        decoded: Any = json.loads(body)
    except ValueError:
        return ()
    if not isinstance(decoded, dict) or "media" not in decoded:
        return ()
    named = decoded["media"]
    ids = named if isinstance(named, list) else [named]
    if len(ids) > MOST_FILES or not all(is_media_id(one) for one in ids):
        detail = f"`media` is the id of an uploaded file (`med_…`) or a list of at most {MOST_FILES} of them."
        raise Refused("media_invalid", detail)
    return tuple(dict.fromkeys(MediaId(one) for one in ids))


_HEX: Final = frozenset("0123456789abcdef")


def is_media_id(value: object) -> bool:
    """Whether this can be the id of a file: nothing else ever becomes a path or a key of a store."""
    if not isinstance(value, str):
        return False
    prefix, _, digits = value.partition("_")
    return prefix == "med" and len(digits) == 32 and set(digits) <= _HEX
