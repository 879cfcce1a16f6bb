"""Pure: what the business system says of a task, brought together with what the hub knows. Late words are no-ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hub.core.message import AppId, UserKey
from hub.core.task import (
    Assignee,
    Content,
    FollowUp,
    FollowUpKind,
    Person,
    SignMode,
    Task,
    TaskEvent,
    TaskId,
    TaskState,
    Timer,
)
from hub.core.task_flow import BUSINESS, Change, close, replace_part

Later = Callable[[datetime, timedelta], datetime]
"""A moment plus so much time, on the task's clock."""
EXPIRE = "expire"
ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A task as the business system wants it. `assignees` are those to ask now, after delegation (`given_by`);
    `decided_by` says who ended it where the state says that it has."""

    app: AppId
    business_id: str
    version: int
    content: Content
    sign_mode: SignMode
    state: TaskState
    assignees: tuple[Assignee, ...]
    cc: tuple[Person, ...] = ()
    due_at: datetime | None = None
    due_in: timedelta | None = None
    decided_by: str | None = None


@dataclass(frozen=True, slots=True)
class Backwards:
    """The task is over and cannot be opened again: a new question is a new task."""

    state: TaskState


def upsert(
    existing: Task | None, incoming: Incoming, *, task_id: TaskId, now: datetime, later: Later
) -> Change | Backwards:
    """The task as it should be. A version that is not newer changes nothing, whatever it says."""
    if existing is None:
        return _created(incoming, task_id, now, later)
    if incoming.version <= existing.version:
        return Change(existing, changed=False)
    if existing.state.final and not incoming.state.final:
        return Backwards(existing.state)
    return _updated(existing, incoming, now, later)


def _created(incoming: Incoming, task_id: TaskId, now: datetime, later: Later) -> Change:
    task = Task(
        id=task_id,
        app=incoming.app,
        business_id=incoming.business_id,
        content=incoming.content,
        sign_mode=incoming.sign_mode,
        state=TaskState.PENDING,
        version=incoming.version,
        assignees=incoming.assignees,
        cc=incoming.cc,
        created_at=now,
        updated_at=now,
        due_at=_due(incoming, now, later),
    )
    task = replace(task, timers=_timers(task, later))
    made = TaskEvent("created", now, BUSINESS, {"version": str(task.version)})
    follow = _announcements([one.person.key for one in task.open], [one.key for one in task.cc])
    change = Change(task, (made, *_delegations(incoming.assignees, now)), follow)
    if not incoming.state.final:
        return change
    # It is over before anybody was asked: nobody is.
    ended = _end(task, incoming, now)
    return Change(ended.task, (made, *ended.events))


def _updated(existing: Task, incoming: Incoming, now: datetime, later: Later) -> Change:
    assignees, fresh = _merged(existing, incoming, now)
    known = {one.key for one in existing.cc}
    newly = [one.key for one in incoming.cc if one.key not in known]
    task = replace(
        existing,
        content=incoming.content,
        sign_mode=incoming.sign_mode if not existing.intents else existing.sign_mode,
        version=incoming.version,
        assignees=assignees,
        cc=(*existing.cc, *(one for one in incoming.cc if one.key not in known)),
        due_at=_due(incoming, existing.created_at, later),
        updated_at=now,
    )
    told = TaskEvent("updated", now, BUSINESS, {"version": str(task.version)})
    refresh = (FollowUp(FollowUpKind.STOP), FollowUp(FollowUpKind.CARDS))
    if existing.state.final:
        ended = replace(task, state=incoming.state, assignees=existing.assignees, timers=())
        moved = () if existing.state is incoming.state else (TaskEvent(incoming.state.value, now, BUSINESS),)
        return Change(ended, (told, *moved), refresh)
    if incoming.state.final:
        closed = _end(task, incoming, now)
        return replace(closed, events=(told, *closed.events))
    task = replace(task, timers=_rebuilt(existing, task, now, later))
    events = (told, *_delegations([one for one in assignees if one.person.key in fresh], now))
    return Change(task, events, (*refresh, *_announcements(fresh, newly)))


def _end(task: Task, incoming: Incoming, now: datetime) -> Change:
    decider = next((one.person for one in task.assignees if one.person.id == incoming.decided_by), None)
    intent = None
    if decider is not None and incoming.state in (TaskState.APPROVED, TaskState.REJECTED):
        task = replace_part(task, decider, incoming.state, None, now)
    for one in task.intents:
        if one.state.live and one.effect.state is incoming.state:
            intent = one
            task = replace_part(task, one.person, incoming.state, one, now)
    actor = incoming.decided_by or (intent.person.id if intent else BUSINESS)
    return close(task, incoming.state, now=now, actor=actor, decided_by=intent)


def _merged(
    existing: Task, incoming: Incoming, now: datetime
) -> tuple[tuple[Assignee, ...], Sequence[UserKey]]:
    """Those known keep their part, and so does whom they passed it on to; who is no longer named is asked no more."""
    named = {one.person.id: one for one in incoming.assignees}
    givers = {one.given_by for one in incoming.assignees if one.given_by}
    wanted = set(named) | givers
    parts: list[Assignee] = []
    fresh: list[Assignee] = []
    for one in existing.assignees:
        stated = named.pop(one.person.id, None)
        if one.state is TaskState.CANCELED and stated is not None and not stated.state.final:
            fresh.append(stated)
        elif stated is not None and stated.state.final and not one.state.final:
            parts.append(replace(one, state=stated.state, acted_at=now))
        elif one.state.final or stated or one.person.id in givers or _descends(existing, one, wanted):
            parts.append(one)
        else:
            parts.append(replace(one, state=TaskState.CANCELED, acted_at=now))
    # Who stands in is asked when the assignment comes, and not exchanged when somebody's leave begins or ends later.
    known = {one.person.id for one in parts if one.state is not TaskState.CANCELED}
    passed = {one.given_by for one in parts if not one.state.final and one.given_by}
    for one in incoming.assignees:
        giver = one.given_by or one.person.id
        if one.person.id in named and one.given_by not in known and giver not in passed:
            fresh.append(one)
    return (*parts, *fresh), [one.person.key for one in fresh if not one.state.final]


def _descends(task: Task, part: Assignee, wanted: set[str]) -> bool:
    """Whether it came, over any number of hands, from somebody who is still named."""
    by_id = {one.person.id: one for one in task.assignees}
    giver = part.given_by
    for _ in task.assignees:
        if giver is None:
            return False
        if giver in wanted:
            return True
        giver = by_id[giver].given_by if giver in by_id else None
    return False


def _announcements(asked: Sequence[UserKey], cc: Sequence[UserKey]) -> tuple[FollowUp, ...]:
    found = []
    if asked:
        found.append(FollowUp(FollowUpKind.ANNOUNCE, tuple(asked), "assigned"))
    if cc:
        found.append(FollowUp(FollowUpKind.ANNOUNCE, tuple(cc), "cc"))
    return tuple(found)


def _delegations(assignees: Sequence[Assignee], now: datetime) -> tuple[TaskEvent, ...]:
    return tuple(
        TaskEvent("delegated", now, "hub", {"from": one.given_by, "to": one.person.id})
        for one in assignees
        if one.given_by is not None
    )


def _due(incoming: Incoming, start: datetime, later: Later) -> datetime | None:
    if incoming.due_in is not None:
        return later(start, incoming.due_in)
    return incoming.due_at


def _timers(task: Task, later: Later) -> tuple[Timer, ...]:
    found = [
        Timer(f"{ESCALATE}:{index}", later(task.created_at, step.after))
        for index, step in enumerate(task.content.notify.escalation)
    ]
    if task.due_at is not None:
        found.append(Timer(EXPIRE, task.due_at))
    return tuple(found)


def _rebuilt(existing: Task, task: Task, now: datetime, later: Later) -> tuple[Timer, ...]:
    """What has gone off does not go off again, unless it was moved into the future."""
    waiting = {timer.name for timer in existing.timers}
    return tuple(
        timer
        for timer in _timers(task, later)
        if timer.name in waiting or timer.name == EXPIRE or timer.due_at > now
    )
