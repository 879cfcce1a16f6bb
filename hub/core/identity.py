"""Who is calling: an end user with a token, or a business system with a key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hub.core.message import AppId, DeviceKey, UserKey


class Platform(StrEnum):
    """Where a device runs. APP covers iOS, Android and desktop; MINIPROGRAM devices pull and are never online."""

    APP = "app"
    WEB = "web"
    MINIPROGRAM = "miniprogram"


@dataclass(frozen=True, slots=True)
class EndUser:
    """The holder of a valid end-user token."""

    app: AppId
    key: UserKey
    id: str
    expires_at: datetime
    scopes: frozenset[str] = frozenset()
    issued_at: datetime | None = None
    """When the token was; None where there is none."""

    def was_shown_out(self, kicked_at: datetime | None) -> bool:
        """Whether a device that was kicked then needs a newer token than this."""
        return kicked_at is not None and self.issued_at is not None and self.issued_at < kicked_at


@dataclass(frozen=True, slots=True)
class ApiCaller:
    """A business system, by its API key."""

    app: AppId
    key_id: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a user; `cursor` is the highest user_seq that it acknowledged."""

    key: DeviceKey
    id: str
    platform: Platform
    name: str
    cursor: int


@dataclass(frozen=True, slots=True)
class SocketPolicy:
    """An app's rules for sockets: sessions a user may hold per platform, and what happens to one too many."""

    sessions_per_platform: int
    replace_oldest: bool
    compression: bool = False


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a delivery is for: the product's id, and how they want to be spoken to. `preferences` is a JSON object."""

    user_id: str
    locale: str = "zh-CN"
    timezone: str = "Asia/Shanghai"
    preferences: str = "{}"
