"""A task, the people who decide it and what its business system says, for tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hub.core.message import AppId, UserKey
from hub.core.task import (
    Action,
    Assignee,
    Content,
    Effect,
    Instance,
    IntentId,
    IntentState,
    Person,
    SignMode,
    Task,
    TaskId,
    TaskState,
)
from hub.core.task_flow import Attempted, Change, Won, act, settle
from hub.core.task_upsert import Incoming, upsert

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
APP = AppId("shop")
PEOPLE = tuple(Person(UserKey(n), f"u{n}") for n in range(1, 6))
CONTENT = Content(
    Instance("i1", "差旅报销", "u9"),
    actions=(
        Action("approve", Effect.APPROVE),
        Action("reject", Effect.REJECT, requires=("comment",)),
    ),
)


def a_task(mode: SignMode = SignMode.ANY, people: int = 3, **more: object) -> Task:
    task = Task(
        id=TaskId("tsk_1"),
        app=APP,
        business_id="oa:t1",
        content=CONTENT,
        sign_mode=mode,
        state=TaskState.PENDING,
        version=1,
        assignees=tuple(Assignee(one) for one in PEOPLE[:people]),
        created_at=NOW,
        updated_at=NOW,
        rev=1,
    )
    return replace(task, **more)  # type: ignore[arg-type]


def press_button(task: Task, person: int, action: str = "approve", **more: object) -> object:
    wanted = Attempted(IntentId(f"act_{person}_{len(task.intents)}"), PEOPLE[person], action)
    return act(task, replace(wanted, **more), now=NOW)  # type: ignore[arg-type]


def won(task: Task, person: int, action: str = "approve", **more: object) -> Task:
    done = press_button(task, person, action, **more)
    assert isinstance(done, Won), done
    return done.change.task


def settled(task: Task, verdict: IntentState = IntentState.APPLIED) -> Task:
    deciding = task.deciding
    assert deciding is not None
    return settle(task, deciding.id, verdict, now=NOW).task


def states(task: Task) -> list[TaskState]:
    return [one.state for one in task.assignees]


def incoming(version: int, state: TaskState = TaskState.PENDING, people: int = 2, **more: object) -> Incoming:
    wanted = Incoming(
        app=APP,
        business_id="oa:t1",
        version=version,
        content=CONTENT,
        sign_mode=SignMode.ANY,
        state=state,
        assignees=tuple(Assignee(one) for one in PEOPLE[:people]),
    )
    return replace(wanted, **more)  # type: ignore[arg-type]


def put(existing: Task | None, wanted: Incoming) -> Task:
    change = upsert(existing, wanted, task_id=TaskId("tsk_1"), now=NOW, later=lambda at, by: at + by)
    assert isinstance(change, Change), change
    return change.task
