"""Changes of tasks on their way into the store: with their story, what webhooks hear of, and what must follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from hub.core.approvals_words import dumps, happened
from hub.core.message import AppId
from hub.core.ports import Clock, NewId
from hub.core.task import FollowUpId, Reminder, StoredFollowUp, Task
from hub.core.task_flow import Change
from hub.core.task_store import TaskStore, TaskWrite
from hub.core.webhooks import WebhookEvent, WebhookEventId

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decided(Generic[T]):
    """What a look at a task led to: a change (or none), an answer, and who was pressed."""

    answer: T
    change: Change | None = None
    reminders: tuple[Reminder, ...] = ()


@dataclass(frozen=True, slots=True)
class Committed(Generic[T]):
    """The answer, and the follow-ups that were committed with it."""

    answer: T
    follow: tuple[FollowUpId, ...] = ()


class Ledger:
    """Commits changes. `lease` is how long their follow-ups belong to who committed them."""

    def __init__(self, store: TaskStore, *, clock: Clock, new_id: NewId, lease: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._lease = lease

    async def commit(self, app: AppId, ref: str, decide: Callable[[Task | None], Decided[T]]) -> Committed[T]:
        """`decide` sees the task as it is now; it may be asked again. Nothing is written where it changes nothing."""

        def work(task: Task | None) -> tuple[TaskWrite | None, Committed[T]]:
            decided = decide(task)
            if decided.change is None or not decided.change.changed:
                return None, Committed(decided.answer)
            write = self._write(task, decided.change, decided.reminders)
            return write, Committed(decided.answer, tuple(one.id for one in write.follow))

        return await self._store.change(app, ref, work)

    def _write(self, before: Task | None, change: Change, reminders: Sequence[Reminder]) -> TaskWrite:
        now, task = self._clock(), change.task
        rev = 1 if before is None else before.rev + 1
        stem = f"{task.id.removeprefix('tsk_')}_{rev}"
        return TaskWrite(
            task=task,
            due_at=now + self._lease,
            events=tuple((self._new_id("tev"), event) for event in change.events),
            follow=tuple(
                StoredFollowUp(FollowUpId(self._new_id("flw")), task.app, task.id, what, now)
                for what in change.follow
            ),
            hooks=tuple(
                WebhookEvent(
                    WebhookEventId(f"evt_{stem}_{number}"),
                    task.app,
                    f"task.{event.name}",
                    event.at,
                    dumps(happened(task, event)),
                )
                for number, event in enumerate(change.events)
            ),
            reminders=tuple((self._new_id("rem"), one) for one in reminders),
        )
