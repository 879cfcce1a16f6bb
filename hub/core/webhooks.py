"""What business systems hear: events, the endpoints that subscribe to them, and each one's way there."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NewType, Protocol

from hub.core.message import AppId
from hub.core.records import PageRequest, Slice

EndpointId = NewType("EndpointId", str)
WebhookEventId = NewType("WebhookEventId", str)


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """A signing secret (`whsec_…`). During a rotation the old one signs too, until `expires_at`."""

    secret: str = field(repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an app wants to hear of `events` (exact types, or a prefix ending in `.*`, or `*`)."""

    id: EndpointId
    app: AppId
    url: str
    events: tuple[str, ...]
    description: str
    created_at: datetime
    disabled_at: datetime | None = None
    disabled_reason: str = ""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """Something that happened. `data` is encoded JSON. With `endpoint` only that one hears of it."""

    id: WebhookEventId
    app: AppId
    type: str
    at: datetime
    data: str
    endpoint: EndpointId | None = None


class HookState(StrEnum):
    """How far an event got with one endpoint."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up after the last try; can be replayed."""


@dataclass(frozen=True, slots=True)
class HookDelivery:
    """One event on its way to one endpoint."""

    event: WebhookEventId
    endpoint: EndpointId
    state: HookState
    attempts: int
    due_at: datetime | None
    status: int | None = None
    error: str = ""
    version: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    """When it was put, and when it last changed; None where nobody asked the store."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Everything that one try needs."""

    delivery: HookDelivery
    event: WebhookEvent
    url: str
    secrets: tuple[WebhookSecret, ...]


@dataclass(frozen=True, slots=True)
class HookAnswer:
    """What an endpoint answered. `status` None: it did not. `body` is its beginning, for the operator and, for a
    decision, for the hub. `retry_after` is how long it asks to be left alone."""

    status: int | None
    body: bytes = field(default=b"", repr=False)
    error: str = ""
    retry_after: timedelta | None = None

    @property
    def ok(self) -> bool:
        """Whether it was taken."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class HookHealth:
    """How an endpoint does: what waits (counted up to HEALTH_LIMIT) and since when, what was given up, and the newest
    failure. Nothing but 410 and an operator disables an endpoint, so this is where a dead one shows."""

    pending: int
    failed: int
    waiting_since: datetime | None = None
    last_failure_at: datetime | None = None
    last_status: int | None = None
    last_error: str = ""


class HookSender(Protocol):
    """Posts one event, signed as Standard Webhooks say. One try, bounded in time; never raises for what a network or
    an endpoint can do, and never connects to where the hub may not go."""

    async def post(
        self, outgoing: Outgoing, *, now: datetime, timeout: timedelta | None = None
    ) -> HookAnswer:
        """Try once; `timeout` in place of the sender's own."""
        ...


class HookCaller(Protocol):
    """Asks a business system something right now, and says what may be asked at all."""

    async def ask(
        self,
        app: AppId,
        endpoint: EndpointId,
        type_: str,
        data: str,
        *,
        timeout: timedelta = timedelta(seconds=10),
        id_: WebhookEventId | None = None,
    ) -> HookAnswer:
        """Post one event (`data` is encoded JSON) and return the answer: one try, kept nowhere. The same `id_` again
        lets the receiver see that it is a repeat; without one it is new. Raises errors.NotFound for an endpoint that
        the app does not have, errors.Refused webhook_disabled, errors.Unavailable; a network's faults are answers."""
        ...

    def check_url(self, url: str) -> None:
        """Raises errors.Refused webhook_url_refused for an address that the hub would never post to. A name is
        looked up at each post only: what it stands for may change."""
        ...


class WebhookChange(Protocol):
    """Changes to endpoints, inside one transaction of the directory."""

    async def create_webhook(self, url: str, events: Sequence[str], description: str) -> tuple[Endpoint, str]:
        """A new endpoint, and its secret. Raises Conflict webhooks_full past MAX_ENDPOINTS of one app."""
        ...

    async def patch_webhook(
        self,
        endpoint: EndpointId,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Endpoint:
        """Change what is not None. What waited while it was disabled is due again when it is enabled. Raises
        NotFound."""
        ...

    async def rotate_webhook_secret(self, endpoint: EndpointId, *, overlap: timedelta) -> str:
        """A new secret; those before it sign beside it until `overlap` has passed. Raises NotFound."""
        ...

    async def delete_webhook(self, endpoint: EndpointId) -> None:
        """Remove an endpoint; what was on its way is forgotten. Raises NotFound."""
        ...


class WebhookBook(Protocol):
    """Endpoints, events and deliveries in SQL. Every method may raise errors.Unavailable."""

    async def endpoint(self, app: AppId, endpoint: EndpointId) -> Endpoint | None:
        """One endpoint."""
        ...

    async def endpoints(self, app: AppId) -> Sequence[Endpoint]:
        """The app's endpoints, oldest first."""
        ...

    async def signed(
        self, app: AppId, endpoint: EndpointId
    ) -> tuple[Endpoint, tuple[WebhookSecret, ...]] | None:
        """One endpoint with the secrets that sign for it, the newest first."""
        ...

    async def health(self, endpoint: EndpointId) -> HookHealth:
        """How it does."""
        ...

    async def wants(self, app: AppId, prefix: str) -> bool:
        """Whether any enabled endpoint of the app may want events whose type begins with `prefix` (`delivery.`).
        Cheap: an answer may be five seconds old."""
        ...

    async def event(
        self, app: AppId, event: WebhookEventId
    ) -> tuple[WebhookEvent, Sequence[HookDelivery]] | None:
        """One event with its ways to the app's endpoints."""
        ...

    async def deliveries(
        self, endpoint: EndpointId, page: PageRequest, *, state: HookState | None = None
    ) -> Slice[HookDelivery]:
        """An endpoint's deliveries, newest first."""
        ...

    async def put_events(self, events: Sequence[WebhookEvent]) -> None:
        """Keep events for every endpoint that subscribes (a transaction of its own; who changes something else at the
        same time uses the store's own function inside that transaction). The same id twice is once."""
        ...

    async def claim(
        self,
        *,
        now: datetime,
        lease_until: datetime,
        limit: int,
        each: int | None = None,
        busy: Mapping[EndpointId, int] | None = None,
    ) -> Sequence[Outgoing]:
        """Due deliveries of enabled endpoints, claimed: nobody else gets them before `lease_until`. At most `each` of
        one endpoint, less what the caller has under way to it (`busy`), so that none fills a claim alone."""
        ...

    async def settle(
        self, delivery: HookDelivery, answer: HookAnswer, *, next_due: datetime | None, now: datetime
    ) -> bool:
        """Note the answer. `next_due` None ends it (DELIVERED or FAILED by the answer). False: overtaken."""
        ...

    async def disable(self, endpoint: EndpointId, reason: str, *, now: datetime) -> None:
        """Send nothing more to it (410 Gone, or an operator). What is pending waits until it is enabled."""
        ...

    async def replay(
        self,
        app: AppId,
        *,
        events: Collection[WebhookEventId] = (),
        failed_since: datetime | None = None,
        endpoint: EndpointId | None = None,
        now: datetime,
    ) -> int:
        """Make deliveries due again: these events', or all that failed since, MAX_REPLAY at once (the oldest first).
        What is pending already stays as it is. Returns how many."""
        ...

    async def forget_events(self, before: datetime) -> int:
        """Remove events from before a time with their deliveries, and what deleted endpoints left. Returns how many
        events."""
        ...


def subscribes(patterns: Collection[str], type_: str) -> bool:
    """Whether an event of this type is among `patterns`: exact types, prefixes ending in `.*`, or `*`."""
    return any(
        pattern in ("*", type_) or (pattern.endswith(".*") and type_.startswith(pattern[:-1]))
        for pattern in patterns
    )


def may_want(patterns: Collection[str], prefix: str) -> bool:
    """Whether some type that begins with `prefix` is among `patterns`."""
    stems = [pattern.removesuffix("*") for pattern in patterns]
    return any(
        stem.startswith(prefix) or (p.endswith("*") and prefix.startswith(stem))
        for stem, p in zip(stems, patterns, strict=True)
    )


def new_webhook_secret() -> str:
    """`whsec_` and 32 random bytes in base64, as Standard Webhooks ask."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


EVERY_ENDPOINT: Final = "*"
"""A delivery's `callback` that names no endpoint: all that subscribe."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  (not one: how one begins)
MAX_ENDPOINTS: Final = 50
"""Of one app: each event is copied to each endpoint that wants it."""
MAX_REPLAY: Final = 1_000
HEALTH_LIMIT: Final = 1_000

BACKOFF_SECONDS: Mapping[int, int] = {
    1: 0,
    2: 5,
    3: 300,
    4: 1_800,
    5: 7_200,
    6: 18_000,
    7: 36_000,
    8: 50_400,
    9: 72_000,
    10: 86_400,
}
"""Seconds before each try, as Standard Webhooks suggest: three days in all."""
