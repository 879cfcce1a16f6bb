"""Rows of webhooks as values, and the sealed list of an endpoint's secrets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from hub.core.message import AppId
from hub.core.webhooks import (
    Endpoint,
    EndpointId,
    HookDelivery,
    HookState,
    WebhookEvent,
    WebhookEventId,
    WebhookSecret,
)
from hub.store.columns import from_micros, to_micros
from hub.store.secrets import SecretBox
from hub.store.webhook_outbox import events_of

_secrets = msgspec.json.Decoder(list[tuple[str, int | None]])
_MAX_SECRETS = 4
"""How many sign at most: each adds a signature to a header."""


def endpoint_of(row: Row[Any]) -> Endpoint:
    """An endpoint, without its secrets."""
    return Endpoint(
        id=EndpointId(row.id),
        app=AppId(row.app_id),
        url=row.url,
        events=events_of(row.events),
        description=row.description,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        disabled_reason=row.disabled_reason,
    )


def event_of(row: Row[Any]) -> WebhookEvent:
    """An event."""
    return WebhookEvent(
        id=WebhookEventId(row.id),
        app=AppId(row.app_id),
        type=row.type,
        at=row.at,
        data=row.data,
        endpoint=None if row.endpoint_id is None else EndpointId(row.endpoint_id),
    )


def hook_delivery_of(row: Row[Any]) -> HookDelivery:
    """One event's way to one endpoint."""
    return HookDelivery(
        event=WebhookEventId(row.event_id),
        endpoint=EndpointId(row.endpoint_id),
        state=HookState(row.state),
        attempts=row.attempts,
        due_at=row.due_at,
        status=row.status,
        error=row.error,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def sealed(box: SecretBox, secrets: Sequence[WebhookSecret]) -> str:
    """The column of these secrets, the newest first; the oldest beyond a few are left out."""
    values = [
        (one.secret, None if one.expires_at is None else to_micros(one.expires_at))
        for one in secrets[:_MAX_SECRETS]
    ]
    return box.seal(msgspec.json.encode(values))


def unsealed(box: SecretBox, text: str, now: datetime) -> tuple[WebhookSecret, ...]:
    """The secrets of a column that still sign. Raises Unavailable where no key of ours opens it."""
    found = [
        WebhookSecret(secret, None if until is None else from_micros(until))
        for secret, until in _secrets.decode(box.open(text))
    ]
    return tuple(one for one in found if one.expires_at is None or one.expires_at > now)
