"""Providers' templates as last synchronised, in SQL. Reads may be a few seconds old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.accounts import AccountId, ProviderTemplate, TemplateKind
from hub.core.books import kept_templates
from hub.store.directory_base import dumps
from hub.store.wechat_base import ACCOUNT, TEMPLATE, Ground, no_account, settled


class SqlProviderTemplates:
    """`ProviderTemplates`."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def template(self, account: AccountId, template: str) -> ProviderTemplate | None:
        """See the port."""
        return next((found for found in await self.templates_of(account) if found.id == template), None)

    async def templates_of(self, account: AccountId) -> Sequence[ProviderTemplate]:
        """See the port."""
        return await self._ground.caches.templates.get(account, lambda: self._read(account))

    async def _read(self, account: AccountId) -> tuple[ProviderTemplate, ...]:
        return _sorted(await self._ground.database.rows(_query(account)))

    async def replace(
        self, account: AccountId, found: Sequence[ProviderTemplate], *, now: datetime
    ) -> Sequence[ProviderTemplate]:
        """See the port."""

        async def work(connection: AsyncConnection) -> Sequence[ProviderTemplate]:
            # The account's row is where two synchronisations meet; a deletion too.
            locked = select(ACCOUNT.c.id).where(ACCOUNT.c.id == account).with_for_update(key_share=True)
            if (await connection.execute(locked)).first() is None:
                raise no_account()
            before = [_template(row) for row in await connection.execute(_query(account))]
            kept = kept_templates(before, found, account=account, now=now)
            await connection.execute(delete(TEMPLATE).where(TEMPLATE.c.account_id == account))
            if kept:
                await connection.execute(insert(TEMPLATE), [_values(template) for template in kept])
            return _sorted((await connection.execute(_query(account))).all())

        kept = await settled(self._ground.database, work)
        self._ground.caches.templates.forget(account)
        return kept


def _query(account: AccountId) -> Any:
    return select(TEMPLATE).where(TEMPLATE.c.account_id == account)


def _sorted(rows: Sequence[Row[Any]]) -> tuple[ProviderTemplate, ...]:
    # Here and not in SQL: databases do not agree on the order of Chinese.
    return tuple(sorted(map(_template, rows), key=lambda template: (template.title, template.id)))


def _template(row: Row[Any]) -> ProviderTemplate:
    return ProviderTemplate(
        account=AccountId(row.account_id),
        id=row.template_id,
        kind=TemplateKind(row.kind),
        title=row.title,
        content=row.content,
        fields=msgspec.json.decode(row.fields, type=tuple[str, ...]),
        enums=msgspec.json.decode(row.enums, type=dict[str, tuple[str, ...]]),
        example=row.example,
        synced_at=row.synced_at,
        gone=row.gone,
    )


def _values(template: ProviderTemplate) -> dict[str, Any]:
    return {
        "account_id": template.account,
        "template_id": template.id,
        "kind": template.kind.value,
        "title": template.title,
        "content": template.content,
        "fields": dumps(template.fields),
        "enums": dumps(template.enums),
        "example": template.example,
        "synced_at": template.synced_at,
        "gone": template.gone,
    }
