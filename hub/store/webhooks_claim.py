"""Claims of what webhooks are due, under a lease, and how each try ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, select, tuple_, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import Unavailable
from hub.core.message import AppId
from hub.core.webhooks import (
    EndpointId,
    HookAnswer,
    HookDelivery,
    HookState,
    Outgoing,
    WebhookEvent,
    WebhookEventId,
    WebhookSecret,
)
from hub.store.columns import UtcTime, to_micros
from hub.store.directory_base import Basis
from hub.store.sql_bulk import Clash, Insertion, Listing
from hub.store.webhook_outbox import DELIVERY, ENDPOINT, EVENT
from hub.store.webhooks_rows import unsealed

_ENDPOINTS_A_CLAIM = 64
_ERROR_LIMIT = 512

_claimed = Insertion(
    DELIVERY,
    (
        "event_id",
        "endpoint_id",
        "state",
        "attempts",
        "due_at",
        "error",
        "version",
        "created_at",
        "updated_at",
    ),
    Clash.UPDATE,
    ("attempts", "due_at", "version", "updated_at"),
)


class HookClaims:
    """The part of `WebhookBook` that a sender works with."""

    def __init__(self, basis: Basis) -> None:
        self._basis = basis
        self._database = basis.database
        self._dialect = basis.database.dialect
        pairs = Listing(self._dialect, event=str, endpoint=str)
        self._pairs = pairs
        key = tuple_(DELIVERY.c.event_id, DELIVERY.c.endpoint_id)
        self._locked = (
            select(DELIVERY.c.event_id, DELIVERY.c.endpoint_id, DELIVERY.c.version)
            .where(key.in_(pairs.select))
            .order_by(DELIVERY.c.event_id, DELIVERY.c.endpoint_id)
            .with_for_update()
        )
        first = (
            select(DELIVERY.c.due_at)
            .where(DELIVERY.c.endpoint_id == ENDPOINT.c.id, DELIVERY.c.due_at.is_not(None))
            .order_by(DELIVERY.c.due_at)
            .limit(1)
            .scalar_subquery()
        )
        self._due = (
            select(ENDPOINT.c.id, ENDPOINT.c.url, ENDPOINT.c.secrets)
            .where(ENDPOINT.c.disabled_at.is_(None), first <= bindparam("now", type_=UtcTime))
            .order_by(first)
            .limit(_ENDPOINTS_A_CLAIM)
        )

    async def claim(
        self,
        *,
        now: datetime,
        lease_until: datetime,
        limit: int,
        each: int | None = None,
        busy: Mapping[EndpointId, int] | None = None,
    ) -> Sequence[Outgoing]:
        """See the port. Endpoints in the order of what has waited longest."""
        room = {id_: (each or limit) - count for id_, count in (busy or {}).items()}
        full = [id_ for id_, left in room.items() if left <= 0]
        query = self._due.where(ENDPOINT.c.id.not_in(full)) if full else self._due
        endpoints = {row.id: row for row in await self._database.rows(query, {"now": now})}
        wanted = [(id_, min(room.get(EndpointId(id_), each or limit), limit)) for id_ in endpoints]
        if not wanted or limit <= 0:
            return []
        found = await self._database.rows(_first_of_each(wanted, now))
        rows = sorted(found, key=lambda row: (row.due_at, row.event_id))[:limit]
        taken = await self._database.write(lambda c: self._take(c, rows, now, lease_until))
        return [self._outgoing(row, endpoints[row.endpoint_id], now, lease_until) for row in taken]

    async def _take(
        self, connection: AsyncConnection, rows: Sequence[Row[Any]], now: datetime, lease_until: datetime
    ) -> Sequence[Row[Any]]:
        """Lock, compare, write: who comes second finds the version changed."""
        pairs = [(row.event_id, row.endpoint_id) for row in rows]
        found = await connection.execute(self._locked, self._pairs.of(pairs))
        versions = {(row.event_id, row.endpoint_id): row.version for row in found}
        taken = [row for row in rows if versions.get((row.event_id, row.endpoint_id)) == row.version]
        until, at = to_micros(lease_until), to_micros(now)
        values = [
            (
                row.event_id,
                row.endpoint_id,
                row.state,
                row.attempts + 1,
                until,
                row.error,
                row.version + 1,
                to_micros(row.created_at),
                at,
            )
            for row in taken
        ]
        await _claimed.run(connection, self._dialect, values)
        return taken

    def _outgoing(self, row: Row[Any], endpoint: Row[Any], now: datetime, lease_until: datetime) -> Outgoing:
        delivery = HookDelivery(
            event=WebhookEventId(row.event_id),
            endpoint=EndpointId(row.endpoint_id),
            state=HookState.PENDING,
            attempts=row.attempts + 1,
            due_at=lease_until,
            status=row.status,
            error=row.error,
            version=row.version + 1,
            created_at=row.created_at,
            updated_at=now,
        )
        event = WebhookEvent(delivery.event, AppId(row.app_id), row.type, row.at, row.data)
        return Outgoing(delivery, event, endpoint.url, self._secrets_of(endpoint, now))

    def _secrets_of(self, endpoint: Row[Any], now: datetime) -> tuple[WebhookSecret, ...]:
        """None where they cannot be opened: one such endpoint must not stop the others."""
        try:
            return unsealed(self._basis.secrets, endpoint.secrets, now)
        except Unavailable:
            return ()

    async def settle(
        self, delivery: HookDelivery, answer: HookAnswer, *, next_due: datetime | None, now: datetime
    ) -> bool:
        """See the port."""
        ended = HookState.DELIVERED if answer.ok else HookState.FAILED
        values = {
            "state": (ended if next_due is None else HookState.PENDING).value,
            "due_at": next_due,
            "status": answer.status,
            "error": answer.error[:_ERROR_LIMIT],
            "version": delivery.version + 1,
            "updated_at": now,
        }
        change = (
            update(DELIVERY)
            .where(
                DELIVERY.c.event_id == delivery.event,
                DELIVERY.c.endpoint_id == delivery.endpoint,
                DELIVERY.c.version == delivery.version,
            )
            .values(values)
        )

        async def work(connection: AsyncConnection) -> bool:
            return (await connection.execute(change)).rowcount == 1

        return await self._database.write(work)


def _first_of_each(wanted: Iterable[tuple[str, int]], now: datetime) -> Any:
    """The first due deliveries of each endpoint, with their events: one range of one index each."""
    parts = []
    for endpoint, count in wanted:
        mine = (
            select(DELIVERY, EVENT.c.app_id, EVENT.c.type, EVENT.c.at, EVENT.c.data)
            .join(EVENT, EVENT.c.id == DELIVERY.c.event_id)
            .where(DELIVERY.c.endpoint_id == endpoint, DELIVERY.c.due_at <= now)
            .order_by(DELIVERY.c.due_at)
            .limit(count)
            .subquery()
        )
        parts.append(select(mine))
    return union_all(*parts) if len(parts) > 1 else parts[0]
