"""The verbs of uploaded files: take, show, refer to, clear away. What keeps them is behind two ports."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hub.core.conversation import inbox_id
from hub.core.errors import HubError, NotFound, Refused
from hub.core.media import (
    MOST_REFS,
    MediaBook,
    MediaId,
    MediaRecord,
    MediaState,
    MediaStore,
    UploadLink,
    media_of,
)
from hub.core.media_types import ANY, checked_mime, clean_name, disposition
from hub.core.message import SYSTEM, AppId, Draft, Edited, Message, MessageId, UserKey
from hub.core.ports import Clock, MessageStore, NewId

log = logging.getLogger("hub.media")

_PORTION: Final = 100
_REFERENCE_GRACE: Final = timedelta(hours=1)
"""A reference whose message is not there by then will never have one."""


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """`most` bounds a file (an app may ask for less); unused ones go after `unused`; links hold for `link`."""

    most: int
    unused: timedelta
    link: timedelta


class MediaDesk:
    """Everything that is done with files. One a process."""

    def __init__(
        self,
        *,
        book: MediaBook,
        store: MediaStore,
        messages: MessageStore,
        limits: MediaLimits,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self.store = store
        self.book = book
        self.limits = limits
        self._messages = messages
        self._clock = clock
        self._new_id = new_id

    async def upload(
        self, app: AppId, owner: UserKey, chunks: AsyncIterator[bytes], *, name: str, mime: str, most: int
    ) -> MediaRecord:
        """Take a file in. Its row comes before its bytes, so that no bytes are ever kept that nobody knows of. Raises
        Refused: media_too_large, media_empty, media_type_invalid, media_type_mismatch."""
        received = await self.store.receive(chunks, most=min(most, self.limits.most))
        try:
            kind = checked_mime(mime, received.beginning)
            record = self._new(app, owner, name, kind, received.size)
            await self.book.add(record)
            await self.store.keep(received, record.id, mime=kind)
        finally:
            await self.store.discard(received)
        kept = await self.book.ready(record.id, size=received.size, sha256=received.sha256, now=self._clock())
        if kept is None:
            raise _not_found()
        return kept

    async def begin(
        self, app: AppId, owner: UserKey, *, name: str, mime: str, size: int, most: int
    ) -> tuple[MediaRecord, UploadLink]:
        """Make room for a file that the client puts into the store itself. Raises Refused: media_too_large,
        media_type_invalid, media_not_direct."""
        if not self.store.direct:
            raise Refused(
                "media_not_direct", "Files come through the hub here: send the bytes to POST /v1/media."
            )
        if size > min(most, self.limits.most):
            raise too_large(min(most, self.limits.most))
        kind = mime.partition(";")[0].strip().lower() or ANY
        record = self._new(app, owner, name, kind, size)
        link = self.store.upload_link(
            record.id, mime=kind, size=size, ttl=self.limits.link, now=record.created_at
        )
        if link is None:
            raise Refused(
                "media_not_direct", "Files come through the hub here: send the bytes to POST /v1/media."
            )
        await self.book.add(record)
        return record, link

    async def complete(self, app: AppId, owner: UserKey | None, media: MediaId) -> MediaRecord:
        """The client has put the bytes: look at them. `owner` None is the business system. Raises NotFound,
        Refused media_incomplete or media_type_mismatch."""
        record = await self.book.get(app, media)
        if record is None or owner not in (None, record.owner):
            raise _not_found()
        if record.state is MediaState.READY:
            return record
        if await self.store.size(media) != record.size:
            raise Refused("media_incomplete", f"The store does not have {record.size:,} bytes of it.")
        beginning = b"".join([part async for part in self.store.read(media, start=0, length=512)])
        checked_mime(record.mime, beginning)
        ready = await self.book.ready(media, size=record.size, sha256="", now=self._clock())
        if ready is None:
            raise _not_found()
        return ready

    async def find(self, app: AppId, reader: UserKey | None, media: MediaId) -> MediaRecord:
        """A file that this reader (None: the business system) may see. Raises NotFound."""
        record = await self.book.get(app, media)
        if record is None or record.state is not MediaState.READY:
            raise _not_found()
        if reader is None or record.owner == reader:
            return record
        if media not in await self._readable(app, reader, [media]):
            raise _not_found()
        return record

    async def linked(self, media: MediaId) -> MediaRecord:
        """A file by a link that was signed for it. Raises NotFound."""
        found = await self.book.any_app(media)
        if found is None or found.state is not MediaState.READY:
            raise _not_found()
        return found

    def link(self, record: MediaRecord) -> tuple[str | None, datetime]:
        """A URL of the store's own for a file, or None, and until when a link holds."""
        now = self._clock()
        url = self.store.link(
            record.id,
            mime=record.mime,
            disposition=disposition(record.mime, record.name),
            ttl=self.limits.link,
            now=now,
        )
        return url, now + self.limits.link

    async def attach(self, drafts: Sequence[Draft]) -> list[HubError | None]:
        """Before the commit: check the files that these drafts show, and note that they do. What is wrong with each, in
        order; drafts without files cost nothing. Raises Unavailable."""
        errors: list[HubError | None] = [None] * len(drafts)
        for place, draft in enumerate(drafts):
            try:
                wanted = _wanted(draft)
                if wanted:
                    await self._attach(draft, wanted)
            except Refused as refused:
                errors[place] = refused
        return errors

    async def _attach(self, draft: Draft, wanted: Sequence[MediaId]) -> None:
        files = await self.book.files(draft.app, wanted)
        foreign = [
            one for one in wanted if one not in files or draft.sender not in (SYSTEM, files[one].owner)
        ]
        known = [one for one in foreign if one in files]
        if known:
            readable = await self._readable(draft.app, draft.sender, known)
            foreign = [one for one in foreign if one not in readable]
        if foreign:
            raise Refused("media_unknown", f"There is no file {foreign[0]} that this sender may show.")
        await self.book.claim(draft.app, {_bearer(draft): wanted}, now=self._clock())

    async def _readable(self, app: AppId, reader: UserKey, media: Sequence[MediaId]) -> set[MediaId]:
        """Those that a message shows which this user can read: three queries, whatever the number."""
        references = await self.book.references(media, limit=MOST_REFS)
        found = await self._messages.messages({id_ for ids in references.values() for id_ in ids})
        shown = {id_: message for id_, message in found.items() if message.app == app}
        inbox = inbox_id(app)
        standings = await self.book.standings(
            reader, {m.conversation for m in shown.values() if m.conversation != inbox}
        )
        readable: set[MediaId] = set()
        for one, ids in references.items():
            for message in (shown[id_] for id_ in ids if id_ in shown):
                if one not in _named(message):
                    continue
                if message.conversation == inbox:
                    mine = await self._sent_to(reader, message)
                else:
                    mine = message.seq > standings.get(message.conversation, message.seq)
                if mine:
                    readable.add(one)
                    break
        return readable

    async def _sent_to(self, reader: UserKey, message: Message) -> bool:
        page = await self._messages.inbox_history(
            reader, message.conversation, after=message.seq - 1, before=None, limit=1
        )
        return any(one.id == message.id for one in page)

    async def sweep(self) -> int:
        """Remove what nothing refers to any more, with its bytes, and forget references that lead nowhere. Returns how
        many files went. May be stopped and repeated at any time."""
        now = self._clock()
        await self._drop_stale(now - _REFERENCE_GRACE)
        await self.store.tidy(now - self.limits.unused)
        gone = 0
        while found := await self.book.take_unused(before=now - self.limits.unused, limit=_PORTION):
            await self.remove(found)
            gone += len(found)
        return gone

    async def remove(self, going: Sequence[MediaId]) -> None:
        """Remove the bytes of files that are going, then what is known of them."""
        for media in going:
            await self.store.remove(media)
        await self.book.forget(going)

    async def _drop_stale(self, before: datetime) -> None:
        """References are looked at once, when they are old enough: from then on they go with their messages."""
        while found := await self.book.stale_references(before=before, limit=_PORTION):
            alive = await self._messages.messages({message for _, message in found})
            gone = [pair for pair in found if pair[1] not in alive]
            await self.book.drop_references(gone)
            await self.book.confirm([pair for pair in found if pair[1] in alive])

    def _new(self, app: AppId, owner: UserKey, name: str, mime: str, size: int) -> MediaRecord:
        id_ = MediaId(self._new_id("med"))
        now = self._clock()
        return MediaRecord(id_, app, owner, clean_name(name), mime, size, "", MediaState.PENDING, now)


def _wanted(draft: Draft) -> tuple[MediaId, ...]:
    body = draft.change.body if isinstance(draft.change, Edited) else draft.body
    return media_of(body)


def _bearer(draft: Draft) -> MessageId:
    """The message that will show the files: of an edit, the one that is edited."""
    return draft.change.message if isinstance(draft.change, Edited) else draft.id


def _named(message: Message) -> tuple[MediaId, ...]:
    """What it shows now: a recalled message shows nothing."""
    try:
        return media_of(message.body)
    except Refused:
        return ()


def too_large(most: int) -> Refused:
    """The error of a file past the limit."""
    return Refused("media_too_large", f"The file is larger than {most:,} bytes.")


def _not_found() -> NotFound:
    return NotFound("media_not_found", "There is no such file, or it is not yours to see.")
