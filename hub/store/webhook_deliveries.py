"""What business systems hear of deliveries: a change of state as an event, put in the transaction of the change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.delivery import Attempt, Delivery, DeliveryId, DeliveryState
from hub.core.message import UserKey
from hub.core.webhooks import EVERY_ENDPOINT, EndpointId, WebhookEvent, WebhookEventId
from hub.store.sql_bulk import Listing
from hub.store.sql_engine import Dialect
from hub.store.tables import metadata
from hub.store.webhook_outbox import put_events

USER = metadata.tables["user"]

Before = Mapping[DeliveryId, tuple[str, bool]]
"""The state and the read mark that each delivery had before; one that is new is not in it."""

_TOLD: Mapping[DeliveryState, str] = {
    DeliveryState.DELIVERED: "delivery.delivered",
    DeliveryState.FAILED: "delivery.failed",
    DeliveryState.UNKNOWN: "delivery.unknown",
    DeliveryState.SKIPPED: "delivery.skipped",
}
_READ = "delivery.read"


async def put_delivery_events(
    connection: AsyncConnection,
    dialect: Dialect,
    changes: Sequence[tuple[Delivery, int]],
    before: Before,
    *,
    attempts: Sequence[Attempt] = (),
    at: datetime,
) -> None:
    """Tell of `changes` (each with the version it is now at) that somebody asked to hear of. Nothing to tell costs
    nothing; else two statements more than `put_events`."""
    told = [
        (delivery, version, type_)
        for delivery, version in changes
        if delivery.callback is not None
        for type_ in _types(delivery, before.get(delivery.id))
    ]
    if not told:
        return
    users = await _user_ids(connection, dialect, sorted({delivery.user for delivery, _, _ in told}))
    codes = {a.delivery: code for a in attempts if (code := getattr(a.outcome, "code", ""))}
    events = [
        WebhookEvent(
            id=_id(delivery.id, version, type_),
            app=delivery.app,
            type=type_,
            at=at,
            data=_data(delivery, users.get(delivery.user), codes.get(delivery.id), at),
            endpoint=None if delivery.callback == EVERY_ENDPOINT else EndpointId(delivery.callback or ""),
        )
        for delivery, version, type_ in told
    ]
    await put_events(connection, dialect, events)


def _types(delivery: Delivery, before: tuple[str, bool] | None) -> Iterable[str]:
    """What is new about it."""
    state, read = before or ("", False)
    type_ = _TOLD.get(delivery.state)
    if type_ is not None and state != delivery.state.value:
        yield type_
    if delivery.read and not read:
        yield _READ


def _id(delivery: DeliveryId, version: int, type_: str) -> WebhookEventId:
    """Of (delivery, version), so that the same change told twice is one event."""
    suffix = "r" if type_ == _READ else ""
    return WebhookEventId(f"evt_{delivery.removeprefix('dlv_')}_{version}{suffix}")


def _data(delivery: Delivery, user_id: str | None, code: str | None, at: datetime) -> str:
    data: dict[str, Any] = {
        "notification": delivery.notification,
        "delivery": delivery.id,
        "user_id": user_id,
        "channel": delivery.channel,
        "state": delivery.state.value,
        "reason": None if delivery.reason is None else delivery.reason.value,
        "code": code,
        "provider_id": delivery.provider_id,
        "at": at,
    }
    return msgspec.json.encode(data).decode()


async def _user_ids(
    connection: AsyncConnection, dialect: Dialect, users: Sequence[UserKey]
) -> Mapping[UserKey, str]:
    numbers = Listing(dialect, id=int)
    query = select(USER.c.id, USER.c.user_id).where(USER.c.id.in_(numbers.select))
    found = await connection.execute(query, numbers.of(users))
    return {UserKey(row.id): row.user_id for row in found}
