"""The configuration of apps: keys, signing keys, named policies and the audit of who changed what."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, select

from hub.core.errors import NotFound, Refused
from hub.core.identity import ApiCaller
from hub.core.message import AppId
from hub.core.policy import Policy
from hub.core.records import (
    ApiKeyRecord,
    AppRecord,
    AppSettings,
    AuditRecord,
    NamedPolicy,
    PageRequest,
    SigningKeyRecord,
    Slice,
)
from hub.store.directory_base import (
    API_KEY,
    APP,
    AUDIT,
    POLICY,
    SIGNING_KEY,
    Basis,
    place,
    slice_of,
    values_of,
)
from hub.store.directory_cache import HeldKey
from hub.store.secrets import digest, key_id_of

HUB_ALG = "HS256"
"""The alg of the hub's own secrets; registered keys are asymmetric, always."""


class StoredPolicy(msgspec.Struct, frozen=True):
    """A named policy as its column holds it."""

    policy: Policy
    expires_in: timedelta | None = None


def app_of(row: Row[Any]) -> AppRecord:
    """A row of the app table as a value."""
    settings = msgspec.json.decode(row.settings, type=AppSettings)
    return AppRecord(AppId(row.id), row.name, settings, row.created_at)


def api_key_of(row: Row[Any]) -> ApiKeyRecord:
    """A row of the api_key table as a value, without the hash."""
    return ApiKeyRecord(
        id=row.id,
        app=AppId(row.app_id),
        name=row.name,
        scopes=frozenset(row.scopes.split()),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def signing_key_of(row: Row[Any]) -> SigningKeyRecord:
    """A row of the signing_key table as a value; a secret stays where it is."""
    public = None if row.alg == HUB_ALG else row.key
    return SigningKeyRecord(row.kid, AppId(row.app_id), row.alg, public, row.created_at, row.revoked_at)


def policy_of(row: Row[Any]) -> NamedPolicy:
    """A row of the policy table as a value."""
    stored = msgspec.json.decode(row.body, type=StoredPolicy)
    return NamedPolicy(row.name, stored.policy, stored.expires_in, row.updated_at)


def _audit_of(row: Row[Any]) -> AuditRecord:
    return AuditRecord(row.id, row.at, row.actor, row.action, row.target, row.detail)


class ConfigReads:
    """The directory's questions about apps and their configuration."""

    _basis: Basis

    async def api_caller(self, token: str) -> ApiCaller:
        """Who holds this API key. Raises Refused key_invalid; says nothing of why."""
        key_id = key_id_of(token)
        held = None
        if key_id is not None:
            held = await self._basis.caches.api_keys.get(key_id, lambda: self._held_key(key_id))
        # Compared with something in any case, and in constant time.
        matches = hmac.compare_digest(digest(token), held.hash if held else digest(""))
        now = self._basis.clock()
        if held is None or not matches or held.record.revoked_at is not None:
            raise Refused("key_invalid", "The API key is not valid.")
        if held.record.expires_at is not None and held.record.expires_at <= now:
            raise Refused("key_invalid", "The API key is not valid.")
        return ApiCaller(held.record.app, held.record.id, held.record.scopes)

    async def _held_key(self, key_id: str) -> HeldKey | None:
        rows = await self._basis.database.rows(select(API_KEY).where(API_KEY.c.id == key_id))
        return HeldKey(api_key_of(rows[0]), rows[0].hash) if rows else None

    async def apps(self, page: PageRequest) -> Slice[AppRecord]:
        """All tenants."""
        query = select(APP).order_by(APP.c.id)
        if page.after is not None:
            query = query.where(APP.c.id > values_of(page.after, tuple[str])[0])
        return await slice_of(self._basis.database, query, page, read=app_of, mark=lambda row: place(row.id))

    async def app(self, app: AppId) -> AppRecord:
        """One tenant. Raises NotFound."""
        rows = await self._basis.database.rows(select(APP).where(APP.c.id == app))
        if not rows:
            raise NotFound("app_not_found", "There is no such app.")
        return app_of(rows[0])

    async def api_keys(self, app: AppId, page: PageRequest) -> Slice[ApiKeyRecord]:
        """The app's keys, revoked ones included."""
        query = select(API_KEY).where(API_KEY.c.app_id == app).order_by(API_KEY.c.id)
        if page.after is not None:
            query = query.where(API_KEY.c.id > values_of(page.after, tuple[str])[0])
        return await slice_of(
            self._basis.database, query, page, read=api_key_of, mark=lambda row: place(row.id)
        )

    async def signing_keys(self, app: AppId, page: PageRequest) -> Slice[SigningKeyRecord]:
        """The app's signing keys, revoked ones included."""
        query = select(SIGNING_KEY).where(SIGNING_KEY.c.app_id == app).order_by(SIGNING_KEY.c.kid)
        if page.after is not None:
            query = query.where(SIGNING_KEY.c.kid > values_of(page.after, tuple[str])[0])
        return await slice_of(
            self._basis.database, query, page, read=signing_key_of, mark=lambda row: place(row.kid)
        )

    async def policies(self, app: AppId) -> Sequence[NamedPolicy]:
        """The app's named policies, by name. May be a few seconds old."""
        return await self._basis.caches.policies.get(app, lambda: self._policies(app))

    async def _policies(self, app: AppId) -> tuple[NamedPolicy, ...]:
        query = select(POLICY).where(POLICY.c.app_id == app).order_by(POLICY.c.name)
        return tuple(policy_of(row) for row in await self._basis.database.rows(query))

    async def audit(self, app: AppId, page: PageRequest) -> Slice[AuditRecord]:
        """Who did what to the app's configuration, newest first."""
        query = select(AUDIT).where(AUDIT.c.app_id == app).order_by(AUDIT.c.id.desc())
        if page.after is not None:
            query = query.where(AUDIT.c.id < values_of(page.after, tuple[str])[0])
        return await slice_of(
            self._basis.database, query, page, read=_audit_of, mark=lambda row: place(row.id)
        )
