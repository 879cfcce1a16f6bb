"""Schemas of webhooks: endpoints, events, and how each got there."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from hub.api.schemas import Duration, Line, Moment, Shown, Strict, example

_SECRET: Final = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"  # noqa: S105
_URL: Final = "https://oa.example.com/hooks/hub"
_ENDPOINT: Final[dict[str, Any]] = {
    "id": "whe_0195a1",
    "url": _URL,
    "events": ["delivery.*", "task.decided"],
    "description": "OA 系统",
    "enabled": True,
    "disabled_at": None,
    "disabled_reason": "",
    "created_at": "2026-03-01T01:00:00Z",
}
_HEALTH: Final[dict[str, Any]] = {
    "pending": 2,
    "failed": 0,
    "waiting_since": "2026-03-01T01:12:00Z",
    "last_failure_at": "2026-03-01T01:12:05Z",
    "last_status": 503,
    "last_error": "HTTP 503",
}
_WAY: Final[dict[str, Any]] = {
    "event": "evt_0195a1_3",
    "endpoint": "whe_0195a1",
    "state": "pending",
    "attempts": 2,
    "due_at": "2026-03-01T01:17:05Z",
    "status": 503,
    "error": "HTTP 503",
    "created_at": "2026-03-01T01:12:00Z",
    "updated_at": "2026-03-01T01:12:05Z",
}

EventPattern: TypeAlias = Annotated[
    str,
    StringConstraints(max_length=128, pattern=r"^(\*|[a-z][a-z0-9_]*(\.[a-z0-9_]+)*(\.\*)?)$"),
    Field(description="A type, everything under a prefix, or everything.", examples=["delivery.*"]),
]
EventPatterns: TypeAlias = Annotated[list[EventPattern], Field(min_length=1, max_length=32)]
Url: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2_048),
    Field(description="https://, a public host, port 443, 80 or above 1023.", examples=[_URL]),
]
Description: TypeAlias = Annotated[Line, StringConstraints(max_length=256)]
EventIdText: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
]


class WebhookNew(Strict):
    """A new endpoint."""

    model_config = example({"url": _URL, "events": ["delivery.*", "task.decided"], "description": "OA 系统"})

    url: Url
    events: EventPatterns = ["*"]  # noqa: RUF012  (copied by pydantic)
    description: Description = ""


class WebhookPatch(Strict):
    """What is left out stays as it is. An endpoint that is enabled again hears what waited for it."""

    model_config = example({"events": ["delivery.failed"], "enabled": True})

    url: Url | None = None
    events: EventPatterns | None = None
    description: Description | None = None
    enabled: bool | None = None


class WebhookShown(Shown):
    """An endpoint, without its secret."""

    model_config = example(_ENDPOINT, title="Webhook")

    id: str
    url: str
    events: list[str]
    description: str
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: str
    created_at: datetime


class WebhookCreated(WebhookShown):
    """An endpoint just made. `secret` signs what it gets, and is shown only now."""

    model_config = example({**_ENDPOINT, "secret": _SECRET}, title="WebhookCreated")

    secret: str


class HealthShown(Shown):
    """How an endpoint does. `pending` and `failed` are counted up to 1,000."""

    model_config = example(_HEALTH, title="WebhookHealth")

    pending: int = Field(description="Events on their way, or waiting to be tried again.")
    failed: int = Field(description="Events given up after the last try; they can be replayed.")
    waiting_since: datetime | None = Field(description="The oldest of those pending.")
    last_failure_at: datetime | None
    last_status: int | None
    last_error: str


class WebhookStoryShown(WebhookShown):
    """An endpoint with how it does."""

    model_config = example({**_ENDPOINT, "health": _HEALTH}, title="WebhookStory")

    health: HealthShown


class RotateBody(Strict):
    """How long the secrets until now sign beside the new one; null for not at all (a secret that leaked)."""

    model_config = example({"overlap": "PT24H"})

    overlap: Duration | None = timedelta(hours=24)


class SecretShown(Shown):
    """A new signing secret, shown only now."""

    model_config = example({"secret": _SECRET}, title="WebhookSecret")

    secret: str


class HookTestShown(Shown):
    """How an endpoint answered a `webhook.test` event, which was tried once."""

    model_config = example(
        {"event": "evt_0195a1", "ok": True, "status": 204, "error": ""}, title="WebhookTest"
    )

    event: str
    ok: bool
    status: int | None = Field(description="Null where there was no answer; `error` says why.")
    error: str


class HookDeliveryShown(Shown):
    """One event on its way to one endpoint."""

    model_config = example(_WAY, title="WebhookDelivery")

    event: str
    endpoint: str
    state: str = Field(description="`pending`, `delivered` or `failed`.")
    attempts: int
    due_at: datetime | None = Field(description="The next try; null where none is to come.")
    status: int | None
    error: str
    created_at: datetime | None
    updated_at: datetime | None


class HookEventShown(Shown):
    """An event with its ways to your endpoints."""

    model_config = example(
        {
            "id": "evt_0195a1_3",
            "type": "delivery.failed",
            "at": "2026-03-01T01:12:00Z",
            "data": {"delivery": "dlv_0195a1", "user_id": "u_1024", "state": "failed"},
            "deliveries": [_WAY],
        },
        title="WebhookEvent",
    )

    id: str
    type: str
    at: datetime
    data: Any
    deliveries: list[HookDeliveryShown]


class ReplayBody(Strict):
    """Which events: these, or those that failed since a time."""

    model_config = example({"failed_since": "2026-03-01T00:00:00Z"})

    events: Annotated[list[EventIdText], Field(min_length=1, max_length=1_000)] | None = None
    failed_since: Moment | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.events is None) == (self.failed_since is None):
            message = "expected either `events` or `failed_since`"
            raise ValueError(message)
        return self


class ReplayShown(Shown):
    """How many were made due again; 1,000 at most, the oldest first."""

    model_config = example({"replayed": 12}, title="WebhookReplay")

    replayed: int
