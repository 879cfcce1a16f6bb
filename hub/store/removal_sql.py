"""`RemovalStore` in SQL: the job's row, and each step of it in short transactions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from sqlalchemy import Row, Table, and_, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind
from hub.core.message import SYSTEM, AppId, ConversationId, UserKey
from hub.core.ports import NewId
from hub.core.removal import DELETED, Removal, RemovalId, RemovalState, Written
from hub.store.belongings import BELONGINGS, CHILDREN, Fate, belongs_to, column_of
from hub.store.directory_base import AUDIT, CONVERSATION, MEMBER, USER, Basis, dumps
from hub.store.directory_sql import SqlDirectory
from hub.store.removed_names import name_hash
from hub.store.schema import metadata
from hub.store.sql_engine import Database

REMOVAL = metadata.tables["user_removal"]
REACTION = metadata.tables["reaction"]
REACTION_COUNT = metadata.tables["reaction_count"]
TASK = metadata.tables["task"]
TASK_ACTION = metadata.tables["task_action"]
_TEXTS: Final = (
    ("task_assignee", "given_by"),
    ("task_event", "actor"),
    ("task_reminder", "requester"),
)
"""Columns of tasks that may hold the product's id."""


class WrittenStore(Protocol):
    """Where messages lie: what a user wrote, and what a user was sent."""

    async def erase_written(self, app: AppId, user: UserKey, *, limit: int) -> int:
        """Erase some of what a user wrote; how much."""
        ...

    async def drop_queue(self, user: UserKey, *, limit: int) -> int:
        """Remove some of a user's references; how many."""
        ...


class SqlRemovals:
    """`RemovalStore`."""

    def __init__(self, basis: Basis, directory: SqlDirectory, written: WrittenStore, new_id: NewId) -> None:
        self._basis = basis
        self._database: Database = basis.database
        self._directory = directory
        self._written = written
        self._new_id = new_id

    async def begin(
        self, app: AppId, user_id: str, messages: Written, *, actor: str, now: datetime
    ) -> Removal | None:
        """See the port. The name of the user is free again at once; what was issued under it is refused."""
        id_ = RemovalId(self._new_id("rmv"))

        async def work(connection: AsyncConnection) -> Removal | None:
            mine = (USER.c.app_id == app, USER.c.user_id == user_id)
            row = (await connection.execute(select(USER.c.id).where(*mine).with_for_update())).one_or_none()
            if row is None:
                return None
            hidden = {
                "user_id": f"{DELETED}/{id_}",
                "name": "",
                "preferences": "{}",
                "last_seen_at": None,
                "tokens_after": now,
            }
            await connection.execute(update(USER).where(USER.c.id == row.id).values(hidden))
            removal = Removal(id_, app, UserKey(row.id), user_id, messages, RemovalState.RUNNING, 0, 0, now)
            noted = {**_row(removal, now), "name_hash": name_hash(app, user_id)}
            await connection.execute(insert(REMOVAL).values(noted))
            audit = {
                "id": self._new_id("aud"),
                "app_id": app,
                "at": now,
                "actor": actor,
                "action": "user.remove",
                "target": id_,
                "detail": dumps({"messages": messages.value}),
            }
            await connection.execute(insert(AUDIT).values(audit))
            return removal

        removal = await self._database.write(work)
        if removal is not None:
            self._basis.caches.standings.forget((app, user_id))
            self._basis.caches.numbers.forget(app, user_id)
        return removal

    async def get(self, app: AppId, removal: str) -> Removal | None:
        """See the port."""
        query = select(REMOVAL).where(REMOVAL.c.id == removal, REMOVAL.c.app_id == app)
        rows = await self._database.rows(query)
        return _removal_of(rows[0]) if rows else None

    async def due(self, *, now: datetime, lease: timedelta, limit: int) -> list[Removal]:
        """See the port."""
        waiting = and_(REMOVAL.c.state == RemovalState.RUNNING.value, REMOVAL.c.due_at <= now)
        query = select(REMOVAL).where(waiting).order_by(REMOVAL.c.due_at).limit(limit)

        async def work(connection: AsyncConnection) -> list[Removal]:
            rows = (await connection.execute(query.with_for_update())).all()
            ids = [row.id for row in rows]
            if ids:
                mine = update(REMOVAL).where(REMOVAL.c.id.in_(ids), waiting).values(due_at=now + lease)
                await connection.execute(mine)
            return [_removal_of(row) for row in rows]

        return await self._database.write(work)

    async def note(self, removal: Removal, *, now: datetime, lease: timedelta) -> None:
        """See the port. Who is gone leaves no trace in the note of it either."""
        done = removal.state is RemovalState.DONE
        kept = replace(removal, user=SYSTEM, user_id="") if done else removal
        row = _row(kept, now + lease)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(REMOVAL).where(REMOVAL.c.id == removal.id).values(row))

        await self._database.write(work)

    async def leave_groups(
        self, removal: Removal, *, limit: int
    ) -> Collection[tuple[ConversationId, list[UserKey]]]:
        """See the port."""
        async with self._directory.change(removal.app, actor=removal.id) as change:
            changed = await change.expel(removal.user, limit=limit)
        if changed:
            return [(one.record.id, list(one.users)) for one in changed]
        left = await self._database.write(lambda one: _leave_conversations(one, removal.user, limit))
        return [(ConversationId(id_), []) for id_ in left]

    async def erase_written(self, removal: Removal, *, limit: int) -> int:
        """See the port."""
        return await self._written.erase_written(removal.app, removal.user, limit=limit)

    async def drop_queue(self, removal: Removal, *, limit: int) -> int:
        """See the port."""
        return await self._written.drop_queue(removal.user, limit=limit)

    async def drop_belongings(self, removal: Removal, *, limit: int) -> int:
        """See the port. One table after the other: the first that has something."""
        user = removal.user

        async def work(connection: AsyncConnection) -> int:
            for special in (_take_reactions, _leave_actions):
                if gone := await special(connection, user, limit):
                    return gone
            for place, fate in BELONGINGS.items():
                column, gone = column_of(place), 0
                match fate:
                    case Fate.DELETED:
                        gone = await _delete_some(connection, column.table, column == user, limit)
                    case Fate.NOBODY:
                        gone = await _disown_some(connection, column, user, limit)
                    case Fate.ELSEWHERE:
                        pass
                if gone:
                    return gone
            return 0

        return await self._database.write(work)

    async def drop_traces(self, removal: Removal, *, limit: int) -> int:
        """See the port."""
        name, app = removal.user_id, removal.app
        if not name:
            return 0

        async def work(connection: AsyncConnection) -> int:
            gone = 0
            theirs = (AUDIT.c.app_id == app, AUDIT.c.target == name)
            gone += await _rename(connection, AUDIT, "target", "", *theirs, limit=limit)
            acted = (AUDIT.c.app_id == app, AUDIT.c.actor == f"user:{name}")
            gone += await _rename(connection, AUDIT, "actor", DELETED, *acted, limit=limit)
            of_app = select(TASK.c.id).where(TASK.c.app_id == app)
            for table_name, column in _TEXTS:
                table = metadata.tables[table_name]
                told = (table.c[column].in_([name, f"user:{name}"]), table.c.task_id.in_(of_app))
                gone += await _rename(connection, table, column, DELETED, *told, limit=limit)
            said = metadata.tables["announcement"]
            of_app = select(CONVERSATION.c.id).where(CONVERSATION.c.app_id == app)
            by_them = (said.c.by_user == name, said.c.conversation_id.in_(of_app))
            gone += await _rename(connection, said, "by_user", None, *by_them, limit=limit)
            return gone

        return await self._database.write(work)

    async def drop_user(self, removal: Removal) -> int:
        """See the port. SQLite gives the highest number again once its row is gone: the shell of the newest user stays
        until there is a newer one, with nothing in it."""
        shells = and_(
            USER.c.user_id.like(f"{DELETED}/%"),
            ~select(REMOVAL.c.id)
            .where(
                REMOVAL.c.user_id == USER.c.id,
                REMOVAL.c.state == RemovalState.RUNNING.value,
                REMOVAL.c.id != removal.id,
            )
            .exists(),
        )

        async def work(connection: AsyncConnection) -> None:
            newest = await connection.scalar(select(func.max(USER.c.id)))
            ids = list(await connection.scalars(select(USER.c.id).where(shells, USER.c.id < newest)))
            await connection.execute(delete(USER).where(USER.c.id.in_(ids)))

        await self._database.write(work)
        return 0


async def _leave_conversations(connection: AsyncConnection, user: UserKey, limit: int) -> Sequence[str]:
    """Out of some direct conversations, or the inbox: which. Groups were left before, with notices."""
    query = (
        select(MEMBER.c.conversation_id, CONVERSATION.c.kind)
        .select_from(MEMBER.join(CONVERSATION, CONVERSATION.c.id == MEMBER.c.conversation_id))
        .where(MEMBER.c.user_id == user)
        .order_by(MEMBER.c.conversation_id)
        .limit(limit)
    )
    rows = (await connection.execute(query)).all()
    ids = [row.conversation_id for row in rows]
    if not ids:
        return []
    direct = [row.conversation_id for row in rows if row.kind != ConversationKind.INBOX]
    moved = {"version": CONVERSATION.c.version + 1, "member_count": CONVERSATION.c.member_count - 1}
    if direct:
        await connection.execute(update(CONVERSATION).where(CONVERSATION.c.id.in_(direct)).values(moved))
    await connection.execute(
        delete(MEMBER).where(MEMBER.c.user_id == user, MEMBER.c.conversation_id.in_(ids))
    )
    return ids


async def _take_reactions(connection: AsyncConnection, user: UserKey, limit: int) -> int:
    theirs = REACTION.c.user_id == user
    query = select(REACTION.c.message_id, REACTION.c.emoji, REACTION.c.added).where(theirs).limit(limit)
    rows = (await connection.execute(query)).all()
    for row in sorted(rows, key=lambda one: (one.message_id, one.emoji)):
        if row.added:
            counter = and_(REACTION_COUNT.c.message_id == row.message_id, REACTION_COUNT.c.emoji == row.emoji)
            less = update(REACTION_COUNT).where(counter, REACTION_COUNT.c.count > 0)
            await connection.execute(less.values(count=REACTION_COUNT.c.count - 1))
        one = and_(theirs, REACTION.c.message_id == row.message_id, REACTION.c.emoji == row.emoji)
        await connection.execute(delete(REACTION).where(one))
    return len(rows)


async def _leave_actions(connection: AsyncConnection, user: UserKey, limit: int) -> int:
    """That somebody decided stays true; who it was, and what they wrote, is gone."""
    ids = list(
        await connection.scalars(select(TASK_ACTION.c.id).where(TASK_ACTION.c.user_id == user).limit(limit))
    )
    nobody = {"user_id": SYSTEM, "person": DELETED, "comment": "", "client_action_id": None}
    if ids:
        await connection.execute(update(TASK_ACTION).where(TASK_ACTION.c.id.in_(ids)).values(nobody))
    return len(ids)


async def _delete_some(connection: AsyncConnection, table: Any, theirs: Any, limit: int) -> int:
    keys = list(table.primary_key.columns)
    rows = (await connection.execute(select(*keys).where(theirs).limit(limit))).all()
    if not rows:
        return 0
    which = _one_of(keys, rows)
    for child in CHILDREN.get(table.name, ()):
        children = metadata.tables[child.table]
        await connection.execute(delete(children).where(belongs_to(child, table, which)))
    await connection.execute(delete(table).where(which))
    return len(rows)


async def _disown_some(connection: AsyncConnection, column: Any, user: UserKey, limit: int) -> int:
    keys = list(column.table.primary_key.columns)
    rows = (await connection.execute(select(*keys).where(column == user).limit(limit))).all()
    if rows:
        await connection.execute(
            update(column.table).where(_one_of(keys, rows)).values({column.name: SYSTEM})
        )
    return len(rows)


async def _rename(
    connection: AsyncConnection, table: Table, column: str, value: str | None, *which: Any, limit: int
) -> int:
    keys = list(table.primary_key.columns)
    rows = (await connection.execute(select(*keys).where(*which).limit(limit))).all()
    if rows:
        await connection.execute(update(table).where(_one_of(keys, rows)).values({column: value}))
    return len(rows)


def _one_of(keys: Sequence[Any], rows: Sequence[Row[Any]]) -> Any:
    if len(keys) == 1:
        return keys[0].in_([row[0] for row in rows])
    return tuple_(*keys).in_([tuple(row) for row in rows])


def _row(removal: Removal, due_at: datetime) -> dict[str, Any]:
    return {
        "id": removal.id,
        "app_id": removal.app,
        "user_id": removal.user,
        "name": removal.user_id,
        "messages": removal.messages.value,
        "state": removal.state.value,
        "step": removal.step,
        "removed": removal.removed,
        "due_at": due_at,
        "created_at": removal.created_at,
        "ended_at": removal.ended_at,
    }


def _removal_of(row: Row[Any]) -> Removal:
    return Removal(
        id=RemovalId(row.id),
        app=AppId(row.app_id),
        user=UserKey(row.user_id),
        user_id=row.name,
        messages=Written(row.messages),
        state=RemovalState(row.state),
        step=row.step,
        removed=row.removed,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
