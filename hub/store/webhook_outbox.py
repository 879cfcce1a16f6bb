"""The outbox of webhooks: events are put by whoever changes something, inside that very transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.webhooks import EndpointId, HookState, WebhookEvent, subscribes
from hub.store.columns import to_micros
from hub.store.sql_bulk import Clash, Insertion, Listing, insert_all
from hub.store.sql_engine import Dialect
from hub.store.tables import metadata
from hub.store.tables_webhooks import WebhookEndpointRow

ENDPOINT = metadata.tables[str(WebhookEndpointRow.__tablename__)]
EVENT = metadata.tables["webhook_event"]
DELIVERY = metadata.tables["webhook_delivery"]

_events = Insertion(EVENT, ("id", "app_id", "type", "at", "data", "endpoint_id"), Clash.IGNORE)
_deliveries = Insertion(
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
    Clash.IGNORE,
)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """An enabled endpoint, and what it wants to hear of."""

    id: EndpointId
    events: tuple[str, ...]

    def wants(self, event: WebhookEvent) -> bool:
        """Whether this event is for it: chosen by name, or subscribed to."""
        return event.endpoint == self.id or (event.endpoint is None and subscribes(self.events, event.type))


async def put_events(connection: AsyncConnection, dialect: Dialect, events: Sequence[WebhookEvent]) -> None:
    """Keep events, and one delivery of each for every enabled endpoint of its app that subscribes to it; an event with
    `endpoint` goes to that one, subscribed or not. Part of the caller's transaction: rolled back with it. The same id
    twice is once. An event that nobody wants leaves no row. Three statements, however many events.
    """
    if not events:
        return
    subscribers = await _subscribers(connection, dialect, sorted({event.app for event in events}))
    wanted = [
        (event, [one.id for one in subscribers.get(event.app, ()) if one.wants(event)])
        for event in sorted(events, key=lambda event: event.id)
    ]
    kept = [(event, ids) for event, ids in wanted if ids]
    rows = [
        (event.id, id_, HookState.PENDING.value, 0, *_times(event, 1), "", 0, *_times(event, 2))
        for event, ids in kept
        for id_ in ids
    ]
    values = [(e.id, e.app, e.type, to_micros(e.at), e.data, e.endpoint) for e, _ in kept]
    await insert_all(connection, dialect, [(_events, values), (_deliveries, rows)])


def _times(event: WebhookEvent, count: int) -> tuple[int, ...]:
    return (to_micros(event.at),) * count


async def _subscribers(
    connection: AsyncConnection, dialect: Dialect, apps: Sequence[str]
) -> Mapping[str, Sequence[Subscriber]]:
    listing, query = _enabled(dialect)
    found: dict[str, list[Subscriber]] = {}
    for row in await connection.execute(query, listing.of(apps)):
        found.setdefault(row.app_id, []).append(Subscriber(EndpointId(row.id), events_of(row.events)))
    return found


@cache
def _enabled(dialect: Dialect) -> tuple[Listing, Select[tuple[str, str, str]]]:
    listing = Listing(dialect, id=str)
    query = (
        select(ENDPOINT.c.id, ENDPOINT.c.app_id, ENDPOINT.c.events)
        .where(ENDPOINT.c.app_id.in_(listing.select), ENDPOINT.c.disabled_at.is_(None))
        .order_by(ENDPOINT.c.id)
    )
    return listing, query


def events_of(text: str) -> tuple[str, ...]:
    """What an endpoint subscribes to, from its column."""
    return msgspec.json.decode(text, type=tuple[str, ...])
