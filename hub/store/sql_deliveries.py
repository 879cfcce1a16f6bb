"""Delivery rows: read by what they wait for, written by compare-and-set, with their whole story kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.delivery import Attempt, Delivery, DeliveryId, DeliveryState, followers
from hub.core.identity import Recipient
from hub.core.message import NotificationId, UserKey
from hub.core.ports import Clock, NotificationRow
from hub.store import sql_rows as rows
from hub.store.columns import to_micros
from hub.store.sql_bulk import Clash, Insertion, Listing
from hub.store.sql_engine import Database
from hub.store.tables import metadata
from hub.store.webhook_deliveries import Before, put_delivery_events

ATTEMPT = metadata.tables["attempt"]
DELIVERY = metadata.tables["delivery"]
DELIVERY_EVENT = metadata.tables["delivery_event"]
NOTIFICATION = metadata.tables["notification"]
USER = metadata.tables["user"]

_FINAL = [state.value for state in DeliveryState if state.final]
_OPEN = [state.value for state in DeliveryState if not state.final]
_columns = [DELIVERY.c[name] for name in rows.DELIVERY_COLUMNS]

_new = Insertion(DELIVERY, rows.DELIVERY_COLUMNS, Clash.IGNORE)
# The rows are there and locked: an upsert is the one bulk update that all databases have.
_changed = Insertion(DELIVERY, rows.DELIVERY_COLUMNS, Clash.UPDATE, rows.DELIVERY_CHANGES)
_events = Insertion(DELIVERY_EVENT, rows.EVENT_COLUMNS, Clash.IGNORE)
_started = Insertion(ATTEMPT, rows.ATTEMPT_COLUMNS, Clash.IGNORE)
_finished = Insertion(ATTEMPT, rows.ATTEMPT_COLUMNS, Clash.UPDATE, rows.ATTEMPT_RESULT)


class SqlDeliveries:
    """`DeliveryStore`. `clock` dates the events."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._dialect = database.dialect
        self._clock = clock
        self._ids = Listing(self._dialect, id=str)
        self._numbers = Listing(self._dialect, id=int)
        ids = self._ids.select
        self._by_id = select(*_columns).where(DELIVERY.c.id.in_(ids))
        self._known = select(DELIVERY.c.id).where(DELIVERY.c.id.in_(ids))
        self._locked = (
            select(DELIVERY.c.id, DELIVERY.c.version, DELIVERY.c.state, DELIVERY.c.read)
            .where(DELIVERY.c.id.in_(ids))
            .order_by(DELIVERY.c.id)
            .with_for_update()
        )
        self._notifications = select(NOTIFICATION).where(NOTIFICATION.c.id.in_(ids))
        users = self._numbers.select
        # In two halves, each of which is ranges of the index on (user, state, due_at).
        mine = select(*_columns).where(DELIVERY.c.user_id.in_(users))
        self._open = union_all(
            mine.where(DELIVERY.c.state.in_(_OPEN)),
            mine.where(DELIVERY.c.state.in_(_FINAL), DELIVERY.c.due_at.is_not(None)),
        )
        person = (USER.c.id, USER.c.user_id, USER.c.locale, USER.c.timezone, USER.c.preferences)
        self._recipients = select(*person).where(USER.c.id.in_(users))

    async def deliveries(self, ids: Collection[DeliveryId]) -> Sequence[Delivery]:
        """See the port."""
        if not ids:
            return []
        found = await self._database.rows(self._by_id, self._ids.of(list(ids)))
        return [rows.delivery_of(row) for row in found]

    async def due(self, *, now: datetime, channels: Collection[str] | None, limit: int) -> Sequence[Delivery]:
        """See the port."""
        query = select(*_columns).where(DELIVERY.c.due_at <= now)
        if channels is not None:
            query = query.where(DELIVERY.c.channel.in_(sorted(channels)))
        found = await self._database.rows(query.order_by(DELIVERY.c.due_at).limit(limit))
        return [rows.delivery_of(row) for row in found]

    async def open_of_users(self, users: Collection[UserKey]) -> Sequence[Delivery]:
        """See the port."""
        if not users:
            return []
        found = await self._database.rows(self._open, self._numbers.of(list(users)))
        return [rows.delivery_of(row) for row in found]

    async def by_provider_id(self, channel: str, provider_id: str) -> Delivery | None:
        """See the port; the newest, should a provider repeat itself."""
        query = (
            select(*_columns)
            .where(DELIVERY.c.channel == channel, DELIVERY.c.provider_id == provider_id)
            .order_by(DELIVERY.c.created_at.desc())
            .limit(1)
        )
        return next(map(rows.delivery_of, await self._database.rows(query)), None)

    async def notifications(
        self, ids: Collection[NotificationId]
    ) -> Mapping[NotificationId, NotificationRow]:
        """See the port."""
        if not ids:
            return {}
        found = await self._database.rows(self._notifications, self._ids.of(list(ids)))
        return {row.id: rows.notification_of(row) for row in found}

    async def recipients(self, users: Collection[UserKey]) -> Mapping[UserKey, Recipient]:
        """See the port."""
        if not users:
            return {}
        found = await self._database.rows(self._recipients, self._numbers.of(list(users)))
        return {row.id: Recipient(row.user_id, row.locale, row.timezone, row.preferences) for row in found}

    async def save(
        self, changes: Sequence[Delivery], *, new: Sequence[Delivery] = (), attempts: Sequence[Attempt] = ()
    ) -> frozenset[DeliveryId]:
        """See the port."""
        if not changes:
            return frozenset()
        return await self._database.write(lambda c: self._save(c, changes, new, attempts))

    async def note_attempts(self, attempts: Sequence[Attempt]) -> None:
        """See the port."""
        if attempts:
            await self._database.write(lambda c: self._note_attempts(c, attempts))

    async def _save(
        self,
        connection: AsyncConnection,
        changes: Sequence[Delivery],
        new: Sequence[Delivery],
        attempts: Sequence[Attempt],
    ) -> frozenset[DeliveryId]:
        written, before = await self._write(connection, changes)
        inserted = await self._insert(connection, followers(new, changes, {one.id for one in written}))
        await self._note_events(connection, written, inserted)
        told = [*((d, d.version + 1) for d in written), *((d, d.version) for d in inserted)]
        await put_delivery_events(
            connection, self._dialect, told, before, attempts=attempts, at=self._clock()
        )
        ids = frozenset(delivery.id for delivery in (*written, *inserted))
        await self._note_attempts(connection, [a for a in attempts if a.delivery in ids])
        return ids

    async def _write(
        self, connection: AsyncConnection, changes: Sequence[Delivery]
    ) -> tuple[list[Delivery], Before]:
        """Lock, compare, write. Of two changes of one row the first counts."""
        found = await connection.execute(self._locked, self._ids.of([c.id for c in changes]))
        known = {row.id: row for row in found}
        versions = {id_: row.version for id_, row in known.items()}
        written = [c for c in changes if versions.pop(c.id, None) == c.version]
        values = [rows.delivery_values(change, version=change.version + 1) for change in written]
        await _changed.run(connection, self._dialect, values)
        return written, {id_: (row.state, row.read) for id_, row in known.items()}

    async def _insert(self, connection: AsyncConnection, new: Sequence[Delivery]) -> list[Delivery]:
        if not new:
            return []
        values = [rows.delivery_values(delivery, version=delivery.version) for delivery in new]
        await _new.run(connection, self._dialect, values)
        known = set(await connection.scalars(self._known, self._ids.of([d.id for d in new])))
        return [delivery for delivery in new if delivery.id in known]

    async def _note_events(
        self, connection: AsyncConnection, written: Iterable[Delivery], inserted: Iterable[Delivery]
    ) -> None:
        at = to_micros(self._clock())
        events = [rows.event_values(d, version=d.version + 1, at=at) for d in written]
        events += [rows.event_values(d, version=d.version, at=at) for d in inserted]
        await _events.run(connection, self._dialect, events)

    async def _note_attempts(self, connection: AsyncConnection, attempts: Sequence[Attempt]) -> None:
        """A start that comes after its end changes nothing; an end keeps the start's time."""
        started = [rows.attempt_values(a) for a in attempts if a.finished_at is None]
        finished = [rows.attempt_values(a) for a in attempts if a.finished_at is not None]
        await _started.run(connection, self._dialect, started)
        await _finished.run(connection, self._dialect, finished)
