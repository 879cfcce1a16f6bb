"""The directory's rooms on one database of any kind, with a clock to turn."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr
from sqlalchemy import insert

from hub.core.groups import GroupWrite
from hub.core.message import AppId, ConversationId, UserKey
from hub.core.records import (
    AppSettings,
    NewMember,
)
from hub.settings import Settings
from hub.store.directory_base import (
    MESSAGE,
    dumps,
)
from hub.store.directory_sql import DirectoryRooms, directory_rooms
from hub.store.sql_engine import Database, make_engine
from hub.store.tables import metadata

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
APP = AppId("shop")
OTHER = AppId("bank")
SECRET = SecretStr("bm90LWEtcmVhbC1rZXktMzItYnl0ZXMtbG9uZy0hISE=")


@dataclass
class World:
    """The rooms on one database, with a clock to turn and numbered ids."""

    rooms: DirectoryRooms
    database: Database
    now: datetime = NOW
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def users(self, *ids: str, app: AppId = APP) -> list[UserKey]:
        known = await self.rooms.directory.ensure_users(app, ids)
        return [known[user_id] for user_id in ids]

    async def group(self, *members: UserKey, title: str = "群聊 🎉") -> ConversationId:
        async with self.rooms.directory.change(APP, actor="test") as change:
            wanted = GroupWrite(title=title, metadata="{}")
            made = await change.create_group(wanted, [NewMember(user) for user in members])
        return made.record.id

    async def say(self, conversation: str, seq: int, sender: int, *, kind: str = "text") -> None:
        row = {
            "id": f"msg_{seq:08}_{conversation[-8:]}",
            "app_id": APP,
            "conversation_id": conversation,
            "seq": seq,
            "sender_id": sender,
            "sender": "小王",
            "kind": kind,
            "body": dumps({"text": f"你好 {seq} 🎉"}),
            "created_at": self.now + timedelta(seconds=seq),
        }
        await self.insert(MESSAGE, row)

    async def insert(self, table: object, *rows: dict[str, object]) -> None:
        async with self.database.writing() as connection:
            for row in rows:
                await connection.execute(insert(table).values(row))  # type: ignore[arg-type]


@asynccontextmanager
async def open_rooms(database_url: str) -> AsyncIterator[World]:
    settings = Settings(database_url=database_url, secret_key=SECRET, fanout_limit=3)
    engine = make_engine(settings)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    database = Database(engine, timeout=timedelta(seconds=10))
    here: World
    rooms = directory_rooms(
        database,
        settings,
        clock=lambda: here.now,
        new_id=lambda prefix: f"{prefix}_{next(here.numbers):012}",
    )
    here = World(rooms, database)
    async with rooms.directory.change(APP, actor="test") as change:
        await change.create_app(APP, "商店", AppSettings())
        await change.create_app(OTHER, "银行", AppSettings())
    yield here
    await engine.dispose()
