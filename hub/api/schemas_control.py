"""Schemas of what is done to notifications after they were accepted: cancel, recall, and events that end them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from hub.api.schemas import Shown, Strict, example
from hub.api.schemas_notify import BusinessKey
from hub.api.schemas_routing import EventName


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
