"""Accounts at providers in SQL, their secrets sealed. Reads may be a few seconds old, as the port says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.accounts import Account, AccountId, AccountOptions, AccountSecrets
from hub.core.books import ACCOUNTS_PER_APP
from hub.core.errors import Conflict, NotFound, Unavailable
from hub.core.message import AppId
from hub.core.ports import NewId
from hub.store.directory_base import APP, AUDIT, dumps
from hub.store.secrets import SecretBox
from hub.store.wechat_base import (
    ACCOUNT,
    BINDING,
    GRANT,
    HOLD,
    ONCE,
    TEMPLATE,
    TICKET,
    Ground,
    delete_slowly,
    no_account,
    settled,
)

_DEPENDENTS = (
    (TICKET, TICKET.c.hash),
    (TEMPLATE, TEMPLATE.c.template_id),
    (HOLD, HOLD.c.delivery_id),
    (ONCE, ONCE.c.hash),
    (GRANT, GRANT.c.address),
    (BINDING, BINDING.c.address),
)


class SqlAccounts:
    """`AccountBook`."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def account(self, account: AccountId) -> Account | None:
        """See the port."""
        return await self._ground.caches.accounts.get(account, lambda: self._account(account))

    async def _account(self, account: AccountId) -> Account | None:
        rows = await self._ground.database.rows(select(ACCOUNT).where(ACCOUNT.c.id == account))
        return account_of(rows[0]) if rows else None

    async def accounts_of(self, app: AppId, channel: str | None = None) -> Sequence[Account]:
        """See the port."""
        own = await self._ground.caches.of_app.get(app, lambda: self._accounts_of(app))
        return [account for account in own if channel in (None, account.channel)]

    async def _accounts_of(self, app: AppId) -> tuple[Account, ...]:
        query = select(ACCOUNT).where(ACCOUNT.c.app_id == app).order_by(ACCOUNT.c.created_at, ACCOUNT.c.id)
        return tuple(account_of(row) for row in await self._ground.database.rows(query))

    async def secrets(self, account: AccountId) -> AccountSecrets:
        """See the port. Raises Unavailable secret_unreadable where HUB_SECRET_KEY does not open them."""
        return await self._ground.caches.secrets.get(account, lambda: self._secrets(account))

    async def _secrets(self, account: AccountId) -> AccountSecrets:
        rows = await self._ground.database.rows(select(ACCOUNT.c.secrets).where(ACCOUNT.c.id == account))
        if not rows:
            raise no_account()
        return secrets_of(rows[0].secrets, self._ground.secrets)

    async def put_account(self, account: Account, secrets: AccountSecrets | None, *, actor: str) -> bool:
        """See the port."""
        ground = self._ground

        async def work(connection: AsyncConnection) -> bool:
            new = await write_account(connection, ground.secrets, account, secrets)
            detail = account_detail(account, secrets)
            action = "account.create" if new else "account.change"
            await note_audit(
                connection, ground.new_id, account, actor, action, detail=detail, at=ground.clock()
            )
            return new

        new = await settled(ground.database, work)
        ground.caches.forget(account.id, account.app)
        return new

    async def delete_account(self, account: AccountId, *, actor: str) -> None:
        """See the port. What depends on it goes first, some at a time; the account itself at the end, so that a
        deletion that was interrupted can be asked for again."""
        ground = self._ground
        found = await self._account(account)
        if found is None:
            raise no_account()
        for table, key in _DEPENDENTS:
            await delete_slowly(ground.database, table, key, [table.c.account_id == account])

        async def work(connection: AsyncConnection) -> None:
            gone = await connection.execute(delete(ACCOUNT).where(ACCOUNT.c.id == account))
            if gone.rowcount == 0:
                raise no_account()
            for table, _ in _DEPENDENTS:
                await connection.execute(delete(table).where(table.c.account_id == account))
            await note_audit(connection, ground.new_id, found, actor, "account.delete", at=ground.clock())

        await ground.database.write(work)
        ground.caches.forget(account, found.app)


async def write_account(
    connection: AsyncConnection, box: SecretBox, account: Account, secrets: AccountSecrets | None
) -> bool:
    """Make or change an account in an open transaction; True says that it is new. Raises Conflict or NotFound."""
    # One at a time for an app: what is counted and compared here must still hold at the commit.
    locked = select(APP.c.id).where(APP.c.id == account.app).with_for_update(key_share=True)
    if (await connection.execute(locked)).first() is None:
        raise NotFound("app_not_found", "There is no such app.")
    query = select(ACCOUNT.c.id, ACCOUNT.c.channel, ACCOUNT.c.external_id).where(
        ACCOUNT.c.app_id == account.app
    )
    rows = (await connection.execute(query)).all()
    others = {(row.channel, row.external_id) for row in rows if row.id != account.id}
    if (account.channel, account.external_id) in others:
        raise Conflict("account_taken", "The app has this account already.")
    values: dict[str, Any] = {
        "channel": account.channel,
        "name": account.name,
        "external_id": account.external_id,
        "options": dumps(account.options),
        "enabled": account.enabled,
    }
    if secrets is not None:
        values["secrets"] = box.seal(dumps(secrets).encode())
    if any(row.id == account.id for row in rows):
        await connection.execute(update(ACCOUNT).where(ACCOUNT.c.id == account.id).values(values))
        return False
    if len(rows) >= ACCOUNTS_PER_APP:
        raise Conflict("account_limit", f"An app has at most {ACCOUNTS_PER_APP} accounts.")
    if (await connection.execute(select(ACCOUNT.c.id).where(ACCOUNT.c.id == account.id))).first():
        raise Conflict("account_taken", "Another app has an account with this id.")
    values.setdefault("secrets", box.seal(dumps(AccountSecrets("")).encode()))
    fixed = {"id": account.id, "app_id": account.app, "created_at": account.created_at}
    await connection.execute(insert(ACCOUNT).values(**values, **fixed))
    return True


async def locked_account(
    connection: AsyncConnection, box: SecretBox, app: AppId, account: AccountId
) -> tuple[Account, AccountSecrets]:
    """An account of this app as it is now, until the transaction ends. Raises NotFound. Secrets that no key of ours
    opens count as empty: putting in new ones is the way out."""
    query = select(ACCOUNT).where(ACCOUNT.c.id == account, ACCOUNT.c.app_id == app).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise no_account()
    try:
        secrets = secrets_of(row.secrets, box)
    except Unavailable:
        secrets = AccountSecrets("")
    return account_of(row), secrets


def account_of(row: Row[Any]) -> Account:
    """A row as a value."""
    return Account(
        id=AccountId(row.id),
        app=AppId(row.app_id),
        channel=row.channel,
        name=row.name,
        external_id=row.external_id,
        options=options_of(row.options),
        created_at=row.created_at,
        enabled=row.enabled,
    )


def options_of(text: str) -> AccountOptions:
    """Options as they are kept."""
    return msgspec.json.decode(text, type=AccountOptions)


def secrets_of(sealed: str, box: SecretBox) -> AccountSecrets:
    """Secrets as they are kept."""
    return msgspec.json.decode(box.open(sealed), type=AccountSecrets)


def account_detail(account: Account, secrets: AccountSecrets | None) -> Mapping[str, object]:
    """What the audit tells of a change: no secret, only whether they changed."""
    return {
        "name": account.name,
        "channel": account.channel,
        "appid": account.external_id,
        "enabled": account.enabled,
        "secrets_changed": secrets is not None,
    }


async def note_audit(
    connection: AsyncConnection,
    new_id: NewId,
    account: Account,
    actor: str,
    action: str,
    *,
    at: datetime,
    detail: Mapping[str, object] | None = None,
) -> None:
    """A line in the audit of the account's app."""
    row = {
        "id": new_id("aud"),
        "app_id": account.app,
        "at": at,
        "actor": actor,
        "action": action,
        "target": account.id,
        "detail": dumps(detail or {}),
    }
    await connection.execute(insert(AUDIT).values(row))
