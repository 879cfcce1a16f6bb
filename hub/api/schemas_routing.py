"""Schemas of routing policies."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from hub.api.schemas import Duration, Line, Locale, Shown, Strict, example
from hub.core.policy import Mode, OnUnknown, QuietHours, Success, TimerClock

ROUTE: Final[dict[str, Any]] = {
    "mode": "cascade",
    "steps": [
        {"channel": "ws", "when": "online", "success": "read", "wait": "PT1M"},
        {"channel": "wechat_mp", "success": "delivered", "only_if": {"priority": ["high", "critical"]}},
    ],
    "stop_on": ["read", "acted", "event:approval.task.closed"],
    "expires_in": "PT24H",
    "on_unknown": "hold",
    "clock": "always",
    "quiet_hours": "defer",
    "digest": None,
}


Word = Annotated[Line, StringConstraints(min_length=1, max_length=64)]


PolicyName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_.-]*$"),
    Field(description="The name of a policy.", examples=["urgent"]),
]


class OnlyIf(Strict):
    """Narrows a step: it is left out unless every list that is given contains the notification's value."""

    priority: Annotated[list[Word], Field(min_length=1, max_length=16)] | None = None
    category: Annotated[list[Word], Field(min_length=1, max_length=16)] | None = None
    locale: Annotated[list[Locale], Field(min_length=1, max_length=16)] | None = Field(
        None, description="Of the recipient; `zh` stands for every `zh-…`."
    )


class StepBody(Strict):
    """One step of a policy."""

    channel: Annotated[str, StringConstraints(min_length=1, max_length=32)] = Field(
        description="A channel of this hub.", examples=["ws"]
    )
    when: Literal["online"] | None = Field(
        None,
        description="Only of `ws`, where it goes without saying: whoever is offline is left to the next step.",
    )
    success: Success = Field(
        Success.DELIVERED, description="How far it must get for the cascade to be content."
    )
    wait: Duration | None = Field(
        None, description="How long an accepted send may take to get there; null waits for ever."
    )
    only_if: OnlyIf | None = None
    template: Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z][a-z0-9_.-]*$")] | None = Field(
        None,
        description="Another template of the app for this step, with the same `data`.",
        examples=["todo"],
    )
    account: Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")] | None = Field(
        None, description="The account to send from; null takes the first one that reaches the person."
    )


EVENT: Final = "event:"
EventName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")]
StopWord = Annotated[
    str,
    StringConstraints(max_length=106, pattern=r"^(read|acted|event:[A-Za-z0-9_.-]{1,100})$"),
    Field(description="`read`, `acted`, or `event:` and the name of an event of yours (POST /v1/events)."),
]


class RouteBody(Strict):
    """A routing policy: which channels, in which order, and when to stop."""

    model_config = example(ROUTE)

    mode: Mode = Field(
        Mode.CASCADE, description="`cascade` tries steps in order, `all` sends every step at once."
    )
    steps: Annotated[list[StepBody], Field(min_length=1, max_length=10)]
    stop_on: Annotated[list[StopWord], Field(max_length=10)] = Field(
        default_factory=lambda: ["read", "acted"],
        description="What cancels the steps that are still to come.",
    )
    expires_in: Duration | None = Field(None, description="After that long nothing more is sent.")
    on_unknown: OnUnknown = Field(
        OnUnknown.HOLD,
        description="A send that may have happened: `hold` rather loses one, `next` rather doubles one.",
    )
    clock: TimerClock = Field(
        TimerClock.ALWAYS,
        description="What `wait` is counted in: time as it passes, or the working hours of the app's calendar.",
    )
    quiet_hours: QuietHours = Field(
        QuietHours.DEFER,
        description="In a recipient's quiet hours: `defer` until they end, `skip` the step, or `ignore` them.",
    )
    digest: Duration | None = Field(
        None,
        description="Sends of one person under one `digest_key` within this time become one.",
    )


class PolicyShown(RouteBody):
    """A policy under its name. Built-in ones hold until the app puts its own under the same name."""

    model_config = example(
        {"name": "urgent", "built_in": False, "updated_at": "2026-03-01T01:00:00Z", **ROUTE}, title="Policy"
    )

    name: str
    built_in: bool
    updated_at: datetime | None


class PolicyList(Shown):
    """The policies that this app's notifications may name."""

    data: list[PolicyShown]
