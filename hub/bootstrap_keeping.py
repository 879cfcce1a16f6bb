"""Wires what keeps and what removes: files, retention, removal of users, export."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from hub.channels.ws.broker import NodeBroker
from hub.core.engine import Engine
from hub.core.export import Exports
from hub.core.keeping import Keeping, Retention
from hub.core.media import MediaStore
from hub.core.media_desk import MediaDesk, MediaLimits
from hub.core.message import ConversationId, UserKey
from hub.core.ports import Clock, NewId
from hub.core.removal import Removal, Removals
from hub.media.opening import open_media_store
from hub.settings import Settings
from hub.store.clock import utc_now
from hub.store.directory_sql import DirectoryRooms
from hub.store.ids import new_id as make_id
from hub.store.media_sql import SqlMedia
from hub.store.removal_sql import SqlRemovals
from hub.store.sql import SqlStore


def keeping_on(
    settings: Settings,
    store: SqlStore,
    rooms: DirectoryRooms,
    files: MediaStore,
    *,
    clock: Clock,
    new_id: NewId,
) -> Keeping:
    """All of it on these parts."""
    book = SqlMedia(store.database)
    limits = MediaLimits(settings.media_max_bytes, settings.media_unused, settings.media_link_ttl)
    desk = MediaDesk(book=book, store=files, messages=store, limits=limits, clock=clock, new_id=new_id)
    return Keeping(
        media=desk,
        retention=Retention(rooms.directory, store, keep=settings.retention),
        removals=Removals(SqlRemovals(rooms.basis, rooms.directory, store, new_id), desk, clock=clock),
        exports=Exports(rooms.directory, store, book, clock=clock),
    )


class Told(Protocol):
    """Whoever tells live sessions."""

    @property
    def keeping(self) -> Keeping:
        """What removes users."""
        ...

    @property
    def engine(self) -> Engine:
        """What sends the notices of groups."""
        ...

    @property
    def broker(self) -> NodeBroker:
        """What reaches live sessions."""
        ...

    async def rights_changed(self, user: UserKey) -> None:
        """Sockets of this user are closed."""
        ...

    async def membership_changed(self, conversation: ConversationId, users: Collection[UserKey]) -> None:
        """Somebody has left a group."""
        ...


ToldHub = TypeVar("ToldHub", bound=Told)


def connect(hub: ToldHub) -> ToldHub:
    """Live sessions hear of users who are removed, of the groups that these leave, and of changes of groups whose
    process did not live to tell of them."""

    async def hidden(removal: Removal) -> None:
        await hub.rights_changed(removal.user)

    hub.keeping.removals.hidden = hidden
    hub.keeping.removals.left = hub.membership_changed
    hub.engine.notices.on_swept = hub.broker.drop_users
    return hub


@asynccontextmanager
async def open_keeping(settings: Settings, store: SqlStore, rooms: DirectoryRooms) -> AsyncIterator[Keeping]:
    """The same with the media store that the settings name. Raises ValueError."""
    where = settings.media_url.get_secret_value()
    async with open_media_store(where, data_dir=settings.data_dir, clock=utc_now) as files:
        yield keeping_on(settings, store, rooms, files, clock=utc_now, new_id=make_id)
