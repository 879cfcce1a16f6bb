"""The part of `TaskStore` that is not about one task's state: its story, cards, reminders, and what is to be done."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.delivery import DeliveryId, DeliveryState
from hub.core.message import NotificationId, UserKey
from hub.core.records import PageRequest, Slice
from hub.core.task import FollowUpId, Holder, Reminder, StoredFollowUp, TaskEvent, TaskId
from hub.core.task_store import Recorded, Send
from hub.store import approvals_rows as rows
from hub.store.directory_base import DELIVERY, insert_ignore, place, slice_of, values_of
from hub.store.schema import metadata
from hub.store.sql_engine import Database

HOLDER = metadata.tables["task_holder"]
EVENT = metadata.tables["task_event"]
FOLLOW_UP = metadata.tables["task_follow_up"]
REMINDER = metadata.tables["task_reminder"]

_MOST_REMINDERS = 1_000


class ApprovalsOutbox:
    """Mixed into `SqlTasks`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def timeline(self, task: TaskId, page: PageRequest) -> Slice[Recorded]:
        """See the port."""
        query = select(EVENT).where(EVENT.c.task_id == task).order_by(EVENT.c.id)
        if page.after is not None:
            query = query.where(EVENT.c.id > values_of(page.after, tuple[str])[0])
        return await slice_of(
            self._database, query, page, read=rows.recorded_of, mark=lambda row: place(row.id)
        )

    async def note(self, task: TaskId, event_id: str, event: TaskEvent) -> None:
        """See the port."""
        async with self._database.writing() as connection:
            values = rows.event_values(task, event_id, event)
            await connection.execute(insert_ignore(connection, EVENT, [values]))

    async def hold(self, task: TaskId, holders: Sequence[Holder]) -> None:
        """See the port."""
        if not holders:
            return
        async with self._database.writing() as connection:
            values = [rows.holder_values(task, holder) for holder in holders]
            await connection.execute(insert_ignore(connection, HOLDER, values))

    async def holders(self, task: TaskId) -> Sequence[Holder]:
        """See the port."""
        query = select(HOLDER).where(HOLDER.c.task_id == task)
        query = query.order_by(HOLDER.c.notification_id, HOLDER.c.user_id)
        return [rows.holder_of(row) for row in await self._database.rows(query)]

    async def sends(self, notifications: Collection[NotificationId]) -> Sequence[Send]:
        """See the port."""
        if not notifications:
            return []
        wanted = ("id", "notification_id", "user_id", "channel", "state")
        query = select(*(DELIVERY.c[name] for name in wanted)).where(
            DELIVERY.c.notification_id.in_(list(notifications))
        )
        return [
            Send(
                DeliveryId(row.id),
                NotificationId(row.notification_id),
                UserKey(row.user_id),
                row.channel,
                DeliveryState(row.state),
            )
            for row in await self._database.rows(query)
        ]

    async def follow_ups(
        self, *, now: datetime, lease_until: datetime, limit: int, ids: Collection[FollowUpId] | None = None
    ) -> Sequence[StoredFollowUp]:
        """See the port."""
        query = select(FOLLOW_UP).order_by(FOLLOW_UP.c.due_at, FOLLOW_UP.c.id).limit(limit)
        if ids is not None:
            found = await self._database.rows(query.where(FOLLOW_UP.c.id.in_(list(ids))))
            return [rows.follow_up_of(row) for row in found]
        # A look without a lock first: most sweeps find nothing.
        if not await self._database.rows(select(FOLLOW_UP.c.id).where(FOLLOW_UP.c.due_at <= now).limit(1)):
            return []

        async def claim(connection: AsyncConnection) -> list[StoredFollowUp]:
            due = query.where(FOLLOW_UP.c.due_at <= now).with_for_update(skip_locked=True)
            claimed = (await connection.execute(due)).all()
            if claimed:
                mine = FOLLOW_UP.c.id.in_([row.id for row in claimed])
                await connection.execute(update(FOLLOW_UP).where(mine).values(due_at=lease_until))
            return [rows.follow_up_of(row) for row in claimed]

        return await self._database.write(claim)

    async def done(self, follow_up: FollowUpId) -> None:
        """See the port."""
        async with self._database.writing() as connection:
            await connection.execute(delete(FOLLOW_UP).where(FOLLOW_UP.c.id == follow_up))

    async def postpone(self, follow_up: FollowUpId, due_at: datetime, tries: int) -> None:
        """See the port."""
        async with self._database.writing() as connection:
            mine = update(FOLLOW_UP).where(FOLLOW_UP.c.id == follow_up)
            await connection.execute(mine.values(due_at=due_at, tries=tries))

    async def reminders(self, task: TaskId) -> Sequence[Reminder]:
        """See the port."""
        query = select(REMINDER).where(REMINDER.c.task_id == task)
        query = query.order_by(REMINDER.c.at.desc(), REMINDER.c.id.desc()).limit(_MOST_REMINDERS)
        return [rows.reminder_of(row) for row in reversed(await self._database.rows(query))]

    async def heard_since(self, users: Collection[UserKey], since: datetime) -> Mapping[UserKey, int]:
        """See the port."""
        if not users:
            return {}
        query = (
            select(REMINDER.c.user_id, func.count().label("heard"))
            .where(REMINDER.c.user_id.in_(list(users)), REMINDER.c.at > since)
            .group_by(REMINDER.c.user_id)
        )
        return {UserKey(row.user_id): row.heard for row in await self._database.rows(query)}
