"""What approvals ask of SQL: tasks changed one at a time, their story, and an outbox of what must follow a change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from hub.core.delivery import DeliveryId, DeliveryState
from hub.core.message import AppId, MessageId, NotificationId, UserKey
from hub.core.records import PageRequest, Slice
from hub.core.task import (
    FollowUpId,
    Holder,
    Reminder,
    StoredFollowUp,
    Task,
    TaskEvent,
    TaskId,
    TaskState,
)
from hub.core.webhooks import WebhookEvent

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TaskWrite:
    """What one transaction writes: the task, its new lines, and what must follow. `due_at` is when the sweep may take
    the follow-ups over from whoever commits them."""

    task: Task
    due_at: datetime
    events: tuple[tuple[str, TaskEvent], ...] = ()
    """With an id each; ids sort by time."""
    follow: tuple[StoredFollowUp, ...] = ()
    hooks: tuple[WebhookEvent, ...] = ()
    reminders: tuple[tuple[str, Reminder], ...] = ()


Decide = Callable[[Task | None], tuple[TaskWrite | None, T]]
"""Looks at the task as it is now and says what to write (None: nothing) and what to answer. May be called again where
another was faster: it must have no other effects."""


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks; None does not narrow. `part` is the state of the assignee's own part."""

    assignee: UserKey | None = None
    cc: UserKey | None = None
    state: TaskState | None = None
    part: TaskState | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """One outside delivery of a task's notification."""

    id: DeliveryId
    notification: NotificationId
    user: UserKey
    channel: str
    state: DeliveryState


@dataclass(frozen=True, slots=True)
class Recorded:
    """A line of a task's story with its id."""

    id: str
    event: TaskEvent


class TaskStore(Protocol):
    """Every method is one transaction and may raise errors.Unavailable. `ref` is the hub's id or the business's own."""

    async def change(self, app: AppId, ref: str, decide: Decide[T]) -> T:
        """Read, decide, write: as if nobody else did so at the same time. Of two decisions that take the same slot
        one is stored, by the database's key; the other is decided again."""
        ...

    async def task(self, app: AppId, ref: str) -> Task | None:
        """One task."""
        ...

    async def app_of(self, task: TaskId) -> AppId | None:
        """Whose task this is: for links, which name no app."""
        ...

    async def tasks(self, app: AppId, only: TaskFilter, page: PageRequest) -> Slice[Task]:
        """Tasks that match, newest first."""
        ...

    async def instance(self, app: AppId, instance: str) -> Sequence[Task]:
        """The tasks of an instance that are not over, oldest first."""
        ...

    async def versions(
        self, app: AppId, business_ids: Collection[str]
    ) -> Mapping[str, tuple[int, TaskState]]:
        """The business version and state of those that exist."""
        ...

    async def of_message(self, app: AppId, message: MessageId, user: UserKey) -> Task | None:
        """The task whose card this message is, for somebody who holds it."""
        ...

    async def timeline(self, task: TaskId, page: PageRequest) -> Slice[Recorded]:
        """The story, oldest first."""
        ...

    async def note(self, task: TaskId, event_id: str, event: TaskEvent) -> None:
        """A line that changes nothing. The same id twice is once."""
        ...

    async def hold(self, task: TaskId, holders: Sequence[Holder]) -> None:
        """These people have a card now. Twice is harmless."""
        ...

    async def holders(self, task: TaskId) -> Sequence[Holder]:
        """Who has which cards."""
        ...

    async def sends(self, notifications: Collection[NotificationId]) -> Sequence[Send]:
        """The deliveries of these notifications."""
        ...

    async def follow_ups(
        self, *, now: datetime, lease_until: datetime, limit: int, ids: Collection[FollowUpId] | None = None
    ) -> Sequence[StoredFollowUp]:
        """What is to be done: those that are due, oldest first, claimed until `lease_until`. With `ids`: these, by
        whoever has just committed them, due or not."""
        ...

    async def done(self, follow_up: FollowUpId) -> None:
        """It need not be done again."""
        ...

    async def postpone(self, follow_up: FollowUpId, due_at: datetime, tries: int) -> None:
        """To be tried again then."""
        ...

    async def due_timers(self, *, now: datetime, limit: int) -> Sequence[tuple[AppId, TaskId]]:
        """Tasks with a timer that has gone off, most overdue first, each once."""
        ...

    async def reminders(self, task: TaskId) -> Sequence[Reminder]:
        """Who was pressed about a task, oldest first; the newest 1,000."""
        ...

    async def heard_since(self, users: Collection[UserKey], since: datetime) -> Mapping[UserKey, int]:
        """How many reminders each of these users got since then, of any task; who got none is missing."""
        ...
