"""The group commit: everything of a batch in one transaction, each table by one bulk insert."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, delete, exists, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import Conversation
from hub.core.errors import SequenceTaken, StaleConversation
from hub.core.message import ConversationId, UserKey
from hub.core.ports import Batch
from hub.store import sql_rows as rows
from hub.store.columns import UtcTime, to_micros
from hub.store.sql_bulk import Clash, Insertion, Listing, insert_all
from hub.store.sql_engine import Database
from hub.store.sql_errors import Fault, fault
from hub.store.tables import metadata

_tables = metadata.tables
CONVERSATION = _tables["conversation"]
IDEMPOTENCY = _tables["idempotency"]
MESSAGE = _tables["message"]
PUBLISH_BATCH = _tables["publish_batch"]

_MADE_VERSION = 1
_conversations = Insertion(
    CONVERSATION,
    ("id", "app_id", "kind", "title", "fanout", "version", "member_count", "metadata", "created_at"),
    Clash.IGNORE,
)
_members = Insertion(
    _tables["member"],
    ("conversation_id", "user_id", "role", "joined_seq", "read_seq", "muted", "joined_at"),
    Clash.IGNORE,
)
_messages = Insertion(MESSAGE, rows.MESSAGE_COLUMNS)
_entries = Insertion(_tables["queue_entry"], rows.ENTRY_COLUMNS)
_notifications = Insertion(_tables["notification"], rows.NOTIFICATION_COLUMNS)
_deliveries = Insertion(_tables["delivery"], rows.DELIVERY_COLUMNS)
_events = Insertion(_tables["delivery_event"], rows.EVENT_COLUMNS)
_idempotency = Insertion(
    IDEMPOTENCY, ("key", "fingerprint", "resource_id", "status", "response", "created_at")
)
_batches = Insertion(PUBLISH_BATCH, ("id", "created_at", "published", "refs"))


class SqlCommit:
    """`MessageStore.commit` and the marks of what was published."""

    def __init__(self, database: Database, *, idempotency_ttl: timedelta) -> None:
        self._database = database
        self._dialect = database.dialect
        self._idempotency_ttl = idempotency_ttl
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
        if batch.conversations:
            await self._make_conversations(connection, batch)
        await self._check_versions(connection, batch)
        await self._forget_old_claims(connection, batch)
        await insert_all(connection, self._dialect, _insertions(batch))
        if batch.published_batches:
            await self._mark_published(connection, batch.published_batches)

    async def _make_conversations(self, connection: AsyncConnection, batch: Batch) -> None:
        """Those that a rival has made meanwhile stay as they are: the versions tell whether that is right."""
        at = to_micros(batch.at)
        made = sorted(batch.conversations, key=lambda conversation: conversation.id)
        await _conversations.run(
            connection,
            self._dialect,
            [
                (c.id, c.app, c.kind.value, "", c.fanout.value, _MADE_VERSION, len(_people(c)), "{}", at)
                for c in made
            ],
        )
        members = [(c.id, user, "member", 0, 0, False, at) for c in made for user in _people(c)]
        await _members.run(connection, self._dialect, members)

    async def _check_versions(self, connection: AsyncConnection, batch: Batch) -> None:
        expected = _expected_versions(batch)
        found = await connection.execute(self._versions, self._ids.of(list(expected)))
        actual = {row.id: row.version for row in found}
        moved = [id_ for id_, version in expected.items() if actual.get(id_) != version]
        if moved:
            raise StaleConversation(moved)

    async def _forget_old_claims(self, connection: AsyncConnection, batch: Batch) -> None:
        keys = [draft.idempotency.key for draft in batch.drafts if draft.idempotency is not None]
        if keys:
            # No later than when `prior` looked: what did not count there must not be in the way here.
            asked = max(batch.at, *(draft.created_at for draft in batch.drafts))
            stale = {"stale": asked - self._idempotency_ttl}
            await connection.execute(self._forget_claims, self._ids.of(keys) | stale)


def _insertions(batch: Batch) -> list[tuple[Insertion, list[tuple[Any, ...]]]]:
    """Pure: the rows of a batch, table by table."""
    at = to_micros(batch.at)
    pairs = list(zip(batch.drafts, batch.published, strict=True))
    return [
        (_messages, [rows.message_values(item.message) for item in batch.published]),
        (_entries, [rows.entry_values(entry) for item in batch.published for entry in item.entries]),
        (
            _notifications,
            [
                rows.notification_values(draft, draft.notification, item)
                for draft, item in pairs
                if draft.notification is not None
            ],
        ),
        (
            _idempotency,
            [
                (draft.idempotency.key, draft.idempotency.fingerprint, draft.id, 0, "", at)
                for draft in batch.drafts
                if draft.idempotency is not None
            ],
        ),
        (_deliveries, [rows.delivery_values(d, version=d.version) for d in batch.deliveries]),
        (_events, [rows.event_values(d, version=d.version, at=at) for d in batch.deliveries]),
        (_batches, [(batch.id, at, False, rows.refs_of(batch.published))]),
    ]


def _people(conversation: Conversation) -> tuple[UserKey, ...]:
    """Whom the new conversation has: a direct one with oneself has one member."""
    return tuple(dict.fromkeys(conversation.members))


def _expected_versions(batch: Batch) -> Mapping[ConversationId, int]:
    made = {conversation.id: _MADE_VERSION for conversation in batch.conversations}
    return made | {id_: version or _MADE_VERSION for id_, version in batch.versions.items()}
