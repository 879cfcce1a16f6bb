"""Schemas of apps, keys, signing keys, policies and the audit."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from hub.api.schemas import AppIdText, Moment, Name, Shown, Strict, example
from hub.api.schemas_media import Retention
from hub.api.schemas_preferences import CALENDAR, CAP, CalendarBody, CapBody, Caps
from hub.core.caps import caps_json
from hub.core.records import ApiKeyRecord, AppRecord, SigningKeyRecord
from hub.core.scopes import Scope
from hub.core.worktime import calendar_json

_SECRET = "hub_0195a1_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"  # noqa: S105
_APP: Final[dict[str, Any]] = {
    "id": "shop",
    "name": "商店",
    "settings": {
        "sessions_per_platform": 3,
        "session_overflow": "replace",
        "compression": False,
        "calendar": CALENDAR,
        "caps": [CAP],
        "retention": "P365D",
        "media_max_bytes": None,
    },
    "created_at": "2026-03-01T01:00:00Z",
}
_KEY: Final[dict[str, Any]] = {
    "id": "key_0195a1",
    "name": "后台",
    "scopes": ["notifications:write", "users:write"],
    "created_at": "2026-03-01T01:00:00Z",
    "expires_at": None,
    "revoked_at": None,
}
_PUBLIC = (
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
    "-----END PUBLIC KEY-----\n"
)
_SIGNING: Final[dict[str, Any]] = {
    "kid": "sgk_0195a1",
    "alg": "EdDSA",
    "public_key": _PUBLIC,
    "created_at": "2026-03-01T01:00:00Z",
    "revoked_at": None,
}


class AppSettingsBody(Strict):
    """What an app sets for itself; null takes the hub's setting."""

    sessions_per_platform: Annotated[int, Field(ge=1, le=1_000)] | None = Field(
        None, description="Sessions that a user may hold on each platform."
    )
    session_overflow: Literal["replace", "refuse"] | None = Field(
        None,
        description="What happens to one session too many: the oldest is replaced, or the new one refused.",
    )
    compression: bool = Field(False, description="permessage-deflate: costs memory and CPU per connection.")
    calendar: CalendarBody = Field(
        default_factory=CalendarBody,
        description="What waits are counted in where a policy's `clock` is `working_hours`.",
    )
    caps: Caps = Field(
        default_factory=list, description="How often one person may be disturbed outside the app."
    )
    retention: Retention | None = Field(
        None,
        description="Messages older than this are removed; at least one hour, null is the hub's own time.",
    )
    media_max_bytes: Annotated[int, Field(ge=1)] | None = Field(
        None, description="How large an uploaded file may be; the hub's own bound holds too."
    )


class AppNew(Strict):
    """A new tenant."""

    model_config = example({"id": "shop", "name": "商店"})

    id: AppIdText
    name: Name = ""
    settings: AppSettingsBody = AppSettingsBody()


class AppPatch(Strict):
    """What is left out stays as it is; settings are replaced as a whole."""

    model_config = example({"name": "商店二", "settings": {"sessions_per_platform": 3}})

    name: Name | None = None
    settings: AppSettingsBody | None = None


class AppShown(Shown):
    """A tenant."""

    model_config = example(_APP, title="App")

    id: str
    name: str
    settings: AppSettingsBody
    created_at: datetime


class KeyNew(Strict):
    """A new API key of the caller's app."""

    model_config = example({"name": "后台", "scopes": ["notifications:write", "users:write"]})

    name: Name = ""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=32)]
    expires_at: Moment | None = None


class KeyShown(Shown):
    """An API key, without its secret."""

    model_config = example(_KEY, title="ApiKey")

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyIssued(KeyShown):
    """A key just made. `secret` is the bearer token, and is shown only now."""

    model_config = example({**_KEY, "secret": _SECRET}, title="ApiKeyIssued")

    secret: str


class AppCreated(AppShown):
    """A new tenant with its first key, whose secret is shown only now."""

    model_config = example({**_APP, "key": {**_KEY, "secret": _SECRET}}, title="AppCreated")

    key: KeyIssued


class SigningKeyNew(Strict):
    """A public key that the business system signs its users' tokens with."""

    model_config = example({"alg": "EdDSA", "public_key": _PUBLIC})

    alg: Literal["EdDSA", "ES256", "RS256"]
    public_key: Annotated[str, StringConstraints(min_length=1, max_length=8_192)] = Field(
        description="PEM (`BEGIN PUBLIC KEY`)."
    )


class SigningKeyShown(Shown):
    """A signing key; `kid` goes into the header of tokens. The hub's own secrets have no public key."""

    model_config = example(_SIGNING, title="SigningKey")

    kid: str
    alg: str
    public_key: str | None
    created_at: datetime
    revoked_at: datetime | None


class AuditShown(Shown):
    """Who did what to the app's configuration."""

    model_config = example(
        {
            "id": "aud_0195a1",
            "at": "2026-03-01T01:00:00Z",
            "actor": "key_0195a0",
            "action": "key.create",
            "target": "key_0195a1",
            "detail": {"name": "后台"},
        },
        title="AuditEntry",
    )

    id: str
    at: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any]


def app_shown(record: AppRecord) -> AppShown:
    """An app as answers show it."""
    own = record.settings
    settings = AppSettingsBody(
        sessions_per_platform=own.sessions_per_platform,
        session_overflow=own.session_overflow,
        compression=own.compression,
        calendar=CalendarBody.model_validate(calendar_json(own.calendar)),
        caps=[CapBody.model_validate(cap) for cap in caps_json(own.caps)],
        retention=own.retention,
        media_max_bytes=own.media_max_bytes,
    )
    return AppShown(id=record.id, name=record.name, settings=settings, created_at=record.created_at)


def key_shown(record: ApiKeyRecord) -> KeyShown:
    """A key as answers show it."""
    return KeyShown(
        id=record.id,
        name=record.name,
        scopes=sorted(record.scopes),
        created_at=record.created_at,
        expires_at=record.expires_at,
        revoked_at=record.revoked_at,
    )


def signing_key_shown(record: SigningKeyRecord) -> SigningKeyShown:
    """A signing key as answers show it."""
    return SigningKeyShown(
        kid=record.kid,
        alg=record.alg,
        public_key=record.public_key,
        created_at=record.created_at,
        revoked_at=record.revoked_at,
    )
