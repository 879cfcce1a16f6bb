"""What happens to tasks by itself: reminders, escalation, and the end of their time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from hub.core.approvals_ledger import Decided, Ledger
from hub.core.approvals_people import Roll
from hub.core.approvals_ports import ApprovalPorts
from hub.core.approvals_press import Presser
from hub.core.errors import HubError
from hub.core.message import AppId
from hub.core.task import (
    EscalateTo,
    EscalationStep,
    FollowUp,
    FollowUpId,
    FollowUpKind,
    Person,
    Reminder,
    Task,
    TaskEvent,
    TaskId,
    Timer,
)
from hub.core.task_flow import HUB, Change, add_cc, drop_timers, expire
from hub.core.task_remind import Pressing
from hub.core.task_upsert import EXPIRE

log = logging.getLogger("hub.approvals")

_DECIDING_REST = timedelta(minutes=1)
"""A task whose decision waits for the business system does not expire; it is looked at again after this."""


@dataclass(frozen=True, slots=True)
class _Escalation:
    """A step whose time has come, with what it needs to know of people."""

    index: int
    step: EscalationStep
    pressed: Sequence[Pressing] = ()
    people: tuple[Person, ...] = ()


class Timers:
    """Lets timers go off, each once: it is removed in the transaction that does what it says."""

    def __init__(self, ports: ApprovalPorts, ledger: Ledger, roll: Roll, presser: Presser) -> None:
        self._ports = ports
        self._ledger = ledger
        self._roll = roll
        self._presser = presser

    async def sweep(self, *, limit: int) -> tuple[list[FollowUpId], int]:
        """What is to be done now, and how many tasks were looked at."""
        due = await self._ports.store.due_timers(now=self._ports.clock(), limit=limit)
        follow: list[FollowUpId] = []
        for app, task in due:
            try:
                follow += await self._fire(app, task)
            except HubError as error:
                log.warning("timer_postponed", extra={"task": task, "code": error.code})
            except Exception:
                # One task that cannot be understood must not stop the clocks of all the others.
                log.exception("timer_failed", extra={"task": task})
        return follow, len(due)

    async def _fire(self, app: AppId, task_id: TaskId) -> Sequence[FollowUpId]:
        task = await self._ports.store.task(app, task_id)
        if task is None:
            return ()
        now = self._ports.clock()
        steps = [await self._prepared(task, index, now) for index in _due_steps(task, now)]

        def decide(found: Task | None) -> Decided[None]:
            if found is None or found.rev != task.rev:
                return Decided(None)  # it has changed meanwhile; the next sweep looks again
            change, reminders = self._change(found, steps, now)
            return Decided(None, change, reminders)

        return (await self._ledger.commit(app, task_id, decide)).follow

    async def _prepared(self, task: Task, index: int, now: datetime) -> _Escalation:
        step = task.content.notify.escalation[index]
        waiting = [one.person.key for one in task.open if task.waits_for(one.person.key)]
        match step.to:
            case EscalateTo.REMIND:
                pressed = await self._presser.weigh(task, waiting, requester=HUB, by_clock=True)
                return _Escalation(index, step, pressed)
            case EscalateTo.DELEGATE | EscalateTo.MANAGER:
                manager = step.to is EscalateTo.MANAGER
                named = [step.user] if step.user else []
                if not named:
                    named = await self._roll.above(task.app, waiting, now, manager=manager)
                return _Escalation(index, step, people=await self._roll.persons(task.app, named))
            case EscalateTo.WEBHOOK:
                return _Escalation(index, step)
            case _:
                assert_never(step.to)

    def _change(
        self, task: Task, steps: Sequence[_Escalation], now: datetime
    ) -> tuple[Change, tuple[Reminder, ...]]:
        """Everything that is due, as one change."""
        over = [timer for timer in task.timers if timer.due_at <= now]
        left = drop_timers(task, [timer.name for timer in over])
        events: list[TaskEvent] = []
        follow: list[FollowUp] = []
        reminders: list[Reminder] = []
        for one in steps:
            change, pressed = self._escalate(left, one, now)
            left = change.task
            events += change.events
            follow += change.follow
            reminders += pressed
        if any(timer.name == EXPIRE for timer in over):
            ended = expire(left, now=now)
            if ended.changed:
                left, events, follow = ended.task, [*events, *ended.events], [*follow, *ended.follow]
            elif not left.state.final and left.due_at is not None:
                again = max(left.due_at, now + _DECIDING_REST)
                left = replace(left, timers=(*left.timers, Timer(EXPIRE, again)))
        return Change(left, tuple(events), tuple(follow)), tuple(reminders)

    def _escalate(self, task: Task, one: _Escalation, now: datetime) -> tuple[Change, tuple[Reminder, ...]]:
        about = {"step": str(one.index), "to": one.step.to.value}
        if one.people:
            about["users"] = ", ".join(person.id for person in one.people)
        told = TaskEvent(
            "sla_breached" if one.step.to is EscalateTo.WEBHOOK else "escalated", now, HUB, about
        )
        match one.step.to:
            case EscalateTo.REMIND:
                change, reminders = self._presser.pressing(task, one.pressed, requester=HUB)
                return replace(change, events=(told, *change.events)), reminders
            case EscalateTo.DELEGATE | EscalateTo.MANAGER:
                added = add_cc(task, one.people, now=now, actor=HUB)
                people = tuple(person.key for person in one.people)
                follow = (FollowUp(FollowUpKind.ANNOUNCE, people, "escalated"),) if people else ()
                return Change(added.task, (told,), follow), ()
            case EscalateTo.WEBHOOK:
                return Change(task, (told,)), ()
            case _:
                assert_never(one.step.to)


def _due_steps(task: Task, now: datetime) -> list[int]:
    """The escalation steps whose time has come, in order; those that a newer version no longer has are left out."""
    if task.state.final:
        return []
    names = {timer.name for timer in task.timers if timer.due_at <= now}
    return [i for i in range(len(task.content.notify.escalation)) if f"escalate:{i}" in names]
