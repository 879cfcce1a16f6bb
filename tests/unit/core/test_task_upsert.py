"""What the business system says of a task: the newest version counts, and what is over stays over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hub.core.task import (
    Assignee,
    EscalateTo,
    EscalationStep,
    FollowUpKind,
    IntentState,
    Notify,
    Task,
    TaskId,
    TaskState,
)
from hub.core.task_flow import Change, transfer
from hub.core.task_upsert import Backwards, upsert
from tests.unit.core.tasks_of_test import CONTENT, HOUR, NOW, PEOPLE, incoming, put, states, won


def test_older_and_equal_versions_change_nothing() -> None:
    task = put(None, incoming(3))
    for version in (1, 2, 3):
        change = upsert(
            task,
            incoming(version, TaskState.CANCELED),
            task_id=TaskId("tsk_2"),
            now=NOW,
            later=lambda at, by: at + by,
        )
        assert change == Change(task, changed=False)


def test_a_task_that_is_over_is_not_opened_again() -> None:
    task = put(put(None, incoming(1)), incoming(2, TaskState.APPROVED))
    assert isinstance(
        upsert(task, incoming(3), task_id=TaskId("x"), now=NOW, later=lambda at, by: at + by), Backwards
    )
    assert put(task, incoming(3, TaskState.CANCELED)).state is TaskState.CANCELED


def test_the_business_system_may_end_what_the_hub_was_still_asking_about() -> None:
    asked = won(put(None, incoming(1)), 0)
    agreed = put(asked, incoming(2, TaskState.APPROVED))
    assert agreed.intents[0].state is IntentState.APPLIED
    assert states(agreed) == [TaskState.APPROVED, TaskState.DONE_BY_OTHER]
    otherwise = put(asked, incoming(2, TaskState.REJECTED, decided_by="u2"))
    assert otherwise.intents[0].state is IntentState.REJECTED_BY_BUSINESS
    assert states(otherwise) == [TaskState.DONE_BY_OTHER, TaskState.REJECTED]


def test_a_newer_list_of_assignees_adds_and_removes_and_keeps_what_was_handed_on() -> None:
    task = put(None, incoming(1))
    moved = transfer(task, PEOPLE[0], PEOPLE[3], now=NOW, actor="u1")
    assert isinstance(moved, Change)
    change = upsert(
        moved.task,
        incoming(2, assignees=(Assignee(PEOPLE[0]), Assignee(PEOPLE[2]))),
        task_id=TaskId("x"),
        now=NOW,
        later=lambda at, by: at + by,
    )
    assert isinstance(change, Change)
    by_id = {one.person.id: one.state for one in change.task.assignees}
    assert by_id == {
        "u1": TaskState.TRANSFERRED,
        "u2": TaskState.CANCELED,
        "u4": TaskState.PENDING,
        "u3": TaskState.PENDING,
    }
    told = [f.people for f in change.follow if f.kind is FollowUpKind.ANNOUNCE]
    assert told == [(PEOPLE[2].key,)]
    back = put(change.task, incoming(3, people=2))
    assert {one.person.id for one in back.open} == {"u4", "u2"}


def test_who_stands_in_stays_and_who_was_asked_before_a_leave_is_asked_still() -> None:
    away = Assignee(PEOPLE[3], given_by="u1")
    delegated = put(None, incoming(1, assignees=(away,)))
    assert put(delegated, incoming(2, assignees=(Assignee(PEOPLE[0]),))).open == (away,)
    asked = put(None, incoming(1, people=1))
    assert put(asked, incoming(2, assignees=(away,))).open == asked.open


def test_timers_come_from_the_escalation_and_the_deadline_on_the_tasks_clock() -> None:
    steps = (EscalationStep(HOUR, EscalateTo.REMIND), EscalationStep(2 * HOUR, EscalateTo.WEBHOOK))
    content = replace(CONTENT, notify=Notify(escalation=steps))
    change = upsert(
        None,
        incoming(1, content=content, due_in=3 * HOUR),
        task_id=TaskId("t"),
        now=NOW,
        later=lambda at, by: at + 2 * by,
    )
    assert isinstance(change, Change)
    assert [(t.name, t.due_at - NOW) for t in change.task.timers] == [
        ("escalate:0", 2 * HOUR),
        ("escalate:1", 4 * HOUR),
        ("expire", 6 * HOUR),
    ]
    fired = replace(change.task, timers=change.task.timers[1:])
    again = upsert(
        fired,
        incoming(2, content=content, due_in=3 * HOUR),
        task_id=TaskId("t"),
        now=NOW + 3 * HOUR,
        later=lambda at, by: at + 2 * by,
    )
    assert isinstance(again, Change)
    assert [t.name for t in again.task.timers] == ["escalate:1", "expire"]


@given(st.permutations([1, 2, 3, 4]))
def test_versions_in_any_order_end_where_the_newest_says(order: Sequence[int]) -> None:
    said = {1: TaskState.PENDING, 2: TaskState.PENDING, 3: TaskState.PENDING, 4: TaskState.REJECTED}
    task: Task | None = None
    for version in order:
        change = upsert(
            task,
            incoming(version, said[version]),
            task_id=TaskId("tsk_1"),
            now=NOW,
            later=lambda at, by: at + by,
        )
        assert isinstance(change, Change)
        task = change.task
    assert task is not None
    assert (task.version, task.state) == (4, TaskState.REJECTED)
