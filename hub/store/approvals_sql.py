"""`TaskStore` over SQL. A task's row is locked while it is decided about; the slots of its actions are the fence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Row, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import Unavailable
from hub.core.message import AppId, MessageId, UserKey
from hub.core.records import PageRequest, Slice
from hub.core.task import Task, TaskId, TaskState
from hub.core.task_store import Decide, TaskFilter, TaskWrite
from hub.store import approvals_rows as rows
from hub.store.approvals_outbox import ApprovalsOutbox
from hub.store.directory_base import place, values_of
from hub.store.schema import metadata
from hub.store.sql_engine import Database
from hub.store.sql_errors import Fault, fault
from hub.store.webhook_outbox import put_events

T = TypeVar("T")

TASK = metadata.tables["task"]
ASSIGNEE = metadata.tables["task_assignee"]
CC = metadata.tables["task_cc"]
ACTION = metadata.tables["task_action"]
HOLDER = metadata.tables["task_holder"]
TIMER = metadata.tables["task_timer"]
EVENT = metadata.tables["task_event"]
FOLLOW_UP = metadata.tables["task_follow_up"]
REMINDER = metadata.tables["task_reminder"]

_TRIES = 6


class SqlTasks(ApprovalsOutbox):
    """`TaskStore`. Several may share one database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    async def change(self, app: AppId, ref: str, decide: Decide[T]) -> T:
        """See the port."""
        for _ in range(_TRIES):
            try:
                return await self._database.write(
                    lambda connection: self._change(connection, app, ref, decide)
                )
            except IntegrityError as error:
                if fault(error) is not Fault.TAKEN:
                    raise
        raise Unavailable("contention", "Others were changing the same task. Try again shortly.")

    async def _change(self, connection: AsyncConnection, app: AppId, ref: str, decide: Decide[T]) -> T:
        found = (await connection.execute(_one(app, ref).with_for_update())).first()
        before = None if found is None else (await _filled(connection, [found]))[0]
        write, answer = decide(before)
        if write is not None:
            await self._write(connection, before, write)
        return answer

    async def _write(self, connection: AsyncConnection, before: Task | None, write: TaskWrite) -> None:
        task = write.task
        if before is None:
            await connection.execute(insert(TASK).values(**rows.task_values(task), rev=1))
        else:
            values = {**rows.task_values(task), "rev": before.rev + 1}
            await connection.execute(update(TASK).where(TASK.c.id == task.id).values(values))
        await _replace_parts(connection, before, task)
        await _write_intents(connection, before, task)
        lines = [rows.event_values(task.id, id_, event) for id_, event in write.events]
        follow = [{**rows.follow_up_values(one), "due_at": write.due_at} for one in write.follow]
        pressed = [rows.reminder_values(id_, one) for id_, one in write.reminders]
        for table, values_list in ((EVENT, lines), (FOLLOW_UP, follow), (REMINDER, pressed)):
            if values_list:
                await connection.execute(insert(table), values_list)
        await put_events(connection, self._database.dialect, write.hooks)

    async def task(self, app: AppId, ref: str) -> Task | None:
        """See the port."""
        found = await self._read(_one(app, ref))
        return found[0] if found else None

    async def app_of(self, task: TaskId) -> AppId | None:
        """See the port."""
        found = await self._database.rows(select(TASK.c.app_id).where(TASK.c.id == task))
        return AppId(found[0].app_id) if found else None

    async def _read(self, query: Select[Any]) -> list[Task]:
        async def work(connection: AsyncConnection) -> list[Task]:
            return await _filled(connection, (await connection.execute(query)).all())

        return await self._database.read(work)

    async def tasks(self, app: AppId, only: TaskFilter, page: PageRequest) -> Slice[Task]:
        """See the port."""
        query = select(TASK).where(TASK.c.app_id == app).order_by(TASK.c.id.desc()).limit(page.limit + 1)
        if only.assignee is not None:
            mine = select(ASSIGNEE.c.task_id).where(ASSIGNEE.c.user_id == only.assignee)
            if only.part is not None:
                mine = mine.where(ASSIGNEE.c.state == only.part.value)
            query = query.where(TASK.c.id.in_(mine))
        if only.cc is not None:
            query = query.where(TASK.c.id.in_(select(CC.c.task_id).where(CC.c.user_id == only.cc)))
        if only.state is not None:
            query = query.where(TASK.c.state == only.state.value)
        if only.instance is not None:
            query = query.where(TASK.c.instance_id == only.instance)
        if page.after is not None:
            query = query.where(TASK.c.id < values_of(page.after, tuple[str])[0])
        found = await self._read(query)
        shown = found[: page.limit]
        return Slice(shown, place(shown[-1].id) if len(found) > page.limit else None)

    async def instance(self, app: AppId, instance: str) -> Sequence[Task]:
        """See the port."""
        query = (
            select(TASK)
            .where(TASK.c.app_id == app, TASK.c.instance_id == instance)
            .where(TASK.c.state == TaskState.PENDING.value)
            .order_by(TASK.c.id)
        )
        return await self._read(query)

    async def versions(
        self, app: AppId, business_ids: Collection[str]
    ) -> Mapping[str, tuple[int, TaskState]]:
        """See the port."""
        query = select(TASK.c.business_id, TASK.c.version, TASK.c.state).where(
            TASK.c.app_id == app, TASK.c.business_id.in_(list(business_ids))
        )
        found = await self._database.rows(query)
        return {row.business_id: (row.version, TaskState(row.state)) for row in found}

    async def of_message(self, app: AppId, message: MessageId, user: UserKey) -> Task | None:
        """See the port."""
        query = (
            select(HOLDER.c.task_id).where(HOLDER.c.message_id == message, HOLDER.c.user_id == user).limit(1)
        )
        found = await self._database.rows(query)
        return await self.task(app, found[0].task_id) if found else None

    async def due_timers(self, *, now: datetime, limit: int) -> Sequence[tuple[AppId, TaskId]]:
        """See the port."""
        query = (
            select(TASK.c.app_id, TIMER.c.task_id)
            .join_from(TIMER, TASK, TASK.c.id == TIMER.c.task_id)
            .where(TIMER.c.due_at <= now)
            .order_by(TIMER.c.due_at)
            .limit(limit)
        )
        found = await self._database.rows(query)
        return list(dict.fromkeys((AppId(row.app_id), TaskId(row.task_id)) for row in found))


def _one(app: AppId, ref: str) -> Select[Any]:
    column = TASK.c.id if ref.startswith("tsk_") else TASK.c.business_id
    return select(TASK).where(TASK.c.app_id == app, column == ref)


async def _filled(connection: AsyncConnection, found: Sequence[Row[Any]]) -> list[Task]:
    """Tasks with all that belongs to them, in the order of their rows."""
    if not found:
        return []
    ids = [row.id for row in found]
    parts: dict[str, dict[str, list[Row[Any]]]] = {}
    orders = {
        ASSIGNEE: (ASSIGNEE.c.position,),
        CC: (CC.c.position,),
        ACTION: (ACTION.c.created_at, ACTION.c.id),
        TIMER: (TIMER.c.due_at, TIMER.c.name),
    }
    for table, order in orders.items():
        query = select(table).where(table.c.task_id.in_(ids)).order_by(*order)
        for row in await connection.execute(query):
            parts.setdefault(row.task_id, {}).setdefault(table.name, []).append(row)

    def of(task: str, name: str) -> list[Row[Any]]:
        return parts.get(task, {}).get(name, [])

    return [
        rows.task_of(row, *(of(row.id, table.name) for table in (ASSIGNEE, CC, ACTION, TIMER)))
        for row in found
    ]


async def _replace_parts(connection: AsyncConnection, before: Task | None, task: Task) -> None:
    """What is a list of the task's own is written whole where it changed."""
    pieces = (
        (ASSIGNEE, before.assignees if before else (), task.assignees, rows.assignee_values(task)),
        (CC, before.cc if before else (), task.cc, rows.cc_values(task)),
        (TIMER, before.timers if before else (), task.timers, rows.timer_values(task)),
    )
    for table, was, is_, values in pieces:
        if was == is_:
            continue
        if was:
            await connection.execute(delete(table).where(table.c.task_id == task.id))
        if values:
            await connection.execute(insert(table), values)


async def _write_intents(connection: AsyncConnection, before: Task | None, task: Task) -> None:
    known = {one.id: one for one in before.intents} if before else {}
    for intent in task.intents:
        values = rows.intent_values(task.id, intent)
        if intent.id not in known:
            await connection.execute(insert(ACTION).values(values))
        elif intent != known[intent.id]:
            await connection.execute(update(ACTION).where(ACTION.c.id == intent.id).values(values))
