"""Messages into the full-text index, after their commit: what a batch remembers until it is done.

Lossless: a batch is marked in the transaction that writes its terms. Several nodes may index the same: of two versions
of a message the higher holds, and one that was taken back has the highest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Row, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.message import RECALLED, TOMBSTONE
from hub.core.search_terms import scope_term, terms, text_of
from hub.store import sql_rows as rows
from hub.store.columns import to_micros
from hub.store.schema import metadata
from hub.store.sql_bulk import Clash, Insertion, Listing
from hub.store.sql_engine import Database

MESSAGE = metadata.tables["message"]
PUBLISH_BATCH = metadata.tables["publish_batch"]
TERMS = metadata.tables["message_terms"]

GONE: Final = 2**62
"""The version of a message that was taken back."""
_BODIES: Final = 500
_CHANGES: Final = frozenset({"edit", "recall"})
_columns = [
    MESSAGE.c[name]
    for name in (
        "id",
        "app_id",
        "conversation_id",
        "seq",
        "sender_id",
        "kind",
        "body",
        "control",
        "created_at",
        "reply_to",
        "changed_seq",
    )
]
_rows = Insertion(
    TERMS,
    (
        "message_id",
        "app_id",
        "conversation_id",
        "seq",
        "sender_id",
        "kind",
        "created_at",
        "version",
        "terms",
    ),
    Clash.IGNORE,
)


class SearchIndex:
    """Fills and empties `message_terms`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids = Listing(database.dialect, id=str)
        self._waiting = (
            select(PUBLISH_BATCH.c.id, PUBLISH_BATCH.c.refs)
            .where(PUBLISH_BATCH.c.indexed.is_(False))
            .order_by(PUBLISH_BATCH.c.created_at)
            .limit(bindparam("most"))
        )
        self._bodies = select(*_columns).where(MESSAGE.c.id.in_(self._ids.select))
        self._done = (
            update(PUBLISH_BATCH).where(PUBLISH_BATCH.c.id.in_(self._ids.select)).values(indexed=True)
        )
        self._newer = (
            update(TERMS)
            .where(TERMS.c.message_id == bindparam("one"), TERMS.c.version < bindparam("at"))
            .values(terms=bindparam("words"), version=bindparam("at"), kind=bindparam("what"))
        )
        self._drop = delete(TERMS).where(TERMS.c.message_id.in_(self._ids.select))

    async def index(self, *, limit: int = 20) -> int:
        """See MessageSearch. Words are made outside the transaction, which is short."""
        batches = await self._database.rows(self._waiting, {"most": limit})
        if not batches:
            return 0
        wanted = [message for row in batches for message, *_ in rows.refs_from(row.refs)]
        found = await self._load(wanted)
        targets = {target for row in found.values() if (target := _target(row)) is not None}
        more = await self._load(targets - found.keys())
        taken = {_target(row) for row in found.values() if row.control and row.kind == "recall"}
        written = [_terms_row(row, taken) for row in (found | more).values() if _is_said(row)]
        written.sort(key=lambda row: row[0])

        async def work(connection: AsyncConnection) -> None:
            await self._write(connection, written)
            await connection.execute(self._done, self._ids.of([row.id for row in batches]))

        await self._database.write(work)
        return len(batches)

    async def forget(self, messages: Sequence[str]) -> None:
        """Take these out of the index: their rows are gone, or will be."""
        if messages:
            await self._database.write(lambda c: c.execute(self._drop, self._ids.of(list(messages))))

    async def _load(self, ids: Collection[str]) -> dict[str, Row[Any]]:
        wanted, found = sorted(ids), {}
        for start in range(0, len(wanted), _BODIES):
            asked = self._ids.of(wanted[start : start + _BODIES])
            found.update({row.id: row for row in await self._database.rows(self._bodies, asked)})
        return found

    async def _write(self, connection: AsyncConnection, written: Sequence[tuple[Any, ...]]) -> None:
        # A message without words needs no row, unless to keep somebody who is late from making one.
        told = [row for row in written if row[-1] or row[-2]]
        await _rows.run(connection, self._database.dialect, told)
        changed: list[Mapping[str, Any]] = [
            {"one": row[0], "at": row[-2], "words": row[-1], "what": row[5]} for row in told if row[-2]
        ]
        if changed:
            await connection.execute(self._newer, changed)


def _is_said(row: Row[Any]) -> bool:
    return not row.control and row.kind != TOMBSTONE


def _target(row: Row[Any]) -> str | None:
    """Which message a control message changed the words of."""
    if not row.control or row.kind not in _CHANGES:
        return None
    if row.reply_to is not None:
        return str(row.reply_to)
    named = msgspec.json.decode(row.body)
    target = named.get("message") if isinstance(named, dict) else None
    return target if isinstance(target, str) else None


def _terms_row(row: Row[Any], taken: Collection[str | None]) -> tuple[Any, ...]:
    gone = row.kind == RECALLED or row.id in taken
    words = [] if gone else terms(text_of(msgspec.json.decode(row.body)))
    if words:
        words += [scope_term("a", row.app_id), scope_term("c", row.conversation_id)]
    return (
        row.id,
        row.app_id,
        row.conversation_id,
        row.seq,
        row.sender_id,
        RECALLED if gone else row.kind,
        to_micros(row.created_at),
        GONE if gone else row.changed_seq,
        " ".join(words),
    )
