"""Tasks between the core's values and the rows of their tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row

from hub.core.message import AppId, MessageId, NotificationId, UserKey
from hub.core.task import (
    Assignee,
    Content,
    Effect,
    FollowUp,
    FollowUpId,
    Holder,
    Intent,
    IntentId,
    IntentState,
    Person,
    Reminder,
    SignMode,
    StoredFollowUp,
    Task,
    TaskEvent,
    TaskId,
    TaskState,
    Timer,
)
from hub.core.task_store import Recorded
from hub.store.directory_base import dumps

Values = dict[str, Any]


def task_values(task: Task) -> Values:
    """The row of a task, but for its rev."""
    return {
        "id": task.id,
        "app_id": task.app,
        "business_id": task.business_id,
        "instance_id": task.content.instance.id,
        "sign_mode": task.sign_mode.value,
        "state": task.state.value,
        "version": task.version,
        "body": dumps(task.content),
        "due_at": task.due_at,
        "decided_by": task.decided_by.id if task.decided_by else None,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
    }


def assignee_values(task: Task) -> list[Values]:
    """The rows of those who are asked."""
    return [
        {
            "task_id": task.id,
            "user_id": one.person.key,
            "position": position,
            "person": one.person.id,
            "state": one.state.value,
            "given_by": one.given_by,
            "action": one.action,
            "comment": one.comment,
            "acted_at": one.acted_at,
        }
        for position, one in enumerate(task.assignees)
    ]


def cc_values(task: Task) -> list[Values]:
    """The rows of those who hear of it."""
    return [
        {"task_id": task.id, "user_id": one.key, "position": position, "person": one.id}
        for position, one in enumerate(task.cc)
    ]


def timer_values(task: Task) -> list[Values]:
    """The rows of its timers."""
    return [{"task_id": task.id, "name": timer.name, "due_at": timer.due_at} for timer in task.timers]


def intent_values(task: TaskId, intent: Intent) -> Values:
    """The row of a decision."""
    return {
        "id": intent.id,
        "task_id": task,
        "slot": intent.slot,
        "user_id": intent.person.key,
        "person": intent.person.id,
        "action": intent.action,
        "effect": intent.effect.value,
        "comment": intent.comment,
        "client_action_id": intent.client_action_id,
        "version": intent.version,
        "state": intent.state.value,
        "reason": intent.reason,
        "acted_from": intent.acted_from,
        "created_at": intent.at,
        "settled_at": intent.settled_at,
    }


def event_values(task: TaskId, event_id: str, event: TaskEvent) -> Values:
    """The row of a line of the story."""
    return {
        "task_id": task,
        "id": event_id,
        "at": event.at,
        "name": event.name,
        "actor": event.actor,
        "detail": dumps(dict(event.detail)),
    }


def follow_up_values(follow_up: StoredFollowUp) -> Values:
    """The row of a follow-up, but for `due_at`."""
    return {
        "id": follow_up.id,
        "app_id": follow_up.app,
        "task_id": follow_up.task,
        "what": dumps(follow_up.what),
        "tries": follow_up.tries,
        "created_at": follow_up.created_at,
    }


def reminder_values(reminder_id: str, reminder: Reminder) -> Values:
    """The row of a reminder."""
    return {
        "id": reminder_id,
        "task_id": reminder.task,
        "requester": reminder.requester,
        "user_id": reminder.user,
        "at": reminder.at,
        "level": reminder.level,
    }


def holder_values(task: TaskId, holder: Holder) -> Values:
    """The row of a card's holder."""
    return {
        "task_id": task,
        "notification_id": holder.notification,
        "user_id": holder.user,
        "message_id": holder.message,
        "cc": holder.cc,
    }


def task_of(
    row: Row[Any],
    assignees: Sequence[Row[Any]],
    cc: Sequence[Row[Any]],
    actions: Sequence[Row[Any]],
    timers: Sequence[Row[Any]],
) -> Task:
    """A task from its rows, each kind in its order."""
    intents = tuple(_intent_of(one) for one in actions)
    return Task(
        id=TaskId(row.id),
        app=AppId(row.app_id),
        business_id=row.business_id,
        content=msgspec.json.decode(row.body, type=Content),
        sign_mode=SignMode(row.sign_mode),
        state=TaskState(row.state),
        version=row.version,
        assignees=tuple(_assignee_of(one) for one in assignees),
        created_at=row.created_at,
        updated_at=row.updated_at,
        cc=tuple(Person(UserKey(one.user_id), one.person) for one in cc),
        rev=row.rev,
        due_at=row.due_at,
        decided_by=next((one for one in intents if one.id == row.decided_by), None),
        intents=intents,
        timers=tuple(Timer(one.name, one.due_at) for one in timers),
    )


def _assignee_of(row: Row[Any]) -> Assignee:
    return Assignee(
        person=Person(UserKey(row.user_id), row.person),
        state=TaskState(row.state),
        given_by=row.given_by,
        action=row.action,
        comment=row.comment,
        acted_at=row.acted_at,
    )


def _intent_of(row: Row[Any]) -> Intent:
    return Intent(
        id=IntentId(row.id),
        person=Person(UserKey(row.user_id), row.person),
        action=row.action,
        effect=Effect(row.effect),
        at=row.created_at,
        version=row.version,
        comment=row.comment,
        client_action_id=row.client_action_id,
        state=IntentState(row.state),
        slot=row.slot,
        reason=row.reason,
        acted_from=row.acted_from,
        settled_at=row.settled_at,
    )


def follow_up_of(row: Row[Any]) -> StoredFollowUp:
    """A follow-up from its row."""
    what = msgspec.json.decode(row.what, type=FollowUp)
    return StoredFollowUp(
        FollowUpId(row.id), AppId(row.app_id), TaskId(row.task_id), what, row.created_at, row.tries
    )


def recorded_of(row: Row[Any]) -> Recorded:
    """A line of the story from its row."""
    detail = msgspec.json.decode(row.detail, type=dict[str, str])
    return Recorded(row.id, TaskEvent(row.name, row.at, row.actor, detail))


def holder_of(row: Row[Any]) -> Holder:
    """A card's holder from its row."""
    return Holder(
        UserKey(row.user_id), NotificationId(row.notification_id), MessageId(row.message_id), row.cc
    )


def reminder_of(row: Row[Any]) -> Reminder:
    """A reminder from its row."""
    return Reminder(TaskId(row.task_id), row.requester, UserKey(row.user_id), row.at, row.level)
