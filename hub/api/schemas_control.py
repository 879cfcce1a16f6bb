"""Schemas of what is done to notifications after they were accepted: cancel, recall, and events that end them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from hub.api.schemas import Moment, Shown, Strict, UserId, example
from hub.api.schemas_notify import BusinessKey
from hub.api.schemas_routing import EventName
from hub.core.outcome import Reason

DeliveryText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$"),
    Field(description="The id of a delivery.", examples=["dlv_0195a1"]),
]
NotificationText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$"),
    Field(description="The id of a notification.", examples=["ntf_0195a1"]),
]


class CancelShown(Shown):
    """What a cancellation could still stop."""

    model_config = example(
        {"id": "ntf_0195a1", "scheduled": False, "canceled": 2, "under_way": 0, "sent": 1}, title="Canceled"
    )

    id: str
    scheduled: bool = Field(description="It was waiting for its `send_at`: nobody will ever see it.")
    canceled: int = Field(description="Deliveries that will not be sent.")
    under_way: int = Field(description="Deliveries that were just being sent: they may yet arrive.")
    sent: int = Field(description="Deliveries that had left the hub.")


class ReplayBody(Strict):
    """Which dead letters to try again: all that match everything that is said."""

    model_config = example({"channel": "wechat_mp", "reason": "auth_failed", "since": "2026-03-01T00:00:00Z"})

    ids: Annotated[list[DeliveryText], Field(min_length=1, max_length=500)] | None = None
    notification: NotificationText | None = None
    user_id: UserId | None = None
    channel: (
        Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=r"^[a-z0-9_]+$")] | None
    ) = None
    state: Literal["failed", "unknown"] | None = Field(
        None, description="`unknown`: a send that may have arrived, and of which nobody will ever hear."
    )
    reason: Reason | None = None
    since: Moment | None = Field(None, description="Planned at this time or later.")
    until: Moment | None = Field(None, description="Planned before this time.")
    limit: Annotated[int, Field(ge=1, le=1_000, strict=True)] = Field(
        1_000, description="At most so many, the oldest first; ask again for more."
    )

    @model_validator(mode="after")
    def _narrowed(self) -> Self:
        said = (self.ids, self.notification, self.user_id, self.channel, self.reason, self.since, self.until)
        if all(one is None for one in said):
            message = (
                "say which: give `ids`, `notification`, `user_id`, `channel`, `reason`, `since` or `until`"
            )
            raise ValueError(message)
        return self


class ReplayShown(Shown):
    """How many are in the queue again. What has expired, was read, or arrived after all is left alone."""

    model_config = example({"replayed": 12}, title="Replayed")

    replayed: int


class RecallLineShown(Shown):
    """What became of a notification for one person on one channel."""

    user_id: str
    channel: str = Field(description="`inbox` is the message in the app itself.")
    result: Literal["recalled", "canceled", "not_sent", "under_way", "not_recallable"]
    delivery: str | None


class RecallShown(Shown):
    """The truth of a recall, per recipient and channel."""

    model_config = example(
        {
            "id": "ntf_0195a1",
            "scheduled": False,
            "lines": [
                {"user_id": "u_1024", "channel": "inbox", "result": "recalled", "delivery": None},
                {
                    "user_id": "u_1024",
                    "channel": "wechat_mp",
                    "result": "not_recallable",
                    "delivery": "dlv_0195a1",
                },
            ],
        },
        title="Recalled",
    )

    id: str
    scheduled: bool
    lines: list[RecallLineShown]


class EventNew(Strict):
    """Something happened in the business. It ends what waits for it (`event:…` in `stop_on`)."""

    model_config = example({"name": "approval.task.closed", "thread": "inst-778"})

    name: EventName = Field(description="Without `event:`.", examples=["approval.task.closed"])
    thread: BusinessKey | None = Field(None, description="Every notification of this thread.")
    notification: (
        Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")] | None
    ) = Field(None, description="One notification, by its id.")
    dedupe_key: BusinessKey | None = Field(None, description="One notification, by its business key.")

    @model_validator(mode="after")
    def _one_scope(self) -> Self:
        if [self.thread, self.notification, self.dedupe_key].count(None) != 2:
            message = "give one of `thread`, `notification` and `dedupe_key`"
            raise ValueError(message)
        return self


class EventShown(Shown):
    """How many deliveries will not be sent because of it."""

    model_config = example({"name": "approval.task.closed", "canceled": 2}, title="EventTaken")

    name: str
    canceled: int
