"""Schemas of what else is done with tasks: reminders, transfers, withdrawals, comparing, their story, and links."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from hub.api.schemas import Duration, Shown, Strict, Text, UserId, example
from hub.api.schemas_approvals import TASK, Comment, TaskShown, Version
from hub.core.task import MAX_ASSIGNEES, MAX_CC


class RemindNew(Strict):
    """Whom to press (all who have not acted), and what to say."""

    model_config = example({"to": ["u_1024"], "comment": "请尽快处理"})

    to: Annotated[list[UserId], Field(min_length=1, max_length=MAX_ASSIGNEES)] | None = None
    comment: Annotated[Text, StringConstraints(max_length=500)] = ""


class RemindShown(Shown):
    """What each person was really sent, and why not."""

    model_config = example(
        {
            "data": [
                {
                    "user_id": "u_1024",
                    "sent": True,
                    "level": 2,
                    "channels": ["ws", "miniprogram"],
                    "reason": None,
                    "retry_at": None,
                }
            ]
        }
    )

    class One(Shown):
        """`reason`: not_asked, processing, cooldown or daily_cap."""

        user_id: str
        sent: bool
        level: int
        channels: list[str]
        reason: str | None
        retry_at: datetime | None

    data: list[One]


class TransferBody(Strict):
    """Hand a part to somebody else."""

    model_config = example({"to": "u_1030", "comment": "出差，请代办"})

    to: UserId
    from_user: UserId | None = Field(None, alias="from", description="With an API key: whose part.")
    comment: Comment = ""


class CcBody(Strict):
    """Who else should hear of it."""

    model_config = example({"users": ["u_77"]})

    users: Annotated[list[UserId], Field(min_length=1, max_length=MAX_CC)]


class WithdrawBody(Strict):
    """Take a task back. `tell`: say so to those whom a channel outside the app has reached."""

    model_config = example({"reason": "填错金额", "tell": False})

    reason: Annotated[Text, StringConstraints(max_length=500)] = ""
    tell: bool = False


class WithdrawnShown(Shown):
    """The task, and what could still be done on each channel."""

    model_config = example(
        {
            "task": {**TASK, "state": "withdrawn", "decision": None},
            "channels": [
                {"channel": "ws", "updated": 2, "canceled": 0, "sent": 0, "failed": 0},
                {"channel": "wechat_mp", "updated": 0, "canceled": 1, "sent": 1, "failed": 0},
            ],
        }
    )

    class Channel(Shown):
        """Cards `updated`; sends `canceled` before they went out; those `sent` stay where they are."""

        channel: str
        updated: int
        canceled: int
        sent: int
        failed: int

    task: TaskShown
    channels: list[Channel]


class CheckBody(Strict):
    """What the business system has."""

    model_config = example({"tasks": [{"id": "oa:inst-778:t2", "version": 7}]})

    class One(Strict):
        """A task and its version."""

        id: UserId
        version: Version

    tasks: Annotated[list[One], Field(min_length=1, max_length=1_000)]


class CheckShown(Shown):
    """`missing`: the hub does not have them. `stale`: it has an older version. `ahead`: it has a newer one."""

    model_config = example({"missing": [], "stale": ["oa:inst-778:t2"], "ahead": []})

    missing: list[str]
    stale: list[str]
    ahead: list[str]


class TaskEventShown(Shown):
    """A line of the story."""

    model_config = example(
        {
            "id": "tev_0195a1",
            "at": "2026-03-01T01:12:00Z",
            "event": "acted",
            "actor": "u_1024",
            "detail": {"action": "approve"},
        }
    )

    id: str
    at: datetime
    event: str
    actor: str
    detail: dict[str, str]


class LinkNew(Strict):
    """For whom, and for how long."""

    model_config = example({"user_id": "u_1024", "expires_in": "P7D"})

    user_id: UserId | None = None
    expires_in: Duration | None = None


class LinkShown(Shown):
    """A short address that leads to the task after a login."""

    model_config = example({"url": "https://hub.example.com/t/AZWh", "expires_at": "2026-03-08T01:12:00Z"})

    url: str
    expires_at: datetime
