"""One transaction of changes: its idempotency claim, its audit, and what must be forgotten once it is committed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from types import TracebackType
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import Conflict, NotFound, Unavailable
from hub.core.message import AppId, IdempotencyClaim, UserKey
from hub.core.records import (
    AppRecord,
    AppSettings,
    IssuedKey,
    NamedPolicy,
    Recorded,
    Repeated,
    SigningKeyRecord,
    UserRecord,
    UserWrite,
)
from hub.store import sql_errors
from hub.store.directory_base import (
    API_KEY,
    APP,
    DEVICE,
    IDEMPOTENCY,
    POLICY,
    SIGNING_KEY,
    USER,
    Basis,
    dumps,
)
from hub.store.directory_config import StoredPolicy, api_key_of, app_of, signing_key_of
from hub.store.directory_contacts import ContactWrites
from hub.store.directory_groups import GroupWrites
from hub.store.directory_users import write_users
from hub.store.secrets import bearer_of, digest, new_secret
from hub.store.sql_errors import Fault
from hub.store.tokens import public_key_pem
from hub.store.webhooks_change import WebhookWrites
from hub.store.wechat_change import AccountWrites


class SqlChange(GroupWrites, ContactWrites, WebhookWrites, AccountWrites):
    """Implements core.directory.Change on one open transaction."""

    def __init__(
        self,
        basis: Basis,
        connection: AsyncConnection,
        app: AppId,
        actor: str,
        claim: IdempotencyClaim | None,
    ) -> None:
        self._basis = basis
        self._connection = connection
        self._app = app
        self._actor = actor
        self._claim = claim
        self._now = basis.clock()
        self.committed: list[Callable[[], None]] = []
        """What to do after the commit."""

    async def create_app(self, app: AppId, name: str, settings: AppSettings) -> AppRecord:
        """A new tenant. Raises Conflict app_exists."""
        if (await self._connection.execute(select(APP.c.id).where(APP.c.id == app))).first():
            raise Conflict("app_exists", f"There is an app {app!r} already.")
        row = {"id": app, "name": name, "settings": dumps(settings), "created_at": self._now}
        await self._connection.execute(insert(APP).values(row))
        await self._audit("app.create", app, {"name": name}, app=app)
        return AppRecord(app, name, settings, self._now)

    async def patch_app(self, app: AppId, name: str | None, settings: AppSettings | None) -> AppRecord:
        """Change what is not None. Raises NotFound."""
        given: dict[str, Any] = {} if name is None else {"name": name}
        if settings is not None:
            given["settings"] = dumps(settings)
        if given:
            await self._connection.execute(update(APP).where(APP.c.id == app).values(given))
        row = (await self._connection.execute(select(APP).where(APP.c.id == app))).one_or_none()
        if row is None:
            raise NotFound("app_not_found", "There is no such app.")
        await self._audit("app.change", app, given, app=app)
        self.committed.append(lambda: self._basis.caches.sockets.forget(app))
        return app_of(row)

    async def issue_key(
        self, app: AppId, name: str, scopes: Collection[str], expires_at: datetime | None
    ) -> IssuedKey:
        """A new API key."""
        key_id = self._basis.new_id("key")
        bearer = bearer_of(key_id, new_secret())
        row = {
            "id": key_id,
            "app_id": app,
            "name": name,
            "hash": digest(bearer),
            "scopes": " ".join(sorted(scopes)),
            "created_at": self._now,
            "expires_at": expires_at,
        }
        await self._connection.execute(insert(API_KEY).values(row))
        await self._audit("key.create", key_id, {"name": name, "scopes": sorted(scopes)}, app=app)
        stored = await self._connection.execute(select(API_KEY).where(API_KEY.c.id == key_id))
        return IssuedKey(api_key_of(stored.one()), bearer)

    async def revoke_key(self, key_id: str) -> None:
        """End a key of this app. Twice is harmless. Raises NotFound."""
        mine = (API_KEY.c.id == key_id, API_KEY.c.app_id == self._app)
        if not (await self._connection.execute(select(API_KEY.c.id).where(*mine))).first():
            raise NotFound("key_not_found", "There is no such API key.")
        await self._connection.execute(
            update(API_KEY).where(*mine, API_KEY.c.revoked_at.is_(None)).values(revoked_at=self._now)
        )
        await self._audit("key.revoke", key_id)
        self.committed.append(lambda: self._basis.caches.api_keys.forget(key_id))

    async def add_signing_key(self, alg: str, public_key: str) -> SigningKeyRecord:
        """Register a public key (PEM). Raises Refused public_key_invalid."""
        kid = self._basis.new_id("sgk")
        row = {
            "kid": kid,
            "app_id": self._app,
            "alg": alg,
            "key": public_key_pem(alg, public_key),
            "created_at": self._now,
        }
        await self._connection.execute(insert(SIGNING_KEY).values(row))
        await self._audit("signing_key.create", kid, {"alg": alg})
        stored = await self._connection.execute(select(SIGNING_KEY).where(SIGNING_KEY.c.kid == kid))
        return signing_key_of(stored.one())

    async def revoke_signing_key(self, kid: str) -> None:
        """End a signing key of this app, and with it every token that it signed. Raises NotFound."""
        mine = (SIGNING_KEY.c.kid == kid, SIGNING_KEY.c.app_id == self._app)
        if not (await self._connection.execute(select(SIGNING_KEY.c.kid).where(*mine))).first():
            raise NotFound("signing_key_not_found", "There is no such signing key.")
        await self._connection.execute(
            update(SIGNING_KEY).where(*mine, SIGNING_KEY.c.revoked_at.is_(None)).values(revoked_at=self._now)
        )
        await self._audit("signing_key.revoke", kid)
        self.committed.append(lambda: self._basis.caches.signing_keys.forget(kid))
        self.committed.append(lambda: self._basis.caches.minting_keys.forget(self._app))

    async def put_user(self, user: UserWrite) -> tuple[UserRecord, bool]:
        """Make or change a user; True says that it is new."""
        return (await self.put_users([user]))[0]

    async def put_users(self, users: Sequence[UserWrite]) -> Sequence[tuple[UserRecord, bool]]:
        """The same for many, in order."""
        return await write_users(self._connection, self._app, users, self._now)

    async def sign_out(self, user: UserKey) -> datetime:
        """Refuse every token of this user issued until now; the time that counts."""
        mine = (USER.c.id == user, USER.c.app_id == self._app)
        row = (await self._connection.execute(select(USER.c.user_id).where(*mine))).one_or_none()
        if row is None:
            raise NotFound("user_not_found", "There is no such user.")
        await self._connection.execute(update(USER).where(*mine).values(tokens_after=self._now))
        await self._audit("user.sign_out", row.user_id)
        self.committed.append(lambda: self._basis.caches.standings.forget((self._app, row.user_id)))
        return self._now

    async def kick_device(self, user: UserKey, device_id: str) -> None:
        """From now on the device needs a token that is issued after this. Raises NotFound."""
        own = (DEVICE.c.user_id == user, DEVICE.c.device_id == device_id)
        found = await self._connection.execute(select(DEVICE.c.id).where(*own).with_for_update())
        if found.one_or_none() is None:
            raise NotFound("device_not_found", "There is no such device.")
        await self._connection.execute(update(DEVICE).where(*own).values(kicked_at=self._now))

    async def remove_device(self, user: UserKey, device_id: str) -> None:
        """Forget a device. Raises NotFound."""
        gone = await self._connection.execute(
            delete(DEVICE).where(DEVICE.c.user_id == user, DEVICE.c.device_id == device_id)
        )
        if gone.rowcount == 0:
            raise NotFound("device_not_found", "There is no such device.")

    async def put_policy(self, policy: NamedPolicy) -> tuple[NamedPolicy, bool]:
        """Make or change a named policy; True says that it is new."""
        mine = (POLICY.c.app_id == self._app, POLICY.c.name == policy.name)
        body = dumps(StoredPolicy(policy.policy, policy.expires_in))
        row = {"body": body, "updated_at": self._now}
        known = (await self._connection.execute(select(POLICY.c.name).where(*mine))).first()
        if known:
            await self._connection.execute(update(POLICY).where(*mine).values(row))
        else:
            await self._connection.execute(insert(POLICY).values(app_id=self._app, name=policy.name, **row))
        await self._audit("policy.put", policy.name, {"policy": body})
        self.committed.append(lambda: self._basis.caches.policies.forget(self._app))
        return NamedPolicy(policy.name, policy.policy, policy.expires_in, self._now), known is None

    async def delete_policy(self, name: str) -> None:
        """Remove a named policy. Raises NotFound."""
        gone = await self._connection.execute(
            delete(POLICY).where(POLICY.c.app_id == self._app, POLICY.c.name == name)
        )
        if gone.rowcount == 0:
            raise NotFound("policy_not_found", "There is no such policy of this app.")
        await self._audit("policy.delete", name)
        self.committed.append(lambda: self._basis.caches.policies.forget(self._app))

    async def remember(self, status: int, body: bytes) -> None:
        """The answer that the claim of this change will get from now on. Sealed: it may hold a key or a token."""
        if self._claim is not None:
            await self._connection.execute(
                update(IDEMPOTENCY)
                .where(IDEMPOTENCY.c.key == self._claim.key)
                .values(status=status, response=self._basis.secrets.seal(body))
            )

    async def claim(self) -> None:
        """Take the claim's key first of all, so that a rival waits here. Fails where it is taken."""
        if self._claim is not None:
            row = {
                "key": self._claim.key,
                "fingerprint": self._claim.fingerprint,
                "resource_id": "",
                "status": 0,
                "response": "",
                "created_at": self._now,
            }
            await self._connection.execute(insert(IDEMPOTENCY).values(row))


class ChangeContext:
    """Opens a change: `async with directory.change(...) as change`."""

    def __init__(self, basis: Basis, app: AppId, actor: str, claim: IdempotencyClaim | None) -> None:
        self._basis = basis
        self._app = app
        self._actor = actor
        self._claim = claim
        self._transaction: AbstractAsyncContextManager[AsyncConnection] | None = None
        self._change: SqlChange | None = None

    async def __aenter__(self) -> SqlChange:
        await self._look_back()
        self._transaction = self._basis.database.writing()
        connection = await self._transaction.__aenter__()
        self._change = SqlChange(self._basis, connection, self._app, self._actor, self._claim)
        try:
            await self._change.claim()
        except BaseException as error:
            await self._leave(type(error), error, error.__traceback__)
            if not isinstance(error, DBAPIError):
                raise
            await self._look_back()
            raise _translated(error) from error
        return self._change

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            await self._leave(kind, error, trace)
        except DBAPIError as failed:
            raise _translated(failed) from failed
        except Unavailable:
            # The way out calls a deadlock an absence of the database. It is neither: a repeat will do.
            if isinstance(error, DBAPIError) and sql_errors.fault(error) is Fault.AGAIN:
                raise _translated(error) from None
            raise
        if isinstance(error, DBAPIError):
            raise _translated(error) from error
        if error is None and self._change is not None:
            for forget in self._change.committed:
                forget()
        return None

    async def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._transaction is not None  # noqa: S101  (entered before)
        await self._transaction.__aexit__(kind, error, trace)

    async def _look_back(self) -> None:
        if self._claim is None:
            return
        query = select(IDEMPOTENCY).where(IDEMPOTENCY.c.key == self._claim.key)
        for row in await self._basis.database.rows(query):
            if row.status:
                body = self._basis.secrets.open(row.response)
                raise Repeated(Recorded(row.fingerprint, row.status, body))


def _translated(error: DBAPIError) -> Exception:
    """Two writers met; for the one who came second, a repeat will find what the first one did."""
    if sql_errors.fault(error) in (Fault.TAKEN, Fault.AGAIN):
        return Unavailable("contention", "Somebody is changing the same thing. Try again shortly.")
    return error
