"""`TaskStore` in memory: for tests and for whoever embeds the core without a database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from hub.core.errors import Unavailable
from hub.core.message import AppId, MessageId, NotificationId, UserKey
from hub.core.records import PageRequest, Slice
from hub.core.task import FollowUpId, Holder, Reminder, StoredFollowUp, Task, TaskEvent, TaskId, TaskState
from hub.core.task_store import Decide, Recorded, Send, TaskFilter, TaskWrite
from hub.core.webhooks import WebhookEvent
from hub.store.directory_base import place, values_of

T = TypeVar("T")


class MemoryTasks:
    """`TaskStore`. `list_sends` says what became of notifications; `hooks` keeps what webhooks should hear."""

    def __init__(
        self, list_sends: Callable[[Collection[NotificationId]], Sequence[Send]] | None = None
    ) -> None:
        self.hooks: list[WebhookEvent] = []
        self._tasks: dict[TaskId, Task] = {}
        self._events: dict[TaskId, dict[str, TaskEvent]] = {}
        self._holders: dict[TaskId, dict[tuple[NotificationId, UserKey], Holder]] = {}
        self._follow: dict[FollowUpId, tuple[datetime, StoredFollowUp]] = {}
        self._reminders: list[Reminder] = []
        self._sends = list_sends

    async def change(self, app: AppId, ref: str, decide: Decide[T]) -> T:
        """See the port."""
        before = self._find(app, ref)
        write, answer = decide(before)
        if write is not None:
            self._write(before, write)
        return answer

    def _find(self, app: AppId, ref: str) -> Task | None:
        return next((t for t in self._tasks.values() if t.app == app and ref in (t.id, t.business_id)), None)

    def _write(self, before: Task | None, write: TaskWrite) -> None:
        slots = [one.slot for one in write.task.intents if one.slot is not None]
        if len(slots) != len(set(slots)):
            raise Unavailable("contention", "Two decisions hold one slot.")
        rev = 1 if before is None else before.rev + 1
        self._tasks[write.task.id] = replace(write.task, rev=rev)
        self._events.setdefault(write.task.id, {}).update(write.events)
        self._follow.update({one.id: (write.due_at, one) for one in write.follow})
        self._reminders += [one for _, one in write.reminders]
        self.hooks += write.hooks

    async def task(self, app: AppId, ref: str) -> Task | None:
        """See the port."""
        return self._find(app, ref)

    async def app_of(self, task: TaskId) -> AppId | None:
        """See the port."""
        return self._tasks[task].app if task in self._tasks else None

    async def tasks(self, app: AppId, only: TaskFilter, page: PageRequest) -> Slice[Task]:
        """See the port."""
        found = [task for task in self._newest(app) if _matches(task, only)]
        if page.after is not None:
            last = values_of(page.after, tuple[str])[0]
            found = [task for task in found if task.id < last]
        shown = found[: page.limit]
        return Slice(shown, place(shown[-1].id) if len(found) > page.limit else None)

    def _newest(self, app: AppId) -> Iterable[Task]:
        mine = [task for task in self._tasks.values() if task.app == app]
        return sorted(mine, key=lambda task: task.id, reverse=True)

    async def instance(self, app: AppId, instance: str) -> Sequence[Task]:
        """See the port."""
        found = [t for t in self._newest(app) if t.content.instance.id == instance and not t.state.final]
        return found[::-1]

    async def versions(
        self, app: AppId, business_ids: Collection[str]
    ) -> Mapping[str, tuple[int, TaskState]]:
        """See the port."""
        mine = [task for task in self._newest(app) if task.business_id in business_ids]
        return {task.business_id: (task.version, task.state) for task in mine}

    async def of_message(self, app: AppId, message: MessageId, user: UserKey) -> Task | None:
        """See the port."""
        for task, holders in self._holders.items():
            if any(one.message == message and one.user == user for one in holders.values()):
                return self._find(app, task)
        return None

    async def timeline(self, task: TaskId, page: PageRequest) -> Slice[Recorded]:
        """See the port."""
        found = [Recorded(id_, event) for id_, event in sorted(self._events.get(task, {}).items())]
        if page.after is not None:
            last = values_of(page.after, tuple[str])[0]
            found = [one for one in found if one.id > last]
        shown = found[: page.limit]
        return Slice(shown, place(shown[-1].id) if len(found) > page.limit else None)

    async def note(self, task: TaskId, event_id: str, event: TaskEvent) -> None:
        """See the port."""
        self._events.setdefault(task, {}).setdefault(event_id, event)

    async def hold(self, task: TaskId, holders: Sequence[Holder]) -> None:
        """See the port."""
        mine = self._holders.setdefault(task, {})
        for holder in holders:
            mine.setdefault((holder.notification, holder.user), holder)

    async def holders(self, task: TaskId) -> Sequence[Holder]:
        """See the port."""
        return [holder for _, holder in sorted(self._holders.get(task, {}).items())]

    async def sends(self, notifications: Collection[NotificationId]) -> Sequence[Send]:
        """See the port."""
        return [] if self._sends is None else self._sends(notifications)

    async def follow_ups(
        self, *, now: datetime, lease_until: datetime, limit: int, ids: Collection[FollowUpId] | None = None
    ) -> Sequence[StoredFollowUp]:
        """See the port."""
        ordered = sorted(self._follow.values(), key=lambda item: (item[0], item[1].id))
        if ids is not None:
            return [one for _, one in ordered if one.id in ids][:limit]
        claimed = [one for due, one in ordered if due <= now][:limit]
        self._follow.update({one.id: (lease_until, one) for one in claimed})
        return claimed

    async def done(self, follow_up: FollowUpId) -> None:
        """See the port."""
        self._follow.pop(follow_up, None)

    async def postpone(self, follow_up: FollowUpId, due_at: datetime, tries: int) -> None:
        """See the port."""
        if follow_up in self._follow:
            self._follow[follow_up] = (due_at, replace(self._follow[follow_up][1], tries=tries))

    async def due_timers(self, *, now: datetime, limit: int) -> Sequence[tuple[AppId, TaskId]]:
        """See the port."""
        due = [(t.due_at, task) for task in self._tasks.values() for t in task.timers if t.due_at <= now]
        due.sort(key=lambda item: item[0])
        return list(dict.fromkeys((task.app, task.id) for _, task in due[:limit]))

    async def reminders(self, task: TaskId) -> Sequence[Reminder]:
        """See the port."""
        return [one for one in self._reminders if one.task == task][-1_000:]

    async def heard_since(self, users: Collection[UserKey], since: datetime) -> Mapping[UserKey, int]:
        """See the port."""
        counts: dict[UserKey, int] = {}
        for one in self._reminders:
            if one.user in users and one.at > since:
                counts[one.user] = counts.get(one.user, 0) + 1
        return counts


def _matches(task: Task, only: TaskFilter) -> bool:
    if only.assignee is not None:
        part = task.assignee(only.assignee)
        if part is None or only.part not in (None, part.state):
            return False
    if only.cc is not None and only.cc not in {one.key for one in task.cc}:
        return False
    if only.state not in (None, task.state):
        return False
    return only.instance in (None, task.content.instance.id)
