"""Schemas of a user's devices and their live sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from hub.api.live import LiveSession
from hub.api.schemas import Shown, Strict, example
from hub.core.records import DeviceRecord

_SESSION = {"id": "ses_0195a8", "since": "2026-03-01T01:15:42Z"}
_DEVICE = {
    "device_id": "phone-1",
    "platform": "app",
    "name": "小米 15",
    "cursor": 42,
    "created_at": "2026-03-01T01:12:00Z",
    "last_seen_at": "2026-03-01T01:15:42Z",
    "online": True,
    "sessions": [_SESSION],
}


class SessionShown(Shown):
    """An open socket, on whichever node."""

    model_config = example(_SESSION, title="Session")

    id: str
    since: datetime


class DeviceShown(Shown):
    """A device of a user. `cursor` is the highest queue number that it acknowledged; `online` is null while nobody can
    say."""

    model_config = example(_DEVICE, title="Device")

    device_id: str
    platform: str
    name: str
    cursor: int
    created_at: datetime
    last_seen_at: datetime | None
    online: bool | None
    sessions: list[SessionShown]


class Kick(Strict):
    """Close the sockets of a device."""

    model_config = example({"remove": True})

    remove: bool = Field(False, description="Forget the device too: its next hello is that of a new one.")


class Kicked(Shown):
    """How many sockets of the device were open, on all nodes."""

    model_config = example({"device_id": "phone-1", "sessions": 1, "removed": True})

    device_id: str
    sessions: int
    removed: bool


def device_shown(record: DeviceRecord, live: Sequence[LiveSession] | None) -> DeviceShown:
    """A device as answers show it, with its live sessions; None where they are not known."""
    return DeviceShown(
        device_id=record.id,
        platform=record.platform,
        name=record.name,
        cursor=record.cursor,
        created_at=record.created_at,
        last_seen_at=record.last_seen_at,
        online=None if live is None else bool(live),
        sessions=[SessionShown(id=session.session, since=session.since) for session in live or ()],
    )
