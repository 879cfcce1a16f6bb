"""Whether drafts were accepted before: by client message id, business key or Idempotency-Key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.message import Accepted, ConversationId, Draft, MessageId, NotificationId
from hub.core.ports import Prior
from hub.store.sql_bulk import Listing
from hub.store.sql_engine import Database
from hub.store.tables import metadata

IDEMPOTENCY = metadata.tables["idempotency"]
MESSAGE = metadata.tables["message"]
NOTIFICATION = metadata.tables["notification"]

_ANSWER = (
    MESSAGE.c.id.label("message"),
    MESSAGE.c.conversation_id,
    MESSAGE.c.seq,
    MESSAGE.c.created_at,
    MESSAGE.c.notification_id,
)


class SqlPrior:
    """`MessageStore.prior`: at most one query for each kind of key, however many drafts."""

    def __init__(self, database: Database, *, idempotency_ttl: timedelta) -> None:
        self._database = database
        self._ttl = idempotency_ttl
        dialect = database.dialect
        self._clients = Listing(dialect, app=str, sender=int, client=str)
        listed = self._clients.select.subquery("listed")
        self._by_client = select(
            MESSAGE.c.app_id, MESSAGE.c.sender_id, MESSAGE.c.client_msg_id, *_ANSWER
        ).join_from(
            listed,
            MESSAGE,
            and_(
                MESSAGE.c.app_id == listed.c.app,
                MESSAGE.c.sender_id == listed.c.sender,
                MESSAGE.c.client_msg_id == listed.c.client,
            ),
        )
        self._dedupes = Listing(dialect, app=str, dedupe=str)
        keys = self._dedupes.select.subquery("listed")
        self._by_dedupe = (
            select(NOTIFICATION.c.app_id, NOTIFICATION.c.dedupe_key, *_ANSWER)
            .join_from(
                keys,
                NOTIFICATION,
                and_(NOTIFICATION.c.app_id == keys.c.app, NOTIFICATION.c.dedupe_key == keys.c.dedupe),
            )
            .join(MESSAGE, MESSAGE.c.id == NOTIFICATION.c.message_id)
        )
        self._claims = Listing(dialect, id=str)
        self._by_claim = (
            select(
                IDEMPOTENCY.c.key,
                IDEMPOTENCY.c.fingerprint,
                IDEMPOTENCY.c.created_at.label("claimed_at"),
                *_ANSWER,
            )
            .join(MESSAGE, MESSAGE.c.id == IDEMPOTENCY.c.resource_id)
            .where(IDEMPOTENCY.c.key.in_(self._claims.select))
        )

    async def prior(self, drafts: Sequence[Draft]) -> Mapping[MessageId, Prior]:
        """See the port. An Idempotency-Key goes before the other keys, since it has a fingerprint to compare."""

        async def work(connection: AsyncConnection) -> Mapping[MessageId, Prior]:
            found = await self._with_dedupe_key(connection, drafts)
            found.update(await self._with_client_id(connection, drafts))
            found.update(await self._with_claim(connection, drafts))
            return found

        return await self._database.read(work)

    async def _with_client_id(
        self, connection: AsyncConnection, drafts: Sequence[Draft]
    ) -> dict[MessageId, Prior]:
        keys = {d.id: (d.app, d.sender, d.client_msg_id) for d in drafts if d.client_msg_id is not None}
        if not keys:
            return {}
        rows = await connection.execute(self._by_client, self._clients.of(list(keys.values())))
        found = {(row.app_id, row.sender_id, row.client_msg_id): Prior(_accepted(row)) for row in rows}
        return {id_: found[key] for id_, key in keys.items() if key in found}

    async def _with_dedupe_key(
        self, connection: AsyncConnection, drafts: Sequence[Draft]
    ) -> dict[MessageId, Prior]:
        keys = {
            d.id: (d.app, d.notification.dedupe_key)
            for d in drafts
            if d.notification is not None and d.notification.dedupe_key is not None
        }
        if not keys:
            return {}
        rows = await connection.execute(self._by_dedupe, self._dedupes.of(list(keys.values())))
        found = {(row.app_id, row.dedupe_key): Prior(_accepted(row)) for row in rows}
        return {id_: found[key] for id_, key in keys.items() if key in found}

    async def _with_claim(
        self, connection: AsyncConnection, drafts: Sequence[Draft]
    ) -> dict[MessageId, Prior]:
        claims = {d.id: (d.idempotency, d.created_at) for d in drafts if d.idempotency is not None}
        if not claims:
            return {}
        keys = [claim.key for claim, _ in claims.values()]
        rows = {row.key: row for row in await connection.execute(self._by_claim, self._claims.of(keys))}
        return {
            id_: Prior(_accepted(rows[claim.key]), rows[claim.key].fingerprint)
            for id_, (claim, asked_at) in claims.items()
            if claim.key in rows and self._counts(rows[claim.key].claimed_at, asked_at)
        }

    def _counts(self, claimed_at: datetime, asked_at: datetime) -> bool:
        return claimed_at >= asked_at - self._ttl


def _accepted(row: Any) -> Accepted:
    return Accepted(
        message=MessageId(row.message),
        conversation=ConversationId(row.conversation_id),
        seq=row.seq,
        at=row.created_at,
        notification=None if row.notification_id is None else NotificationId(row.notification_id),
        duplicate=True,
    )
