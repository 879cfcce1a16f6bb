"""Schemas of routing policies."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from hub.api.schemas import Duration, Line, Shown, Strict, example
from hub.core.policy import Mode, OnUnknown, Success

ROUTE: Final[dict[str, Any]] = {
    "mode": "cascade",
    "steps": [{"channel": "ws", "success": "read", "wait": "PT1M"}],
    "stop_on": ["read", "acted"],
    "expires_in": "PT24H",
    "on_unknown": "hold",
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


def _reachable(value: object) -> object:
    if value == Success.ACTED:
        text = (
            "A person cannot act on a message in this version of the hub, so `acted` would never be reached."
        )
        raise PydanticCustomError("not_supported", text)
    return value


class StepBody(Strict):
    """One step of a policy."""

    channel: Annotated[str, StringConstraints(min_length=1, max_length=32)] = Field(
        description="A channel of this hub.", examples=["ws"]
    )
    success: Annotated[Success, BeforeValidator(_reachable)] = Field(
        Success.DELIVERED, description="How far it must get for the cascade to be content."
    )
    wait: Duration | None = Field(
        None, description="How long an accepted send may take to get there; null waits for ever."
    )
    only_if: OnlyIf | None = None


class StopOn(StrEnum):
    """What a person can do that makes the rest pointless."""

    READ = "read"
    ACTED = "acted"


def _stop_on(value: object) -> object:
    if isinstance(value, str) and value.startswith("event:"):
        text = "`event:` in `stop_on` is not supported by this version of the hub."
        raise PydanticCustomError("not_supported", text)
    return value


class RouteBody(Strict):
    """A routing policy: which channels, in which order, and when to stop."""

    model_config = example(ROUTE)

    mode: Mode = Field(
        Mode.CASCADE, description="`cascade` tries steps in order, `all` sends every step at once."
    )
    steps: Annotated[list[StepBody], Field(min_length=1, max_length=10)]
    stop_on: Annotated[list[Annotated[StopOn, BeforeValidator(_stop_on)]], Field(max_length=2)] = Field(
        default_factory=lambda: [StopOn.READ, StopOn.ACTED],
        description="What cancels the steps that are still to come.",
    )
    expires_in: Duration | None = Field(None, description="After that long nothing more is sent.")
    on_unknown: OnUnknown = Field(
        OnUnknown.HOLD,
        description="A send that may have happened: `hold` rather loses one, `next` rather doubles one.",
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
