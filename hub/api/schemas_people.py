"""Schemas of users, devices, tokens, presence and a user's own settings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from hub.api.schemas import Duration, Locale, Name, Shown, Strict, TimeZone, UserId, example
from hub.api.schemas_preferences import PREFERENCES, Preferences
from hub.core.records import UserRecord
from hub.core.scopes import UserScope

_USER = {"name": "王小明 🐼", "locale": "zh-CN", "timezone": "Asia/Shanghai", "preferences": PREFERENCES}
_SHOWN_USER = {
    "user_id": "u_1024",
    **_USER,
    "created_at": "2026-03-01T01:12:00Z",
    "last_seen_at": "2026-03-01T01:15:42Z",
}


class UserFields(Strict):
    """What is known of a user. A field left out stays as it is."""

    model_config = example(_USER)

    name: Name | None = Field(None, description="For display.")
    locale: Locale | None = None
    timezone: TimeZone | None = None
    preferences: Preferences | None = Field(None, description="Replaced as a whole.")


class UserItem(UserFields):
    """A user in a batch."""

    model_config = example({"user_id": "u_1024", **_USER})

    user_id: UserId


class UserBatch(Strict):
    """Users to make or change."""

    model_config = example({"users": [{"user_id": "u_1024", "name": "王小明"}, {"user_id": "u_9"}]})

    users: Annotated[list[UserItem], Field(min_length=1, max_length=500)]


class UserShown(Shown):
    """A user."""

    model_config = example(_SHOWN_USER, title="User")

    user_id: str
    name: str
    locale: str
    timezone: str
    preferences: dict[str, Any]
    created_at: datetime
    last_seen_at: datetime | None


class UserResult(UserShown):
    """A user of a batch, and whether it is new."""

    model_config = example({**_SHOWN_USER, "created": True}, title="UserResult")

    created: bool


class UserResults(Shown):
    """The users of a batch, in the order in which they were named."""

    model_config = example({"data": [{**_SHOWN_USER, "created": True}]}, title="UserResults")

    data: list[UserResult]


class SignedOut(Shown):
    """Tokens issued before this time are refused from now on."""

    model_config = example({"user_id": "u_1024", "tokens_after": "2026-03-01T01:15:42.120000Z"})

    user_id: str
    tokens_after: datetime


class MeFields(Strict):
    """What users may set for themselves; the name is the business system's. A field left out stays as it is."""

    model_config = example({"locale": "en", "timezone": "Europe/Berlin", "preferences": PREFERENCES})

    locale: Locale | None = None
    timezone: TimeZone | None = None
    preferences: Preferences | None = Field(None, description="Replaced as a whole.")


class TokenRequest(Strict):
    """A token for a user, who is made if new."""

    model_config = example({"user": "u_1024", "ttl": "PT1H", "scopes": ["read", "write"]})

    user: UserId
    ttl: Duration | None = Field(
        None, description="How long it holds: at most 24 hours, one hour by default."
    )
    scopes: Annotated[list[UserScope], Field(min_length=1, max_length=8)] = Field(
        default_factory=lambda: [UserScope.READ, UserScope.WRITE],
        description="`read`: see and acknowledge. `write`: send and change settings.",
    )


class TokenShown(Shown):
    """An end user's token: pass it to the user's own devices."""

    model_config = example(
        {
            "token": "eyJhbGciOiJIUzI1NiIsImtpZCI6InNna18xIn0.e30.c2ln",
            "token_type": "Bearer",
            "user": "u_1024",
            "scopes": ["read", "write"],
            "expires_at": "2026-03-01T02:12:00Z",
        },
        title="Token",
    )

    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    user: str
    scopes: list[str]
    expires_at: datetime


class PresenceShown(Shown):
    """Whether a user is there. App and web are known; WeChat never tells, so its channels are always `unknown`."""

    model_config = example(
        {
            "user_id": "u_1024",
            "online": True,
            "platforms": {
                "app": "online",
                "web": "offline",
                "wechat_mp": "unknown",
                "miniprogram": "unknown",
            },
            "last_seen_at": "2026-03-01T01:15:42Z",
        },
        title="Presence",
    )

    user_id: str
    online: bool
    platforms: dict[str, Literal["online", "offline", "unknown"]]
    last_seen_at: datetime | None


class PresenceList(Shown):
    """The users asked for who exist and whom the caller may ask about, in the order asked."""

    data: list[PresenceShown]


def user_shown(record: UserRecord, preferences: dict[str, Any]) -> UserShown:
    """A user as answers show it."""
    return UserShown(
        user_id=record.id,
        name=record.name,
        locale=record.locale,
        timezone=record.timezone,
        preferences=preferences,
        created_at=record.created_at,
        last_seen_at=record.last_seen_at,
    )
