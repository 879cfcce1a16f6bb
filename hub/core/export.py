"""Export: what an app, a user or a conversation has, as lines of JSON, page by page, never all in memory at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

from hub.core.contacts import ContactFilter, ContactRecord
from hub.core.conversation import ConversationKind, inbox_id
from hub.core.media import MediaBook, MediaId, MediaRecord
from hub.core.message import TOMBSTONE, AppId, ConversationId, Message, UserKey
from hub.core.ports import Clock, MessageStore
from hub.core.records import ConversationView, DeviceRecord, MemberRecord, PageRequest, Slice, UserRecord

T = TypeVar("T")
Line = dict[str, Any]

VERSION: Final = 1
_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export: all of an app, or what one user has, or one conversation; messages since a time, or all."""

    app: AppId
    user: str | None = None
    conversation: ConversationId | None = None
    since: datetime | None = None


class Exported(Protocol):
    """The reads that an export is made of."""

    async def user(self, app: AppId, user_id: str) -> UserRecord:
        """One user. Raises NotFound."""
        ...

    async def users(self, app: AppId, page: PageRequest) -> Slice[UserRecord]:
        """The app's users."""
        ...

    async def devices(self, user: UserKey, page: PageRequest) -> Slice[DeviceRecord]:
        """A user's devices."""
        ...

    async def contacts(
        self, app: AppId, owner: UserKey, only: ContactFilter, page: PageRequest
    ) -> Slice[ContactRecord]:
        """A user's contacts."""
        ...

    async def conversation_view(
        self, app: AppId, conversation: ConversationId, *, viewer: UserKey | None
    ) -> ConversationView:
        """One conversation. Raises NotFound."""
        ...

    async def conversations(
        self, app: AppId, *, kind: ConversationKind | None, page: PageRequest
    ) -> Slice[ConversationView]:
        """The app's conversations."""
        ...

    async def conversations_of(self, app: AppId, user: UserKey, page: PageRequest) -> Slice[ConversationView]:
        """A user's conversations."""
        ...

    async def members(
        self, app: AppId, conversation: ConversationId, page: PageRequest
    ) -> Slice[MemberRecord]:
        """Who is in a conversation."""
        ...


class Exports:
    """The verb. Keys, tokens, secrets and addresses at providers are in no line."""

    def __init__(
        self, directory: Exported, messages: MessageStore, media: MediaBook, *, clock: Clock
    ) -> None:
        self._directory = directory
        self._messages = messages
        self._media = media
        self._clock = clock

    async def check(self, wanted: Wanted) -> None:
        """Raises NotFound where there is nothing to export."""
        if wanted.user is not None:
            await self._directory.user(wanted.app, wanted.user)
        if wanted.conversation is not None:
            await self._directory.conversation_view(wanted.app, wanted.conversation, viewer=None)

    async def lines(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """Each line is a JSON object with its `type`; the first is `header`, the last `end` with the number of lines
        before it: without it the export is not whole. Raises NotFound."""
        count = 0
        async for line in self._lines(wanted):
            count += 1
            yield _encoded(line)
        yield _encoded({"type": "end", "lines": count})

    async def _lines(self, wanted: Wanted) -> AsyncIterator[Line]:
        yield {
            "type": "header",
            "version": VERSION,
            "app": wanted.app,
            "user": wanted.user,
            "conversation": wanted.conversation,
            "since": _time(wanted.since),
            "at": _time(self._clock()),
        }
        if wanted.user is not None:
            parts = self._of_user(wanted, await self._directory.user(wanted.app, wanted.user))
        elif wanted.conversation is not None:
            view = await self._directory.conversation_view(wanted.app, wanted.conversation, viewer=None)
            parts = self._room(wanted, view, None)
        else:
            parts = self._of_app(wanted)
        async for line in parts:
            yield line

    async def _of_app(self, wanted: Wanted) -> AsyncIterator[Line]:
        async for user in _all(lambda page: self._directory.users(wanted.app, page)):
            yield _user(user)
            async for line in self._uploads(user.key):
                yield line
        async for line in self._uploads(UserKey(0), app=wanted.app):
            yield line
        async for view in _all(lambda page: self._directory.conversations(wanted.app, kind=None, page=page)):
            async for line in self._room(wanted, view, None):
                yield line

    async def _of_user(self, wanted: Wanted, user: UserRecord) -> AsyncIterator[Line]:
        yield _user(user)
        async for device in _all(lambda page: self._directory.devices(user.key, page)):
            yield _device(device)
        async for contact in _all(
            lambda page: self._directory.contacts(wanted.app, user.key, ContactFilter(), page)
        ):
            yield _contact(contact)
        async for line in self._uploads(user.key):
            yield line
        async for view in _all(lambda page: self._directory.conversations_of(wanted.app, user.key, page)):
            async for line in self._room(wanted, view, user.key):
                yield line

    async def _room(
        self, wanted: Wanted, view: ConversationView, reader: UserKey | None
    ) -> AsyncIterator[Line]:
        """A conversation with its members and its messages: to `reader` only what is theirs to read."""
        conversation = view.record.id
        yield _conversation(view)
        after = 0
        if view.record.kind is not ConversationKind.INBOX:
            async for member in _all(lambda page: self._directory.members(wanted.app, conversation, page)):
                yield _member(conversation, member)
        if reader is not None and conversation != inbox_id(wanted.app):
            membership = await self._messages.membership(conversation, reader)
            if membership is None:
                return
            after = max(membership.joined_seq, membership.cleared_seq)
        while page := await self._history(wanted.app, conversation, reader, after):
            after = page[-1].seq
            for message in page:
                old = wanted.since is not None and message.created_at < wanted.since
                if message.kind != TOMBSTONE and not old:
                    yield _message(message)

    async def _history(
        self, app: AppId, conversation: ConversationId, reader: UserKey | None, after: int
    ) -> list[Message]:
        store = self._messages
        if reader is not None and conversation == inbox_id(app):
            return list(
                await store.inbox_history(reader, conversation, after=after, before=None, limit=_PAGE)
            )
        return list(await store.history(conversation, after=after, before=None, limit=_PAGE))

    async def _uploads(self, user: UserKey, *, app: AppId | None = None) -> AsyncIterator[Line]:
        after = MediaId("")
        while page := await self._media.of_user(user, after=after, limit=_PAGE, app=app):
            after = page[-1].id
            for record in page:
                yield _media(record)


async def _all(ask: Callable[[PageRequest], Awaitable[Slice[T]]]) -> AsyncIterator[T]:
    """Every item of a list that is paged by a place, so that what comes meanwhile shifts nothing."""
    place: str | None = None
    while True:
        found = await ask(PageRequest(_PAGE, place))
        for item in found.items:
            yield item
        if found.next is None:
            return
        place = found.next


def _encoded(line: Line) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _user(user: UserRecord) -> Line:
    return {
        "type": "user",
        "user_id": user.id,
        "name": user.name,
        "locale": user.locale,
        "timezone": user.timezone,
        "preferences": json.loads(user.preferences),
        "created_at": _time(user.created_at),
        "last_seen_at": _time(user.last_seen_at),
    }


def _device(device: DeviceRecord) -> Line:
    return {
        "type": "device",
        "device_id": device.id,
        "platform": device.platform,
        "name": device.name,
        "created_at": _time(device.created_at),
        "last_seen_at": _time(device.last_seen_at),
    }


def _contact(contact: ContactRecord) -> Line:
    return {
        "type": "contact",
        "user_id": contact.user_id,
        "kind": contact.kind,
        "alias": contact.alias,
        "note": contact.note,
        "tags": list(contact.tags),
        "starred": contact.starred,
        "blocked": contact.blocked,
        "created_at": _time(contact.created_at),
    }


def _conversation(view: ConversationView) -> Line:
    record = view.record
    return {
        "type": "conversation",
        "id": record.id,
        "kind": record.kind.value,
        "title": record.title,
        "metadata": json.loads(record.metadata),
        "created_at": _time(record.created_at),
    }


def _member(conversation: ConversationId, member: MemberRecord) -> Line:
    return {
        "type": "member",
        "conversation": conversation,
        "user_id": member.user_id,
        "role": member.role.value,
        "joined_seq": member.joined_seq,
        "read_seq": member.read_seq,
        "joined_at": _time(member.joined_at),
    }


def _message(message: Message) -> Line:
    """As it is now: an edited body is the new one, a recalled one is gone."""
    return {
        "type": "message",
        "id": message.id,
        "conversation": message.conversation,
        "seq": message.seq,
        "sender": message.sender_id,
        "kind": message.kind,
        "body": json.loads(message.body),
        "mentions": list(message.mentions),
        "reply_to": message.reply_to,
        "forward_of": message.forward_of,
        "control": message.control,
        "created_at": _time(message.created_at),
        "edited_at": _time(message.edited_at),
    }


def _media(record: MediaRecord) -> Line:
    return {
        "type": "media",
        "id": record.id,
        "name": record.name,
        "mime": record.mime,
        "size": record.size,
        "sha256": record.sha256,
        "created_at": _time(record.created_at),
    }
