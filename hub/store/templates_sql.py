"""Hub templates on SQL: implements core.templates.TemplateBook."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Row, Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import NotFound
from hub.core.message import AppId
from hub.core.ports import Clock, NewId
from hub.core.records import PageRequest, Slice
from hub.core.templates import ChannelMapping, LocaleText, TemplateVersion
from hub.store.directory_base import AUDIT, Int32, dumps, insert_ignore, place, slice_of, values_of
from hub.store.directory_cache import Remembered
from hub.store.sql_engine import Database
from hub.store.tables_templates import TemplateRow, TemplateVersionRow

TEMPLATE: Table = TemplateRow.metadata.tables["template"]
VERSION: Table = TemplateVersionRow.metadata.tables["template_version"]

_FOREVER = float("inf")
_KEPT = 1_000


class StoredTemplate(msgspec.Struct, frozen=True):
    """A version as its column holds it."""

    texts: Mapping[str, LocaleText]
    default_locale: str
    mappings: tuple[ChannelMapping, ...] = ()
    variables: Mapping[str, str] = msgspec.field(default_factory=dict)


def _stored(version: TemplateVersion) -> tuple[str, str]:
    """The content as text in its author's order, and a digest that is equal for equal contents in any order."""
    body = StoredTemplate(version.texts, version.default_locale, version.mappings, version.variables)
    ordered = msgspec.json.encode(body, order="deterministic")
    return msgspec.json.encode(body).decode(), hashlib.sha256(ordered).hexdigest()


def _version_of(row: Row[Any]) -> TemplateVersion:
    body = msgspec.json.decode(row.body, type=StoredTemplate)
    return TemplateVersion(
        app=AppId(row.app_id),
        key=row.key,
        version=row.version,
        texts=body.texts,
        default_locale=body.default_locale,
        mappings=body.mappings,
        variables=body.variables,
        created_at=row.created_at,
        created_by=row.created_by,
    )


_NEWEST = (
    select(VERSION)
    .join(
        TEMPLATE,
        (TEMPLATE.c.app_id == VERSION.c.app_id)
        & (TEMPLATE.c.key == VERSION.c.key)
        & (TEMPLATE.c.latest == VERSION.c.version),
    )
    .where(TEMPLATE.c.archived_at.is_(None))
)


class SqlTemplates:
    """Versions are remembered for ever (at most `_KEPT`), the newest of each for a few seconds."""

    def __init__(self, database: Database, *, clock: Clock, new_id: NewId) -> None:
        self._database = database
        self._clock = clock
        self._new_id = new_id
        self._versions: Remembered[tuple[AppId, str, int], TemplateVersion | None] = Remembered(
            ttl=_FOREVER, capacity=_KEPT
        )
        self._latest: Remembered[tuple[AppId, str], TemplateVersion | None] = Remembered(capacity=_KEPT)

    async def version(self, app: AppId, key: str, version: int) -> TemplateVersion | None:
        """That version."""
        place_ = (app, key, version)
        found = await self._versions.get(place_, lambda: self._one(app, key, version))
        if found is None:
            self._versions.forget(place_)  # it may yet be made
        return found

    async def _one(self, app: AppId, key: str, version: int) -> TemplateVersion | None:
        mine = (VERSION.c.app_id == app, VERSION.c.key == key, VERSION.c.version == version)
        rows = await self._database.rows(select(VERSION).where(*mine))
        return _version_of(rows[0]) if rows else None

    async def latest(self, app: AppId, key: str) -> TemplateVersion | None:
        """The newest version that is not archived; a few seconds old at most."""
        return await self._latest.get((app, key), lambda: self._newest(app, key))

    async def _newest(self, app: AppId, key: str) -> TemplateVersion | None:
        rows = await self._database.rows(_NEWEST.where(TEMPLATE.c.app_id == app, TEMPLATE.c.key == key))
        return _version_of(rows[0]) if rows else None

    async def versions(self, app: AppId, key: str, page: PageRequest) -> Slice[TemplateVersion]:
        """All versions, newest first, archived or not."""
        query = select(VERSION).where(VERSION.c.app_id == app, VERSION.c.key == key)
        if page.after is not None:
            query = query.where(VERSION.c.version < values_of(page.after, tuple[Int32])[0])
        return await slice_of(
            self._database,
            query.order_by(VERSION.c.version.desc()),
            page,
            read=_version_of,
            mark=lambda row: place(row.version),
        )

    async def keys(self, app: AppId, page: PageRequest) -> Slice[TemplateVersion]:
        """The newest version of each template that is not archived, by key."""
        query = _NEWEST.where(TEMPLATE.c.app_id == app)
        if page.after is not None:
            query = query.where(TEMPLATE.c.key > values_of(page.after, tuple[str])[0])
        return await slice_of(
            self._database,
            query.order_by(TEMPLATE.c.key),
            page,
            read=_version_of,
            mark=lambda row: place(row.key),
        )

    async def publish(self, version: TemplateVersion, *, actor: str) -> TemplateVersion:
        """Store it under the next number, unless the newest says the same."""

        async def work(connection: AsyncConnection) -> TemplateVersion:
            return await self._publish(connection, version, actor)

        made = await self._database.write(work)
        self._latest.forget((version.app, version.key))
        return made

    async def _publish(
        self, connection: AsyncConnection, version: TemplateVersion, actor: str
    ) -> TemplateVersion:
        now = self._clock()
        body, digest = _stored(version)
        mine = (TEMPLATE.c.app_id == version.app, TEMPLATE.c.key == version.key)
        fresh = {
            "app_id": version.app,
            "key": version.key,
            "latest": 0,
            "digest": "",
            "updated_at": now,
            "archived_at": None,
        }
        await connection.execute(insert_ignore(connection, TEMPLATE, [fresh]))
        # The row is there now; its lock orders those who publish at once.
        head = (await connection.execute(select(TEMPLATE).where(*mine).with_for_update())).one()
        number = head.latest if head.digest == digest else head.latest + 1
        if number != head.latest:
            row = {
                "app_id": version.app,
                "key": version.key,
                "version": number,
                "body": body,
                "created_at": now,
                "created_by": actor,
            }
            await connection.execute(insert(VERSION).values(row))
        if number != head.latest or head.archived_at is not None:
            change = {"latest": number, "digest": digest, "updated_at": now, "archived_at": None}
            await connection.execute(update(TEMPLATE).where(*mine).values(change))
            await self._audit(
                connection, version.app, actor, "template.publish", version.key, {"version": number}
            )
        query = select(VERSION).where(
            VERSION.c.app_id == version.app, VERSION.c.key == version.key, VERSION.c.version == number
        )
        return _version_of((await connection.execute(query)).one())

    async def archive(self, app: AppId, key: str, *, actor: str) -> None:
        """New notifications can no longer name it. Raises NotFound template_not_found."""

        async def work(connection: AsyncConnection) -> None:
            mine = (TEMPLATE.c.app_id == app, TEMPLATE.c.key == key, TEMPLATE.c.archived_at.is_(None))
            now = self._clock()
            gone = await connection.execute(
                update(TEMPLATE).where(*mine).values(archived_at=now, updated_at=now)
            )
            if gone.rowcount == 0:
                raise NotFound("template_not_found", "There is no such template in your app.")
            await self._audit(connection, app, actor, "template.archive", key, {})

        await self._database.write(work)
        self._latest.forget((app, key))

    async def _audit(
        self,
        connection: AsyncConnection,
        app: AppId,
        actor: str,
        action: str,
        target: str,
        detail: Mapping[str, object],
    ) -> None:
        row = {
            "id": self._new_id("aud"),
            "app_id": app,
            "at": self._clock(),
            "actor": actor,
            "action": action,
            "target": target,
            "detail": dumps(detail),
        }
        await connection.execute(insert(AUDIT).values(row))
