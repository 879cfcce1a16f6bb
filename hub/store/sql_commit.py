"""The group commit: everything of a batch in one transaction, each table by one bulk insert."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import timedelta
from functools import partial

from sqlalchemy import bindparam, delete, exists, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import SequenceTaken, StaleConversation
from hub.core.ports import Batch
from hub.store import sql_batch, sql_changes, sqlite_commit
from hub.store.columns import UtcTime
from hub.store.sql_bulk import Listing, insert_all
from hub.store.sql_engine import Database, Dialect
from hub.store.sql_errors import Fault, fault
from hub.store.tables import metadata

CONVERSATION = metadata.tables["conversation"]
IDEMPOTENCY = metadata.tables["idempotency"]
MESSAGE = metadata.tables["message"]
PUBLISH_BATCH = metadata.tables["publish_batch"]


class SqlCommit:
    """`MessageStore.commit` and the marks of what was published."""

    def __init__(self, database: Database, *, idempotency_ttl: timedelta) -> None:
        self._database = database
        self._dialect = database.dialect
        self._ttl = idempotency_ttl
        self._ids = Listing(self._dialect, id=str)
        ids = self._ids.select
        # Shared locks, taken in one order: a change of membership waits, and then sees this batch's numbers.
        self._versions = (
            select(CONVERSATION.c.id, CONVERSATION.c.version)
            .where(CONVERSATION.c.id.in_(ids))
            .order_by(CONVERSATION.c.id)
            .with_for_update(read=True)
        )
        self._mark = update(PUBLISH_BATCH).where(PUBLISH_BATCH.c.id.in_(ids)).values(published=True)
        gone = ~exists().where(MESSAGE.c.id == IDEMPOTENCY.c.resource_id)
        self._forget_claims = delete(IDEMPOTENCY).where(
            IDEMPOTENCY.c.key.in_(ids),
            or_(IDEMPOTENCY.c.created_at < bindparam("stale", type_=UtcTime), gone),
        )

    async def commit(self, batch: Batch) -> None:
        """See the port."""
        try:
            if self._dialect is Dialect.SQLITE:
                await self._database.script(partial(sqlite_commit.commit, batch=batch, ttl=self._ttl))
            else:
                await self._database.write(lambda connection: self._commit(connection, batch))
        except (IntegrityError, sqlite3.IntegrityError) as error:
            if fault(error) is Fault.TAKEN:
                raise SequenceTaken from None
            raise

    async def mark_published(self, batches: Collection[str]) -> None:
        """See the port."""
        if batches:
            await self._database.write(lambda connection: self._mark_published(connection, batches))

    async def _mark_published(self, connection: AsyncConnection, batches: Collection[str]) -> None:
        await connection.execute(self._mark, self._ids.of(list(batches)))

    async def _commit(self, connection: AsyncConnection, batch: Batch) -> None:
        """In step with sqlite_commit.commit."""
        await insert_all(connection, self._dialect, sql_batch.conversations_made(batch))
        await self._check_versions(connection, batch)
        await self._forget_old_claims(connection, batch)
        await insert_all(connection, self._dialect, sql_batch.insertions(batch))
        await sql_changes.run(connection, sql_changes.all_steps(batch, self._dialect))
        if batch.published_batches:
            await self._mark_published(connection, batch.published_batches)

    async def _check_versions(self, connection: AsyncConnection, batch: Batch) -> None:
        expected = sql_batch.expected_versions(batch)
        found = await connection.execute(self._versions, self._ids.of(list(expected)))
        actual = {row.id: row.version for row in found}
        moved = [id_ for id_, version in expected.items() if actual.get(id_) != version]
        if moved:
            raise StaleConversation(moved)

    async def _forget_old_claims(self, connection: AsyncConnection, batch: Batch) -> None:
        keys = sql_batch.claim_keys(batch)
        if keys:
            stale = {"stale": sql_batch.asked_at(batch) - self._ttl}
            await connection.execute(self._forget_claims, self._ids.of(keys) | stale)
