"""What routing must know and count: facts at the moment of a claim, frequency caps, digests, dead letters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, and_, or_, select

from hub.core.control import EventScope, ReplayFilter
from hub.core.delivery import Delivery, DeliveryId, DeliveryState
from hub.core.message import AppId, NotificationId
from hub.core.ports import Clock
from hub.core.records import AppSettings
from hub.core.routing_ports import Facts
from hub.store import sql_rows as rows
from hub.store.clock import utc_now
from hub.store.sql_bulk import Listing
from hub.store.sql_engine import Database
from hub.store.tables import metadata

APP = metadata.tables["app"]
DELIVERY = metadata.tables["delivery"]
MEMBER = metadata.tables["member"]
MESSAGE = metadata.tables["message"]
NOTIFICATION = metadata.tables["notification"]

_CANCELABLE = [state.value for state in DeliveryState if state.cancelable]
_NEWER = 500
_OLDER = 100
_THREAD = 1_000
_columns = [DELIVERY.c[name] for name in rows.DELIVERY_COLUMNS]
_recipients = msgspec.json.Decoder(frozenset[int])


class SqlRouting:
    """`RoutingStore`: what is read and looked for. Counts and gatherings are in sql_gathering."""

    def __init__(self, database: Database, *, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._ids = Listing(database.dialect, id=str)
        self._names = Listing(database.dialect, id=str)
        self._numbers = Listing(database.dialect, id=int)

    async def settings_of(self, app: AppId) -> AppSettings:
        """See the port."""
        found = await self._database.rows(select(APP.c.settings).where(APP.c.id == app))
        return msgspec.json.decode(found[0].settings, type=AppSettings) if found else AppSettings()

    async def facts(self, rows: Sequence[Delivery]) -> Mapping[DeliveryId, Facts]:
        """See the port."""
        standing = await self._standing(rows)
        newer = await self._newer({row.notification for row in rows if row.notification})
        found = {}
        for row in rows:
            read_seq, muted = standing.get((row.conversation, row.user), (0, False))
            after = newer.get(row.notification, frozenset()) if row.notification else frozenset()
            found[row.id] = Facts(row.seq <= read_seq, muted, row.user in after)
        return found

    async def _standing(self, rows: Sequence[Delivery]) -> Mapping[tuple[str, int], tuple[int, bool]]:
        if not rows:
            return {}
        places = sorted({row.conversation for row in rows})
        query = select(
            MEMBER.c.conversation_id,
            MEMBER.c.user_id,
            MEMBER.c.read_seq,
            MEMBER.c.muted,
            MEMBER.c.muted_until,
        ).where(MEMBER.c.conversation_id.in_(places), MEMBER.c.user_id.in_(self._numbers.select))
        found = await self._database.rows(query, self._numbers.of(sorted({row.user for row in rows})))
        return {
            (row.conversation_id, row.user_id): (row.read_seq, _quiet(row, self._clock())) for row in found
        }

    async def _newer(self, ids: Collection[NotificationId]) -> Mapping[NotificationId, frozenset[int]]:
        """Who was sent something newer under the same collapse key, by the older notification."""
        if not ids:
            return {}
        newer = NOTIFICATION.alias("newer")
        same = and_(
            newer.c.app_id == NOTIFICATION.c.app_id,
            newer.c.collapse_key == NOTIFICATION.c.collapse_key,
            newer.c.id > NOTIFICATION.c.id,
        )
        query = (
            select(NOTIFICATION.c.id, newer.c.recipients)
            .join_from(NOTIFICATION, newer, same)
            .where(NOTIFICATION.c.id.in_(self._ids.select), NOTIFICATION.c.collapse_key.is_not(None))
            .order_by(newer.c.id.desc())
            .limit(_NEWER)
        )
        found: dict[NotificationId, frozenset[int]] = defaultdict(frozenset)
        for row in await self._database.rows(query, self._ids.of(sorted(ids))):
            found[row.id] |= _recipients.decode(row.recipients)
        return found

    async def superseded_by(self, notifications: Collection[NotificationId]) -> Sequence[Delivery]:
        """See the port."""
        query = select(
            NOTIFICATION.c.id, NOTIFICATION.c.app_id, NOTIFICATION.c.collapse_key, NOTIFICATION.c.recipients
        ).where(NOTIFICATION.c.id.in_(self._ids.select), NOTIFICATION.c.collapse_key.is_not(None))
        found: dict[DeliveryId, Delivery] = {}
        for row in await self._database.rows(query, self._ids.of(sorted(notifications))):
            found.update({old.id: old for old in await self._superseded(row)})
        return list(found.values())

    async def _superseded(self, newer: Any) -> list[Delivery]:
        older = (
            select(NOTIFICATION.c.id)
            .where(
                NOTIFICATION.c.app_id == newer.app_id,
                NOTIFICATION.c.collapse_key == newer.collapse_key,
                NOTIFICATION.c.id < newer.id,
            )
            .order_by(NOTIFICATION.c.id.desc())
            .limit(_OLDER)
        )
        ids = [row.id for row in await self._database.rows(older)]
        if not ids:
            return []
        people = _recipients.decode(newer.recipients)
        query = select(*_columns).where(
            DELIVERY.c.notification_id.in_(self._ids.select), DELIVERY.c.state.in_(_CANCELABLE)
        )
        found = await self._database.rows(query, self._ids.of(ids))
        return [rows.delivery_of(row) for row in found if row.user_id in people]

    async def of_notifications(self, app: AppId, ids: Collection[NotificationId]) -> Sequence[Delivery]:
        """See the port."""
        if not ids:
            return []
        query = select(*_columns).where(
            DELIVERY.c.app_id == app, DELIVERY.c.notification_id.in_(self._ids.select)
        )
        found = await self._database.rows(query, self._ids.of(sorted(ids)))
        return [rows.delivery_of(row) for row in found]

    async def in_scope(self, app: AppId, scope: EventScope) -> Sequence[NotificationId]:
        """See the port."""
        wanted: list[ColumnElement[bool]] = []
        if scope.notifications:
            wanted.append(NOTIFICATION.c.id.in_(sorted(scope.notifications)[:_THREAD]))
        if scope.thread is not None:
            wanted.append(NOTIFICATION.c.thread == scope.thread)
        if scope.dedupe_key is not None:
            wanted.append(NOTIFICATION.c.dedupe_key == scope.dedupe_key)
        if not wanted:
            return []
        query = (
            select(NOTIFICATION.c.id)
            .where(NOTIFICATION.c.app_id == app, or_(*wanted))
            .order_by(NOTIFICATION.c.id.desc())
            .limit(_THREAD)
        )
        return [NotificationId(row.id) for row in await self._database.rows(query)]

    async def dead(self, app: AppId, wanted: ReplayFilter) -> Sequence[Delivery]:
        """See the port."""
        failed, unknown = DeliveryState.FAILED.value, DeliveryState.UNKNOWN.value
        held = and_(DELIVERY.c.state == unknown, DELIVERY.c.due_at.is_(None))
        query = select(*_columns).where(
            DELIVERY.c.app_id == app, or_(DELIVERY.c.state == failed, held), *_narrowed(wanted)
        )
        query = query.order_by(DELIVERY.c.created_at, DELIVERY.c.id).limit(wanted.limit)
        return [rows.delivery_of(row) for row in await self._database.rows(query)]


def _quiet(member: Row[Any], now: datetime) -> bool:
    """Whether a member has muted the conversation at the moment."""
    return member.muted and (member.muted_until is None or member.muted_until > now)


def _narrowed(wanted: ReplayFilter) -> list[Any]:
    said = {
        DELIVERY.c.notification_id: wanted.notification,
        DELIVERY.c.user_id: wanted.user,
        DELIVERY.c.channel: wanted.channel,
        DELIVERY.c.state: wanted.state,
        DELIVERY.c.reason: wanted.reason,
    }
    narrowed = [column == value for column, value in said.items() if value is not None]
    if wanted.ids:
        narrowed.append(DELIVERY.c.id.in_(sorted(wanted.ids)[:_THREAD]))
    if wanted.since is not None:
        narrowed.append(DELIVERY.c.created_at >= wanted.since)
    if wanted.until is not None:
        narrowed.append(DELIVERY.c.created_at < wanted.until)
    return narrowed
