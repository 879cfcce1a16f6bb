"""The book of webhooks in SQL: endpoints and events, what became of them, and what is sent again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.message import AppId
from hub.core.records import PageRequest, Slice
from hub.core.webhooks import (
    HEALTH_LIMIT,
    MAX_REPLAY,
    Endpoint,
    EndpointId,
    HookDelivery,
    HookHealth,
    HookState,
    WebhookEvent,
    WebhookEventId,
    WebhookSecret,
    may_want,
)
from hub.store.columns import from_micros, to_micros
from hub.store.directory_base import Basis, Micros, place, slice_of, values_of
from hub.store.sql_bulk import Listing
from hub.store.webhook_outbox import DELIVERY, ENDPOINT, EVENT, events_of, put_events
from hub.store.webhooks_claim import HookClaims
from hub.store.webhooks_rows import endpoint_of, event_of, hook_delivery_of, unsealed

_CHUNK = 200
_REASON_LIMIT = 256


class SqlWebhooks(HookClaims):
    """`WebhookBook`."""

    def __init__(self, basis: Basis) -> None:
        super().__init__(basis)
        self._ids = Listing(self._dialect, id=str)

    async def endpoint(self, app: AppId, endpoint: EndpointId) -> Endpoint | None:
        """See the port."""
        row = await self._endpoint(app, endpoint)
        return None if row is None else endpoint_of(row)

    async def endpoints(self, app: AppId) -> Sequence[Endpoint]:
        """See the port."""
        query = select(ENDPOINT).where(ENDPOINT.c.app_id == app)
        rows = await self._database.rows(query.order_by(ENDPOINT.c.created_at, ENDPOINT.c.id))
        return [endpoint_of(row) for row in rows]

    async def signed(
        self, app: AppId, endpoint: EndpointId
    ) -> tuple[Endpoint, tuple[WebhookSecret, ...]] | None:
        """See the port."""
        row = await self._endpoint(app, endpoint)
        if row is None:
            return None
        return endpoint_of(row), unsealed(self._basis.secrets, row.secrets, self._basis.clock())

    async def health(self, endpoint: EndpointId) -> HookHealth:
        """See the port."""

        async def work(connection: AsyncConnection) -> HookHealth:
            counts = []
            for state in (HookState.PENDING, HookState.FAILED):
                some = select(DELIVERY.c.event_id).where(*_in_state(endpoint, state)).limit(HEALTH_LIMIT)
                counted = select(func.count()).select_from(some.subquery())
                counts.append(int(await connection.scalar(counted) or 0))
            waiting = select(func.min(DELIVERY.c.created_at)).where(*_in_state(endpoint, HookState.PENDING))
            since = await connection.scalar(waiting)
            last = await connection.execute(_newest_failure(endpoint))
            row = last.one_or_none()
            if row is None:
                return HookHealth(counts[0], counts[1], since)
            return HookHealth(counts[0], counts[1], since, row.updated_at, row.status, row.error)

        return await self._database.read(work)

    async def wants(self, app: AppId, prefix: str) -> bool:
        """See the port."""
        patterns = await self._basis.caches.webhooks.get(app, lambda: self._patterns(app))
        return may_want(patterns, prefix)

    async def event(
        self, app: AppId, event: WebhookEventId
    ) -> tuple[WebhookEvent, Sequence[HookDelivery]] | None:
        """See the port."""
        found = await self._database.rows(select(EVENT).where(EVENT.c.id == event, EVENT.c.app_id == app))
        if not found:
            return None
        ways = select(DELIVERY).join(ENDPOINT, ENDPOINT.c.id == DELIVERY.c.endpoint_id)
        rows = await self._database.rows(
            ways.where(DELIVERY.c.event_id == event).order_by(DELIVERY.c.endpoint_id)
        )
        return event_of(found[0]), [hook_delivery_of(row) for row in rows]

    async def deliveries(
        self, endpoint: EndpointId, page: PageRequest, *, state: HookState | None = None
    ) -> Slice[HookDelivery]:
        """See the port."""
        at, id_ = DELIVERY.c.created_at, DELIVERY.c.event_id
        query = select(DELIVERY).where(DELIVERY.c.endpoint_id == endpoint)
        if state is not None:
            query = query.where(DELIVERY.c.state == state.value)
        if page.after is not None:
            micros, last = values_of(page.after, tuple[Micros, str])
            query = query.where(or_(at < from_micros(micros), and_(at == from_micros(micros), id_ < last)))
        return await slice_of(
            self._database,
            query.order_by(at.desc(), id_.desc()),
            page,
            read=hook_delivery_of,
            mark=lambda row: place(to_micros(row.created_at), row.event_id),
        )

    async def put_events(self, events: Sequence[WebhookEvent]) -> None:
        """See the port."""
        if events:
            await self._database.write(lambda c: put_events(c, self._dialect, events))

    async def disable(self, endpoint: EndpointId, reason: str, *, now: datetime) -> None:
        """See the port. What is under way may still be settled."""
        enabled = (ENDPOINT.c.id == endpoint, ENDPOINT.c.disabled_at.is_(None))
        values = {"disabled_at": now, "disabled_reason": reason[:_REASON_LIMIT]}
        pending = (DELIVERY.c.endpoint_id == endpoint, DELIVERY.c.due_at.is_not(None))

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(ENDPOINT).where(*enabled).values(values))
            await connection.execute(update(DELIVERY).where(*pending).values(due_at=None))

        await self._database.write(work)

    async def replay(
        self,
        app: AppId,
        *,
        events: Collection[WebhookEventId] = (),
        failed_since: datetime | None = None,
        endpoint: EndpointId | None = None,
        now: datetime,
    ) -> int:
        """See the port."""
        if not events and failed_since is None:
            return 0
        query = select(DELIVERY.c.event_id, DELIVERY.c.endpoint_id)
        query = query.join(ENDPOINT, ENDPOINT.c.id == DELIVERY.c.endpoint_id).where(
            ENDPOINT.c.app_id == app, DELIVERY.c.state != HookState.PENDING.value
        )
        parameters: dict[str, Any] = {}
        if events:
            query = query.where(DELIVERY.c.event_id.in_(self._ids.select))
            parameters = self._ids.of(sorted(events))
        if failed_since is not None:
            query = query.where(
                DELIVERY.c.state == HookState.FAILED.value, DELIVERY.c.updated_at >= failed_since
            )
        if endpoint is not None:
            query = query.where(DELIVERY.c.endpoint_id == endpoint)
        oldest = query.order_by(DELIVERY.c.created_at, DELIVERY.c.event_id).limit(MAX_REPLAY)
        found = await self._database.rows(oldest, parameters)
        return await self._database.write(lambda c: _again(c, found, now))

    async def forget_events(self, before: datetime) -> int:
        """See the port."""
        gone, old = 0, select(EVENT.c.id).where(EVENT.c.at < before).limit(_CHUNK)
        while found := [row.id for row in await self._database.rows(old)]:

            async def work(connection: AsyncConnection, found: Sequence[str] = found) -> int:
                await connection.execute(delete(DELIVERY).where(DELIVERY.c.event_id.in_(found)))
                return int((await connection.execute(delete(EVENT).where(EVENT.c.id.in_(found)))).rowcount)

            gone += await self._database.write(work)
        return gone

    async def _endpoint(self, app: AppId, endpoint: EndpointId) -> Row[Any] | None:
        query = select(ENDPOINT).where(ENDPOINT.c.id == endpoint, ENDPOINT.c.app_id == app)
        return next(iter(await self._database.rows(query)), None)

    async def _patterns(self, app: AppId) -> tuple[str, ...]:
        enabled = (ENDPOINT.c.app_id == app, ENDPOINT.c.disabled_at.is_(None))
        rows = await self._database.rows(select(ENDPOINT.c.events).where(*enabled))
        return tuple(sorted({pattern for row in rows for pattern in events_of(row.events)}))


def _in_state(endpoint: EndpointId, state: HookState) -> tuple[ColumnElement[bool], ...]:
    return (DELIVERY.c.endpoint_id == endpoint, DELIVERY.c.state == state.value)


def _newest_failure(endpoint: EndpointId) -> Select[Any]:
    """The last try that failed, given up or to be repeated."""
    columns = (DELIVERY.c.updated_at, DELIVERY.c.status, DELIVERY.c.error)
    states = (HookState.PENDING.value, HookState.FAILED.value)
    failed = (DELIVERY.c.endpoint_id == endpoint, DELIVERY.c.state.in_(states), DELIVERY.c.error != "")
    return select(*columns).where(*failed).order_by(DELIVERY.c.updated_at.desc()).limit(1)


async def _again(connection: AsyncConnection, found: Sequence[Row[Any]], now: datetime) -> int:
    """Make these due, from their first try; what became pending meanwhile stays as it is."""
    changed = 0
    values = {
        "state": HookState.PENDING.value,
        "attempts": 0,
        "due_at": now,
        "version": DELIVERY.c.version + 1,
        "updated_at": now,
    }
    for endpoint in sorted({row.endpoint_id for row in found}):
        ids = [row.event_id for row in found if row.endpoint_id == endpoint]
        for start in range(0, len(ids), _CHUNK):
            some = (
                DELIVERY.c.endpoint_id == endpoint,
                DELIVERY.c.event_id.in_(ids[start : start + _CHUNK]),
                DELIVERY.c.state != HookState.PENDING.value,
            )
            changed += (await connection.execute(update(DELIVERY).where(*some).values(values))).rowcount
    return changed
