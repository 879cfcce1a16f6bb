"""Users and their devices: reads, numbers, and writes inside a change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import NotFound
from hub.core.identity import Recipient
from hub.core.message import AppId, UserKey
from hub.core.records import DeviceRecord, PageRequest, Slice, UserRecord, UserWrite
from hub.store.columns import to_micros
from hub.store.directory_base import (
    DEVICE,
    USER,
    Basis,
    BigInt,
    place,
    slice_of,
    values_of,
)
from hub.store.removed_names import removed_at
from hub.store.sql_bulk import Clash, Insertion, names
from hub.store.sql_engine import dialect_of

_CHUNK = 1_000
_users = Insertion(
    USER,
    (
        "app_id",
        "user_id",
        "name",
        "locale",
        "timezone",
        "preferences",
        "created_at",
        "tokens_after",
    ),
    Clash.IGNORE,
)


def user_of(row: Row[Any]) -> UserRecord:
    """A row of the user table as a value."""
    return UserRecord(
        key=UserKey(row.id),
        app=AppId(row.app_id),
        id=row.user_id,
        name=row.name,
        locale=row.locale,
        timezone=row.timezone,
        preferences=row.preferences,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
    )


def _device_of(row: Row[Any]) -> DeviceRecord:
    times = (row.created_at, row.last_seen_at, row.kicked_at)
    return DeviceRecord(row.device_id, row.platform, row.name, row.cursor, *times)


async def find_numbers(
    connection: AsyncConnection, app: AppId, user_ids: Collection[str]
) -> dict[str, UserKey]:
    """The numbers of those users of the app that exist."""
    found: dict[str, UserKey] = {}
    wanted = sorted(user_ids)
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        listed = names(dialect_of(connection.engine.url))
        query = select(USER.c.user_id, USER.c.id).where(
            USER.c.app_id == app, USER.c.user_id.in_(listed.select)
        )
        rows = await connection.execute(query, listed.of(some))
        found.update({row.user_id: UserKey(row.id) for row in rows})
    return found


async def insert_users(
    connection: AsyncConnection, app: AppId, users: Sequence[UserWrite], now: datetime
) -> None:
    """Add those that do not exist. In the order of their ids, so that two writers cannot wait for each other."""
    wanted = sorted(users, key=lambda user: user.id)
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        removed = await removed_at(connection, app, [user.id for user in some])
        rows = [_new_row(app, user, now, removed.get(user.id)) for user in some]
        await _users.run(connection, dialect_of(connection.engine.url), rows)


def _new_row(app: AppId, user: UserWrite, now: datetime, removed: datetime | None) -> tuple[object, ...]:
    return (
        app,
        user.id,
        user.name or "",
        user.locale or "zh-CN",
        user.timezone or "Asia/Shanghai",
        user.preferences or "{}",
        to_micros(now),
        None if removed is None else to_micros(removed),
    )


async def write_users(
    connection: AsyncConnection, app: AppId, users: Sequence[UserWrite], now: datetime
) -> list[tuple[UserRecord, bool]]:
    """Make or change each; of one named twice the last one holds."""
    wanted = {user.id: user for user in users}
    existing = await find_numbers(connection, app, wanted)
    await insert_users(connection, app, [user for user in wanted.values() if user.id not in existing], now)
    for user_id, key in sorted(existing.items(), key=lambda item: item[1]):
        await _change_user(connection, key, wanted[user_id])
    records: dict[str, UserRecord] = {}
    ids = sorted(wanted)
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        listed = names(dialect_of(connection.engine.url))
        query = select(USER).where(USER.c.app_id == app, USER.c.user_id.in_(listed.select))
        rows = await connection.execute(query, listed.of(some))
        records.update({row.user_id: user_of(row) for row in rows})
    return [(records[user.id], user.id not in existing) for user in users]


async def _change_user(connection: AsyncConnection, key: UserKey, user: UserWrite) -> None:
    fields = {
        "name": user.name,
        "locale": user.locale,
        "timezone": user.timezone,
        "preferences": user.preferences,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    if given:
        await connection.execute(update(USER).where(USER.c.id == key).values(given))


class UserReads:
    """The directory's questions about people."""

    _basis: Basis

    async def user_keys(self, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """The hub's numbers of users; unknown ones are missing. One query at most."""
        known = self._basis.caches.numbers.keys(app, user_ids)
        missing = set(user_ids).difference(known)
        if missing:
            found = await self._basis.database.read(lambda c: find_numbers(c, app, missing))
            self._basis.caches.numbers.learn(app, found)
            known.update(found)
        return known

    async def ensure_users(self, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """The same, and unknown ones are made."""
        known = dict(await self.user_keys(app, user_ids))
        missing = sorted(set(user_ids).difference(known))
        if missing:
            now = self._basis.clock()

            async def work(connection: AsyncConnection) -> dict[str, UserKey]:
                await insert_users(connection, app, [UserWrite(name) for name in missing], now)
                return await find_numbers(connection, app, missing)

            found = await self._basis.database.write(work)
            self._basis.caches.numbers.learn(app, found)
            known.update(found)
        return known

    async def recipients(self, users: Collection[UserKey]) -> Mapping[UserKey, Recipient]:
        """How these users want to be spoken to; unknown ones are missing."""
        found: dict[UserKey, Recipient] = {}
        wanted = sorted(users)
        for start in range(0, len(wanted), _CHUNK):
            query = select(
                USER.c.id, USER.c.user_id, USER.c.locale, USER.c.timezone, USER.c.preferences
            ).where(USER.c.id.in_(wanted[start : start + _CHUNK]))
            for row in await self._basis.database.rows(query):
                found[UserKey(row.id)] = Recipient(row.user_id, row.locale, row.timezone, row.preferences)
        return found

    async def users(self, app: AppId, page: PageRequest) -> Slice[UserRecord]:
        """The app's users, by their ids."""
        # No id of a product has a slash: what begins with one is the shell of a user who was removed.
        query = (
            select(USER).where(USER.c.app_id == app, USER.c.user_id.not_like("/%")).order_by(USER.c.user_id)
        )
        if page.after is not None:
            query = query.where(USER.c.user_id > values_of(page.after, tuple[str])[0])
        return await slice_of(
            self._basis.database, query, page, read=user_of, mark=lambda row: place(row.user_id)
        )

    async def user(self, app: AppId, user_id: str) -> UserRecord:
        """One user. Raises NotFound."""
        query = select(USER).where(USER.c.app_id == app, USER.c.user_id == user_id)
        rows = await self._basis.database.rows(query)
        if not rows:
            raise NotFound("user_not_found", "There is no such user.")
        return user_of(rows[0])

    async def last_seen(self, users: Collection[UserKey]) -> Mapping[UserKey, datetime]:
        """When users were last online; those never seen are missing."""
        query = select(USER.c.id, USER.c.last_seen_at).where(
            USER.c.id.in_(users), USER.c.last_seen_at.is_not(None)
        )
        return {UserKey(row.id): row.last_seen_at for row in await self._basis.database.rows(query)}

    async def device(self, user: UserKey, device_id: str) -> DeviceRecord | None:
        """One device of a user."""
        query = select(DEVICE).where(DEVICE.c.user_id == user, DEVICE.c.device_id == device_id)
        rows = await self._basis.database.rows(query)
        return _device_of(rows[0]) if rows else None

    async def devices(self, user: UserKey, page: PageRequest) -> Slice[DeviceRecord]:
        """A user's devices."""
        query = select(DEVICE).where(DEVICE.c.user_id == user).order_by(DEVICE.c.id)
        if page.after is not None:
            query = query.where(DEVICE.c.id > values_of(page.after, tuple[BigInt])[0])
        return await slice_of(
            self._basis.database, query, page, read=_device_of, mark=lambda row: place(row.id)
        )
