"""What a store's contract needs around it: people, conversations and devices, which other parts of the hub make,
and a look at what no port shows. One world over memory, one over SQL, with either plan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sqlalchemy import delete, func, insert, select, update

from hub.core.conversation import Conversation, ConversationKind, Fanout
from hub.core.delivery import DeliveryId
from hub.core.message import AppId, ConversationId, DeviceKey, UserKey
from hub.core.ports import Clock, DeliveryStore, Housekeeping, MessageStore
from hub.redis_link import open_redis
from hub.settings import Settings
from hub.store.memory import MemoryStore
from hub.store.plan1 import Plan1Store
from hub.store.schema import metadata
from hub.store.sql import SqlStore, open_store
from hub.store.sql_engine import open_database

APP = AppId("app_1")
NOW = datetime(2026, 3, 1, 9, 12, 30, 123_457, tzinfo=UTC)
TTL = timedelta(hours=24)


class Store(MessageStore, DeliveryStore, Housekeeping, Protocol):
    """All that a store answers to."""


class World(Protocol):
    """A store with what is around it."""

    store: Store
    people: tuple[UserKey, ...]
    """A few users who are there from the start, called u1, u2, …"""

    async def make_people(self, count: int) -> tuple[UserKey, ...]:
        """More users."""
        ...

    async def make_group(
        self,
        id_: str,
        members: Collection[UserKey],
        *,
        fanout: Fanout = Fanout.WRITE,
        readonly: Collection[UserKey] = (),
    ) -> ConversationId:
        """A group, at version 1."""
        ...

    async def change_group(self, id_: ConversationId) -> None:
        """Its membership changes: the version rises."""
        ...

    async def make_device(self, user: UserKey) -> DeviceKey:
        """A device at cursor 0."""
        ...

    async def cursor(self, device: DeviceKey) -> int:
        """How far a device is."""
        ...

    async def events(self, delivery: DeliveryId) -> list[tuple[int, str]]:
        """What a delivery has been through: (version, state)."""
        ...

    async def attempts(self, delivery: DeliveryId) -> list[tuple[int, datetime, str | None]]:
        """Its tries: (number, started, outcome)."""
        ...

    def sibling(self) -> Store:
        """The same data through another process's eyes, as far as that is possible here."""
        ...


class MemoryWorld:
    """Around the memory store."""

    def __init__(self) -> None:
        self.store: Store = MemoryStore(clock=lambda: NOW, idempotency_ttl=TTL)
        self._memory = self.store
        assert isinstance(self._memory, MemoryStore)
        self._count = 0
        self._devices = 0
        self.people = self._make(5)

    def _make(self, count: int) -> tuple[UserKey, ...]:
        made = tuple(UserKey(self._count + n + 1) for n in range(count))
        self._count += count
        for user in made:
            self._memory.put_user(user, f"u{user}")
        return made

    async def make_people(self, count: int) -> tuple[UserKey, ...]:
        return self._make(count)

    async def make_group(
        self,
        id_: str,
        members: Collection[UserKey],
        *,
        fanout: Fanout = Fanout.WRITE,
        readonly: Collection[UserKey] = (),
    ) -> ConversationId:
        conversation = Conversation(
            ConversationId(id_),
            APP,
            ConversationKind.GROUP,
            fanout,
            1,
            tuple(members),
            frozenset(readonly),
        )
        self._memory.put_conversation(conversation)
        return conversation.id

    async def change_group(self, id_: ConversationId) -> None:
        snapshot = (await self.store.conversations([id_]))[id_]
        self._memory.put_conversation(snapshot)

    async def make_device(self, user: UserKey) -> DeviceKey:
        self._devices += 1
        device = DeviceKey(self._devices)
        self._memory.put_device(device, user)
        return device

    async def cursor(self, device: DeviceKey) -> int:
        return self._memory.cursor(device)

    async def events(self, delivery: DeliveryId) -> list[tuple[int, str]]:
        return [(version, state.value) for version, state in self._memory.events.get(delivery, [])]

    async def attempts(self, delivery: DeliveryId) -> list[tuple[int, datetime, str | None]]:
        return [
            (a.number, a.started_at, type(a.outcome).__name__.lower() if a.outcome else None)
            for (id_, _), a in sorted(self._memory.attempts.items())
            if id_ == delivery
        ]

    def sibling(self) -> Store:
        return self.store


class SqlWorld:
    """Around the SQL store."""

    def __init__(self, store: SqlStore, sibling: SqlStore, people: tuple[UserKey, ...]) -> None:
        self.store: Store = store
        self.database = store.database
        self.people = people
        self._sibling = sibling

    async def make_people(self, count: int) -> tuple[UserKey, ...]:
        return await _make_people(self.database_store, count)

    @property
    def database_store(self) -> SqlStore:
        assert isinstance(self.store, SqlStore)
        return self.store

    async def make_group(
        self,
        id_: str,
        members: Collection[UserKey],
        *,
        fanout: Fanout = Fanout.WRITE,
        readonly: Collection[UserKey] = (),
    ) -> ConversationId:
        row = {"id": id_, "app_id": APP, "kind": "group", "title": "", "fanout": fanout.value, "version": 1,
               "member_count": len(members), "metadata": "{}", "created_at": NOW}  # fmt: skip
        rows = [
            {
                "conversation_id": id_,
                "user_id": user,
                "role": "readonly" if user in readonly else "member",
                "joined_seq": 0,
                "read_seq": 0,
                "muted": False,
                "joined_at": NOW,
            }
            for user in members
        ]
        async with self.database.writing() as connection:
            await connection.execute(insert(metadata.tables["conversation"]).values(row))
            await connection.execute(insert(metadata.tables["member"]), rows)
        return ConversationId(id_)

    async def change_group(self, id_: ConversationId) -> None:
        table = metadata.tables["conversation"]
        async with self.database.writing() as connection:
            await connection.execute(
                update(table).where(table.c.id == id_).values(version=table.c.version + 1)
            )

    async def make_device(self, user: UserKey) -> DeviceKey:
        table = metadata.tables["device"]
        async with self.database.writing() as connection:
            count = await connection.scalar(select(func.count()).select_from(table))
            row = {
                "user_id": user,
                "device_id": f"d{count}",
                "platform": "web",
                "name": "",
                "cursor": 0,
                "created_at": NOW,
            }
            done = await connection.execute(insert(table).values(row))
            assert done.inserted_primary_key is not None
            return DeviceKey(done.inserted_primary_key[0])

    async def cursor(self, device: DeviceKey) -> int:
        table = metadata.tables["device"]
        rows = await self.database.rows(select(table.c.cursor).where(table.c.id == device))
        return int(rows[0].cursor)

    async def events(self, delivery: DeliveryId) -> list[tuple[int, str]]:
        table = metadata.tables["delivery_event"]
        query = select(table).where(table.c.delivery_id == delivery).order_by(table.c.version)
        return [(row.version, row.state) for row in await self.database.rows(query)]

    async def attempts(self, delivery: DeliveryId) -> list[tuple[int, datetime, str | None]]:
        table = metadata.tables["attempt"]
        query = select(table).where(table.c.delivery_id == delivery).order_by(table.c.number)
        return [(row.number, row.started_at, row.outcome) for row in await self.database.rows(query)]

    def sibling(self) -> Store:
        return self._sibling


@asynccontextmanager
async def sql_world(url: str, *, redis_url: str = "") -> AsyncIterator[SqlWorld]:
    """A world in a migrated database, emptied first; with a Redis URL (emptied by the caller) it is plan 1's."""
    settings = Settings(
        database_url=url,
        redis_url=redis_url,
        store="redis" if redis_url else "sql",
        idempotency_ttl=TTL,
    )
    async with (
        open_chosen_store(settings, clock=lambda: NOW) as store,
        open_chosen_store(settings, clock=lambda: NOW) as sibling,
    ):
        async with store.database.writing() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(delete(table))
            row = {"id": APP, "name": "", "settings": "{}", "created_at": NOW}
            await connection.execute(insert(metadata.tables["app"]).values(row))
        yield SqlWorld(store, sibling, await _make_people(store, 5))


@asynccontextmanager
async def open_chosen_store(settings: Settings, *, clock: Clock) -> AsyncIterator[SqlStore]:
    """The store of either plan, without what a start checks."""
    if settings.store == "sql":
        async with open_store(settings, clock=clock) as store:
            yield store
        return
    async with open_database(settings) as database, open_redis(settings.redis) as link:
        yield Plan1Store(database, settings, link, clock=clock)


async def _make_people(store: SqlStore, count: int) -> tuple[UserKey, ...]:
    table = metadata.tables["user"]
    async with store.database.writing() as connection:
        known = await connection.scalar(select(func.coalesce(func.max(table.c.id), 0)))
        first = int(known or 0) + 1
        rows = [
            {
                "id": number,
                "app_id": APP,
                "user_id": f"u{number}",
                "name": "",
                "locale": "zh-CN",
                "timezone": "Asia/Shanghai",
                "preferences": "{}",
                "created_at": NOW,
            }
            for number in range(first, first + count)
        ]
        await connection.execute(insert(table), rows)
    return tuple(UserKey(number) for number in range(first, first + count))


__all__ = ["APP", "NOW", "TTL", "MemoryWorld", "SqlWorld", "Store", "World", "sql_world"]
