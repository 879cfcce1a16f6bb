"""What business systems hear: events, the endpoints that subscribe to them, and each one's way there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType, Protocol

from hub.core.message import AppId

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
    decision, for the hub."""

    status: int | None
    body: bytes = b""
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was taken."""
        return self.status is not None and 200 <= self.status < 300


class HookSender(Protocol):
    """Posts one event, signed as Standard Webhooks say. One try, bounded in time; never raises for what a network or
    an endpoint can do, and never connects to where the hub may not go."""

    async def post(self, outgoing: Outgoing, *, now: datetime) -> HookAnswer:
        """Try once."""
        ...


class WebhookBook(Protocol):
    """Endpoints, events and deliveries in SQL. Every method may raise errors.Unavailable."""

    async def endpoint(self, app: AppId, endpoint: EndpointId) -> Endpoint | None:
        """One endpoint."""
        ...

    async def endpoints(self, app: AppId) -> Sequence[Endpoint]:
        """The app's endpoints, oldest first."""
        ...

    async def put_events(self, events: Sequence[WebhookEvent]) -> None:
        """Keep events for every endpoint that subscribes (a transaction of its own; who changes something else at the
        same time uses the store's own function inside that transaction). The same id twice is once."""
        ...

    async def claim(self, *, now: datetime, lease_until: datetime, limit: int) -> Sequence[Outgoing]:
        """Due deliveries of enabled endpoints, claimed: nobody else gets them before `lease_until`."""
        ...

    async def settle(
        self, delivery: HookDelivery, answer: HookAnswer, *, next_due: datetime | None, now: datetime
    ) -> bool:
        """Note the answer. `next_due` None ends it (DELIVERED or FAILED by the answer). False: overtaken."""
        ...

    async def disable(self, endpoint: EndpointId, reason: str, *, now: datetime) -> None:
        """Send nothing more to it (410 Gone, or an operator)."""
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
        """Make deliveries due again: these events', or all that failed since. Returns how many."""
        ...


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
