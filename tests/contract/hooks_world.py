"""A WebhookBook of each kind, with a clock and the changes of a directory: what its contract runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import SecretStr
from sqlalchemy import delete, insert

from hub.core.message import AppId
from hub.core.webhooks import (
    Endpoint,
    EndpointId,
    HookAnswer,
    HookDelivery,
    Outgoing,
    WebhookBook,
    WebhookEvent,
    WebhookEventId,
    WebhookSecret,
    new_webhook_secret,
)
from hub.settings import Settings
from hub.store.directory_sql import DirectoryRooms, directory_rooms
from hub.store.ids import new_id
from hub.store.memory_webhooks import MemoryWebhooks
from hub.store.schema import metadata
from hub.store.sql_engine import open_database
from tests.contract.store_world import APP, NOW
from tests.support.cluster import SECRET

OTHER = AppId("app_2")
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
LATER = NOW + timedelta(hours=1)
GOOD, BAD = HookAnswer(204), HookAnswer(500, error="HTTP 500: 坏了")


class Hooks(Protocol):
    """A book, with the ways to change endpoints that the directory has."""

    book: WebhookBook
    now: datetime

    async def make(self, *events: str, app: AppId = APP) -> EndpointId: ...

    async def enable(self, endpoint: EndpointId) -> None: ...

    async def drop(self, endpoint: EndpointId) -> None: ...

    def sibling(self) -> WebhookBook: ...


class MemoryHooks:
    """Over memory."""

    def __init__(self) -> None:
        self.now = NOW
        self._memory = MemoryWebhooks(clock=lambda: self.now)
        self.book: WebhookBook = self._memory

    async def make(self, *events: str, app: AppId = APP) -> EndpointId:
        id_ = EndpointId(new_id("whe"))
        endpoint = Endpoint(id_, app, "https://example.com/钩".encode().decode(), events, "", self.now)
        self._memory.put_endpoint(endpoint, WebhookSecret(new_webhook_secret()))
        return id_

    async def enable(self, endpoint: EndpointId) -> None:
        known = await self.book.endpoint(APP, endpoint)
        assert known is not None
        secret = WebhookSecret(new_webhook_secret())
        self._memory.put_endpoint(replace(known, disabled_at=None, disabled_reason=""), secret)

    async def drop(self, endpoint: EndpointId) -> None:
        self._memory.drop_endpoint(endpoint)

    def sibling(self) -> WebhookBook:
        return self.book


class SqlHooks:
    """Over a database."""

    def __init__(self, rooms: DirectoryRooms, sibling: WebhookBook) -> None:
        self.now = NOW
        self._rooms = rooms
        self.book: WebhookBook = rooms.webhooks
        self._sibling = sibling

    async def make(self, *events: str, app: AppId = APP) -> EndpointId:
        async with self._rooms.directory.change(app, actor="test") as change:
            made, _ = await change.create_webhook("https://example.com/hook", events, "办公")
        return made.id

    async def enable(self, endpoint: EndpointId) -> None:
        async with self._rooms.directory.change(APP, actor="test") as change:
            await change.patch_webhook(endpoint, enabled=True)

    async def drop(self, endpoint: EndpointId) -> None:
        async with self._rooms.directory.change(APP, actor="test") as change:
            await change.delete_webhook(endpoint)

    def sibling(self) -> WebhookBook:
        return self._sibling


@asynccontextmanager
async def sql_hooks(url: str) -> AsyncIterator[Hooks]:
    """A book over the migrated and emptied database, open twice: for it and for its sibling."""
    settings = Settings(database_url=url, secret_key=SecretStr(SECRET))
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(open_database(settings)) for _ in range(2)]
        made: list[SqlHooks] = []

        def clock() -> datetime:
            return made[0].now if made else NOW

        rooms = [directory_rooms(database, settings, clock=clock, new_id=new_id) for database in databases]
        async with databases[0].writing() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(delete(table))
            for app in (APP, OTHER):
                row = {"id": app, "name": "", "settings": "{}", "created_at": NOW}
                await connection.execute(insert(metadata.tables["app"]).values(row))
        made.append(SqlHooks(rooms[0], rooms[1].webhooks))
        yield made[0]


def event(number: int, type_: str = "delivery.failed", **more: object) -> WebhookEvent:
    """The n-th event, a second after the one before."""
    plain = WebhookEvent(
        WebhookEventId(f"evt_{number:04}"), APP, type_, NOW + number * SECOND, f'{{"号":{number}}}'
    )
    return replace(plain, **more)  # type: ignore[arg-type]


async def claim(book: WebhookBook, now: datetime, *, limit: int = 100, **more: object) -> Sequence[Outgoing]:
    return await book.claim(now=now, lease_until=now + MINUTE, limit=limit, **more)  # type: ignore[arg-type]


async def way(book: WebhookBook, event_id: str, endpoint: EndpointId) -> HookDelivery:
    found = await book.event(APP, WebhookEventId(event_id))
    assert found is not None
    return next(one for one in found[1] if one.endpoint == endpoint)
