"""What a user wrote and what a user was sent, taken away bit by bit: where messages lie in SQL."""

from __future__ import annotations

from sqlalchemy import ColumnElement, case, delete, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.message import RECALLED, SYSTEM, TOMBSTONE, AppId, ConversationId, MessageId, UserKey
from hub.core.removal import DELETED
from hub.store.hanging import drop_hanging
from hub.store.sql_engine import Database
from hub.store.tables import metadata

MESSAGE = metadata.tables["message"]
QUEUE_ENTRY = metadata.tables["queue_entry"]


class SqlWritten:
    """Both verbs are one short transaction each, and may be repeated until they find nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def erase_written(self, app: AppId, user: UserKey, *, limit: int) -> int:
        """Erase some of what a user wrote, as a recall would, and who wrote it; how much."""
        query = (
            select(MESSAGE.c.id, MESSAGE.c.conversation_id, MESSAGE.c.seq)
            .where(MESSAGE.c.app_id == app, MESSAGE.c.sender_id == user)
            .limit(limit)
        )

        async def work(connection: AsyncConnection) -> int:
            rows = (await connection.execute(query)).all()
            found = [(MessageId(r.id), ConversationId(r.conversation_id), r.seq) for r in rows]
            if found:
                await drop_hanging(connection, found)
                erased = update(MESSAGE).where(MESSAGE.c.id.in_([id_ for id_, _, _ in found]))
                await connection.execute(erased.values(_NOTHING))
            return len(found)

        return await self._database.write(work)

    async def drop_queue(self, user: UserKey, *, limit: int) -> int:
        """Remove some of a user's references; how many."""
        query = (
            select(QUEUE_ENTRY.c.user_seq)
            .where(QUEUE_ENTRY.c.user_id == user)
            .order_by(QUEUE_ENTRY.c.user_seq)
            .limit(limit)
        )

        async def work(connection: AsyncConnection) -> int:
            numbers = list(await connection.scalars(query))
            if numbers:
                theirs = (QUEUE_ENTRY.c.user_id == user, QUEUE_ENTRY.c.user_seq <= numbers[-1])
                await connection.execute(delete(QUEUE_ENTRY).where(*theirs))
            return len(numbers)

        return await self._database.write(work)


def _body() -> ColumnElement[str]:
    """A control message still says which message it changed; nothing of what it said stays."""
    told = literal('{"message":"') + func.coalesce(MESSAGE.c.reply_to, "") + literal('"}')
    return case((MESSAGE.c.control.is_(True), told), else_="{}")


_NOTHING = {
    "body": _body(),
    "kind": case(
        (MESSAGE.c.kind == TOMBSTONE, MESSAGE.c.kind),
        (MESSAGE.c.control.is_(True), MESSAGE.c.kind),
        else_=RECALLED,
    ),
    "sender_id": SYSTEM,
    "sender": DELETED,
    "client_msg_id": None,
    "mentions": None,
    "forward_of": None,
}
