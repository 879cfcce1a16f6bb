"""How long things are kept and how they leave: files, retention by app, removal of users, export."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from hub.core.export import Exports
from hub.core.media_desk import MediaDesk
from hub.core.message import AppId
from hub.core.records import AppRecord, PageRequest, Slice
from hub.core.removal import Removals

_PAGE: Final = 200


class AppList(Protocol):
    """The tenants with their settings."""

    async def apps(self, page: PageRequest) -> Slice[AppRecord]:
        """All tenants."""
        ...


class Expiring(Protocol):
    """See Housekeeping."""

    async def expire_messages(self, before: datetime, *, app: AppId) -> int:
        """Remove messages of an app that are older than a time. Returns how many."""
        ...


class Retention:
    """Old messages go, in each app after its own time or (where it has none) the hub's."""

    def __init__(self, apps: AppList, store: Expiring, *, keep: timedelta | None) -> None:
        self._apps = apps
        self._store = store
        self._keep = keep

    async def expire(self, now: datetime) -> int:
        """Remove what is too old; how many messages. May be stopped and repeated at any time."""
        removed = 0
        place: str | None = None
        while True:
            page = await self._apps.apps(PageRequest(_PAGE, place))
            for app in page.items:
                keep = app.settings.retention or self._keep
                if keep is not None:
                    removed += await self._store.expire_messages(now - keep, app=app.id)
            if page.next is None:
                return removed
            place = page.next


@dataclass(frozen=True, slots=True)
class Keeping:
    """What every process has of it."""

    media: MediaDesk
    retention: Retention
    removals: Removals
    exports: Exports
