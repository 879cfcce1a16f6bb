"""The group commit on SQLite: one visit to the connection's thread for a whole transaction.

Each visit, and each row fetched, hands the interpreter's lock over and back; beside a busy event loop a commit of
six statements took five times as long as this one.
"""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import msgspec

from hub.core.errors import StaleConversation
from hub.core.ports import Batch
from hub.store import sql_batch, sql_changes
from hub.store.columns import to_micros
from hub.store.sql_bulk import sqlite_statements
from hub.store.sql_engine import Dialect

# Those that moved, not all: normally there is no row to fetch.
_MOVED = """
SELECT json_extract(value, '$[0]') FROM json_each(?) AS listed WHERE NOT EXISTS (
  SELECT 1 FROM conversation
  WHERE id = json_extract(listed.value, '$[0]') AND version = json_extract(listed.value, '$[1]'))
"""
_FORGET_CLAIMS = """
DELETE FROM idempotency WHERE "key" IN (SELECT value FROM json_each(?))
  AND (created_at < ? OR NOT EXISTS (SELECT 1 FROM message WHERE message.id = idempotency.resource_id))
"""
_MARK = "UPDATE publish_batch SET published = 1 WHERE id IN (SELECT value FROM json_each(?))"


def commit(connection: sqlite3.Connection, *, batch: Batch, ttl: timedelta) -> None:
    """What a batch does, inside a transaction. In step with SqlCommit._commit."""
    for statement, values in sqlite_statements(sql_batch.conversations_made(batch)):
        connection.execute(statement, values)
    _check_versions(connection, batch)
    keys = sql_batch.claim_keys(batch)
    if keys:
        stale = to_micros(sql_batch.asked_at(batch) - ttl)
        connection.execute(_FORGET_CLAIMS, (_json(keys), stale))
    for statement, values in sqlite_statements(sql_batch.insertions(batch)):
        connection.execute(statement, values)
    sql_changes.run_sqlite(connection, sql_changes.all_steps(batch, Dialect.SQLITE))
    if batch.published_batches:
        connection.execute(_MARK, (_json(batch.published_batches),))


def _check_versions(connection: sqlite3.Connection, batch: Batch) -> None:
    expected = list(sql_batch.expected_versions(batch).items())
    moved = connection.execute(_MOVED, (_json(expected),)).fetchall()
    if moved:
        raise StaleConversation([id_ for (id_,) in moved])


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
