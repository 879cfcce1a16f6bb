"""Schemas of groups and threads: what they are like, silence, announcement, ownership."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from hub.api.schemas import FreeObject, Line, Moment, Shown, Strict, Text, Title, UserId, example
from hub.core.group_rules import Invite

MOST_MEMBERS: Final = 10_000_000
AvatarUrl = Annotated[
    Line,
    StringConstraints(max_length=512),
    Field(
        description="Where its picture is; passed on as it is.", examples=["https://cdn.example.com/g7.png"]
    ),
]
WhoInvites = Annotated[
    Invite, Field(description="Who may bring others in: every member who may write, or the owner and admins.")
]
MaxMembers = Annotated[
    int,
    Field(ge=0, le=MOST_MEMBERS, description="How many members it takes; 0 is as many as the hub allows."),
]
Subject = Annotated[
    Line,
    StringConstraints(min_length=1, max_length=200),
    Field(description="What it is about, in the product's words.", examples=["post:4711"]),
]


GROUP_EXAMPLE: Final[dict[str, Any]] = {
    "avatar": "",
    "subject": None,
    "invite": "members",
    "open": False,
    "max_members": 0,
    "silenced": False,
    "dissolved_at": None,
    "owner": "u_9",
}


class GroupShown(Shown):
    """What a group or a thread has beside its title. `owner` is said where one conversation is asked for."""

    model_config = example(GROUP_EXAMPLE, title="Group")

    avatar: str
    subject: str | None
    invite: Invite
    open: bool
    max_members: int
    silenced: bool
    dissolved_at: datetime | None
    owner: str | None = None


class OwnerPut(Strict):
    """The member whom the group is to belong to. Who owned it becomes an admin."""

    model_config = example({"user_id": "u_1024"})

    user_id: UserId


class SilencePut(Strict):
    """Until when the member may not speak."""

    model_config = example({"until": "2030-03-01T12:00:00+08:00"})

    until: Moment


class AnnouncementPut(Strict):
    """What to put up; an empty text takes it down."""

    model_config = example({"text": "周五 18:00 前提交报销单 📌"})

    text: Annotated[Text, StringConstraints(max_length=8_000)]


class AnnouncementShown(Shown):
    """What stands at the top of a group, all null where nothing does. `by` is null for the business system, too."""

    model_config = example(
        {"text": "周五 18:00 前提交报销单 📌", "by": "u_9", "at": "2026-03-01T01:00:00Z"},
        title="Announcement",
    )

    text: str | None
    by: str | None
    at: datetime | None


class LeaveNew(Strict):
    """Who leaves."""

    model_config = example({})

    user: UserId | None = Field(None, description="Who; with an API key only.")


class ThreadPut(Strict):
    """The discussion of a subject."""

    model_config = example({"subject": "post:4711", "title": "春游方案 🌸", "metadata": {"biz": "feed"}})

    subject: Subject
    title: Title = ""
    avatar: AvatarUrl = ""
    metadata: FreeObject = Field(default_factory=dict)
    open: bool = Field(True, description="Every user of the app may read it, and joins by speaking.")
    max_members: MaxMembers = 0
