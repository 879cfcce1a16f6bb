"""`MediaBook` in SQL: files, and the messages that show them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, delete, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.media import MediaId, MediaRecord, MediaState
from hub.core.message import AppId, ConversationId, MessageId, UserKey
from hub.store.columns import EPOCH
from hub.store.directory_base import insert_ignore
from hub.store.sql_engine import Database
from hub.store.tables import metadata
from hub.store.tables_media import MediaRef, MediaRow

MEDIA = metadata.tables[str(MediaRow.__tablename__)]
REF = metadata.tables[str(MediaRef.__tablename__)]
MEMBER = metadata.tables["member"]
_CONFIRMED: Final = EPOCH
"""`created_at` of a reference whose message has been seen: the sweep need not look at it again."""


def record_of(row: Row[Any]) -> MediaRecord:
    """A row of the table as a value."""
    return MediaRecord(
        id=MediaId(row.id),
        app=AppId(row.app_id),
        owner=UserKey(row.user_id),
        name=row.name,
        mime=row.mime,
        size=row.size,
        sha256=row.sha256,
        state=MediaState(row.state),
        created_at=row.created_at,
    )


class SqlMedia:
    """`MediaBook`. Messages are asked for elsewhere: they may lie in another store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: MediaRecord) -> None:
        """See the port."""
        row = {
            "id": record.id,
            "app_id": record.app,
            "user_id": record.owner,
            "name": record.name,
            "mime": record.mime,
            "size": record.size,
            "sha256": record.sha256,
            "state": record.state.value,
            "created_at": record.created_at,
            "touched_at": record.created_at,
        }

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(MEDIA).values(row))

        await self._database.write(work)

    async def ready(self, media: MediaId, *, size: int, sha256: str, now: datetime) -> MediaRecord | None:
        """See the port."""
        mine = (MEDIA.c.id == media, MEDIA.c.state != MediaState.GOING.value)
        given = {"state": MediaState.READY.value, "size": size, "sha256": sha256, "touched_at": now}

        async def work(connection: AsyncConnection) -> MediaRecord | None:
            await connection.execute(update(MEDIA).where(*mine).values(given))
            row = (await connection.execute(select(MEDIA).where(*mine))).one_or_none()
            return None if row is None else record_of(row)

        return await self._database.write(work)

    async def get(self, app: AppId, media: MediaId) -> MediaRecord | None:
        """See the port."""
        query = select(MEDIA).where(
            MEDIA.c.id == media, MEDIA.c.app_id == app, MEDIA.c.state != MediaState.GOING.value
        )
        rows = await self._database.rows(query)
        return record_of(rows[0]) if rows else None

    async def any_app(self, media: MediaId) -> MediaRecord | None:
        """See the port."""
        query = select(MEDIA).where(MEDIA.c.id == media, MEDIA.c.state != MediaState.GOING.value)
        rows = await self._database.rows(query)
        return record_of(rows[0]) if rows else None

    async def files(self, app: AppId, media: Collection[MediaId]) -> Mapping[MediaId, MediaRecord]:
        """See the port."""
        query = select(MEDIA).where(
            MEDIA.c.id.in_(list(media)), MEDIA.c.app_id == app, MEDIA.c.state == MediaState.READY.value
        )
        return {MediaId(row.id): record_of(row) for row in await self._database.rows(query)}

    async def claim(
        self, app: AppId, wanted: Mapping[MessageId, Collection[MediaId]], *, now: datetime
    ) -> None:
        """See the port. Touching the row waits for who is taking it away, and keeps it from whoever comes next."""
        files = sorted({one for named in wanted.values() for one in named})

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(
                update(MEDIA)
                .where(
                    MEDIA.c.id.in_(files),
                    MEDIA.c.app_id == app,
                    MEDIA.c.state == MediaState.READY.value,
                )
                .values(touched_at=now)
            )
            rows = [
                {"media_id": one, "message_id": message, "created_at": now}
                for message, named in wanted.items()
                for one in named
            ]
            await connection.execute(insert_ignore(connection, REF, rows))

        await self._database.write(work)

    async def references(
        self, media: Collection[MediaId], *, limit: int
    ) -> Mapping[MediaId, Sequence[MessageId]]:
        """See the port. Ids of messages sort by time."""
        found: dict[MediaId, Sequence[MessageId]] = {}
        for one in media:
            newest = select(REF.c.message_id).where(REF.c.media_id == one)
            rows = await self._database.rows(newest.order_by(REF.c.message_id.desc()).limit(limit))
            found[one] = [MessageId(row.message_id) for row in rows]
        return found

    async def standings(
        self, user: UserKey, conversations: Collection[ConversationId]
    ) -> Mapping[ConversationId, int]:
        """See the port."""
        if not conversations:
            return {}
        query = select(MEMBER.c.conversation_id, MEMBER.c.joined_seq, MEMBER.c.cleared_seq).where(
            MEMBER.c.user_id == user, MEMBER.c.conversation_id.in_(sorted(conversations))
        )
        return {
            ConversationId(row.conversation_id): max(row.joined_seq, row.cleared_seq)
            for row in await self._database.rows(query)
        }

    async def of_user(
        self, user: UserKey, *, after: MediaId, limit: int, app: AppId | None = None
    ) -> Sequence[MediaRecord]:
        """See the port."""
        query = (
            select(MEDIA)
            .where(MEDIA.c.user_id == user, MEDIA.c.id > after, MEDIA.c.state == MediaState.READY.value)
            .order_by(MEDIA.c.id)
            .limit(limit)
        )
        if app is not None:
            query = query.where(MEDIA.c.app_id == app)
        return [record_of(row) for row in await self._database.rows(query)]

    async def take_unused(self, *, before: datetime, limit: int) -> Sequence[MediaId]:
        """See the port."""
        unused = and_(
            MEDIA.c.state.in_([MediaState.READY.value, MediaState.PENDING.value]),
            MEDIA.c.touched_at < before,
            ~select(REF.c.media_id).where(REF.c.media_id == MEDIA.c.id).exists(),
        )
        return await self._take(or_(MEDIA.c.state == MediaState.GOING.value, unused), limit)

    async def take_of_user(self, user: UserKey, *, limit: int) -> Sequence[MediaId]:
        """See the port."""
        return await self._take(MEDIA.c.user_id == user, limit)

    async def _take(self, which: ColumnElement[bool], limit: int) -> Sequence[MediaId]:
        query: Select[Any] = select(MEDIA.c.id).where(which).order_by(MEDIA.c.id).limit(limit)

        async def work(connection: AsyncConnection) -> Sequence[MediaId]:
            ids = list(await connection.scalars(query.with_for_update()))
            if ids:
                # Asked again with the rows locked: somebody may have referred to one meanwhile.
                going = update(MEDIA).where(MEDIA.c.id.in_(ids), which).values(state=MediaState.GOING.value)
                await connection.execute(going)
            taken = select(MEDIA.c.id).where(MEDIA.c.id.in_(ids), MEDIA.c.state == MediaState.GOING.value)
            return [MediaId(one) for one in await connection.scalars(taken)] if ids else []

        return await self._database.write(work)

    async def forget(self, media: Collection[MediaId]) -> None:
        """See the port."""
        ids = sorted(media)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(REF).where(REF.c.media_id.in_(ids)))
            await connection.execute(delete(MEDIA).where(MEDIA.c.id.in_(ids)))

        await self._database.write(work)

    async def stale_references(self, *, before: datetime, limit: int) -> Sequence[tuple[MediaId, MessageId]]:
        """See the port."""
        query = (
            select(REF.c.media_id, REF.c.message_id)
            .where(REF.c.created_at < before, REF.c.created_at > _CONFIRMED)
            .order_by(REF.c.created_at)
            .limit(limit)
        )
        return [
            (MediaId(row.media_id), MessageId(row.message_id)) for row in await self._database.rows(query)
        ]

    async def confirm(self, alive: Collection[tuple[MediaId, MessageId]]) -> None:
        """See the port."""
        if not alive:
            return
        these = tuple_(REF.c.media_id, REF.c.message_id).in_(sorted(alive))

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(REF).where(these).values(created_at=_CONFIRMED))

        await self._database.write(work)

    async def drop_references(self, gone: Collection[tuple[MediaId, MessageId]]) -> None:
        """See the port."""
        if not gone:
            return
        these = tuple_(REF.c.media_id, REF.c.message_id).in_(sorted(gone))

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(REF).where(these))

        await self._database.write(work)
