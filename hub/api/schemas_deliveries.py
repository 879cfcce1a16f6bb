"""Schemas of deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from hub.api.schemas import Shown, example

DELIVERY: Final[dict[str, Any]] = {
    "id": "dlv_0195a1",
    "notification": "ntf_0195a1",
    "message": "msg_0195a1",
    "user_id": "u_1024",
    "hop": 0,
    "channel": "ws",
    "state": "delivered",
    "reason": None,
    "attempts": 1,
    "provider_id": None,
    "read": False,
    "created_at": "2026-03-01T01:12:00Z",
    "due_at": None,
    "expires_at": None,
}


class DeliveryShown(Shown):
    """One outside delivery: a message on its way to one user through one step."""

    model_config = example(DELIVERY, title="Delivery")

    id: str
    notification: str | None
    message: str
    user_id: str
    hop: int
    channel: str
    state: str
    reason: str | None
    attempts: int
    provider_id: str | None
    read: bool
    created_at: datetime
    due_at: datetime | None
    expires_at: datetime | None


class DeliveryEventShown(Shown):
    """A state that it has been in."""

    version: int
    at: datetime
    state: str
    reason: str | None


class AttemptShown(Shown):
    """One try, with the provider's own words."""

    number: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    reason: str | None
    provider_id: str | None
    detail: str


class DeliveryStoryShown(DeliveryShown):
    """A delivery with everything that happened to it."""

    model_config = example(
        {
            **DELIVERY,
            "events": [{"version": 0, "at": "2026-03-01T01:12:00Z", "state": "queued", "reason": None}],
            "tries": [
                {
                    "number": 1,
                    "started_at": "2026-03-01T01:12:00Z",
                    "finished_at": "2026-03-01T01:12:01Z",
                    "outcome": "accepted",
                    "reason": None,
                    "provider_id": None,
                    "detail": "",
                }
            ],
        },
        title="DeliveryStory",
    )

    events: list[DeliveryEventShown]
    tries: list[AttemptShown]
