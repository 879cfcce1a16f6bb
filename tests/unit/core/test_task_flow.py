"""What may happen to a task: who wins, who hears so, and that nothing final comes undone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.policy import Hop, Mode, Policy
from hub.core.task import FollowUpKind, IntentState, Reminder, RemindRule, SignMode, Task, TaskState
from hub.core.task_flow import (
    AlreadyDecided,
    Change,
    Invalid,
    NotYours,
    Repeat,
    Won,
    add_cc,
    expire,
    resolve_delegate,
    settle,
    transfer,
    withdraw,
)
from hub.core.task_remind import climbed, press
from hub.core.task_upsert import upsert
from tests.unit.core.tasks_of_test import (
    HOUR,
    NOW,
    PEOPLE,
    a_task,
    incoming,
    press_button,
    settled,
    states,
    won,
)


def test_with_any_sign_the_first_wins_and_the_others_are_told_who() -> None:
    task = won(a_task(), 0)
    assert task.deciding is not None
    assert task.state is TaskState.PENDING
    assert press_button(task, 1, "reject", comment="no") == AlreadyDecided(
        TaskState.APPROVED, "u1", "approve", NOW
    )
    task = settled(task)
    assert (task.state, states(task)) == (
        TaskState.APPROVED,
        [TaskState.APPROVED, TaskState.DONE_BY_OTHER, TaskState.DONE_BY_OTHER],
    )
    late = press_button(task, 2)
    assert isinstance(late, AlreadyDecided)
    assert late.by == "u1"


def test_with_all_sign_each_acts_and_the_last_approval_ends_it() -> None:
    task = a_task(SignMode.ALL)
    for person in (0, 1):
        task = settled(won(task, person))
        assert task.state is TaskState.PENDING
        assert not task.waits_for(PEOPLE[person].key)
        assert task.waits_for(PEOPLE[2].key)
    assert isinstance(press_button(task, 1), AlreadyDecided)
    assert settled(won(task, 2)).state is TaskState.APPROVED


def test_with_all_sign_the_first_rejection_ends_it() -> None:
    task = settled(won(a_task(SignMode.ALL), 0))
    task = settled(won(task, 1, "reject", comment="no"))
    assert (task.state, states(task)) == (
        TaskState.REJECTED,
        [TaskState.APPROVED, TaskState.REJECTED, TaskState.DONE_BY_OTHER],
    )


def test_a_decision_that_the_business_refuses_opens_the_task_again() -> None:
    refused = settled(won(a_task(), 0), IntentState.REJECTED_BY_BUSINESS)
    assert refused.intents[0].slot is None
    assert refused.deciding is None
    assert settled(won(refused, 1)).state is TaskState.APPROVED


def test_without_a_business_system_to_ask_a_decision_counts_at_once() -> None:
    done = won(a_task(), 0, asked=False)
    assert done.state is TaskState.APPROVED
    assert done.decided_by is not None


def test_an_unanswered_question_holds_the_task() -> None:
    task = settled(won(a_task(), 0), IntentState.PENDING)
    assert task.deciding is not None
    assert isinstance(press_button(task, 1), AlreadyDecided)
    assert settled(task).state is TaskState.APPROVED


def test_a_repeat_gets_the_first_ones_answer_also_when_all_is_over() -> None:
    first = press_button(a_task(), 0, client_action_id="c1")
    assert isinstance(first, Won)
    again = press_button(settled(first.change.task), 0, client_action_id="c1")
    assert isinstance(again, Repeat)
    assert again.intent.id == first.intent.id
    other = press_button(settled(first.change.task), 1, client_action_id="c1")
    assert isinstance(other, AlreadyDecided)


def test_strangers_unknown_actions_and_missing_comments() -> None:
    assert press_button(a_task(), 4) == NotYours()
    unknown = press_button(a_task(), 0, "aprove")
    assert isinstance(unknown, Invalid)
    assert unknown.code == "action_unknown"
    bare = press_button(a_task(), 0, "reject", comment="  ")
    assert isinstance(bare, Invalid)
    assert bare.code == "comment_required"


def test_a_transfer_passes_the_part_on_and_twice_is_harmless() -> None:
    moved = transfer(a_task(), PEOPLE[0], PEOPLE[3], now=NOW, actor="u1")
    assert isinstance(moved, Change)
    task = moved.task
    assert states(task)[0] is TaskState.TRANSFERRED
    assert task.assignees[-1].given_by == "u1"
    again = transfer(task, PEOPLE[0], PEOPLE[3], now=NOW, actor="u1")
    assert isinstance(again, Change)
    assert not again.changed
    assert isinstance(press_button(task, 0), AlreadyDecided)
    assert settled(won(task, 3)).state is TaskState.APPROVED
    assert isinstance(transfer(a_task(), PEOPLE[0], PEOPLE[1], now=NOW, actor="u1"), Invalid)
    assert isinstance(transfer(won(a_task(), 1), PEOPLE[0], PEOPLE[3], now=NOW, actor="u1"), AlreadyDecided)
    assert transfer(a_task(), PEOPLE[4], PEOPLE[3], now=NOW, actor="x") == NotYours()


def test_a_transferred_part_counts_for_all_sign() -> None:
    moved = transfer(a_task(SignMode.ALL, 2), PEOPLE[0], PEOPLE[3], now=NOW, actor="u1")
    assert isinstance(moved, Change)
    task = settled(won(moved.task, 1))
    assert task.state is TaskState.PENDING
    assert settled(won(task, 3)).state is TaskState.APPROVED


def test_withdrawing_ends_an_open_decision_and_stops_the_clock() -> None:
    task = withdraw(won(a_task(due_at=NOW), 0), now=NOW, actor="u9", reason="typo").task
    assert task.state is TaskState.WITHDRAWN
    assert task.intents[0].state is IntentState.REJECTED_BY_BUSINESS
    assert not task.timers
    assert not withdraw(task, now=NOW, actor="u9").changed


def test_a_task_expires_only_when_late_and_undecided() -> None:
    task = a_task(due_at=NOW + HOUR)
    assert not expire(task, now=NOW).changed
    assert expire(task, now=NOW + HOUR).task.state is TaskState.EXPIRED
    assert not expire(won(task, 0), now=NOW + HOUR).changed


def test_cc_is_added_once() -> None:
    change = add_cc(a_task(), PEOPLE[3:5], now=NOW, actor="business")
    assert [one.id for one in change.task.cc] == ["u4", "u5"]
    assert not add_cc(change.task, PEOPLE[3:4], now=NOW, actor="business").changed


@pytest.mark.parametrize(
    ("stand_ins", "chain"),
    [
        ({}, ["a"]),
        ({"a": "b", "b": "c"}, ["a", "b", "c"]),
        ({"a": "b", "b": "a"}, ["a"]),
        ({"a": "a"}, ["a"]),
        ({str(n): str(n + 1) for n in range(20)} | {"a": "0"}, ["a"]),
    ],
)
def test_delegation_follows_a_bounded_chain(stand_ins: dict[str, str], chain: list[str]) -> None:
    assert resolve_delegate("a", stand_ins.get, limit=5) == chain


# reminders


def reminded(task: Task, requester: str, at: datetime, level: int, user: int = 0) -> Reminder:
    return Reminder(task.id, requester, PEOPLE[user].key, at, level)


def test_reminders_cool_down_per_requester_and_climb() -> None:
    task = a_task()
    users = [PEOPLE[0].key]
    past = [reminded(task, "u9", NOW - timedelta(minutes=1), 1)]
    (soon,) = press(task, users, requester="u9", about_task=past, in_a_day={}, now=NOW)
    assert (soon.reason, soon.retry_at) == ("cooldown", NOW + timedelta(minutes=9))
    (other,) = press(task, users, requester="u8", about_task=past, in_a_day={}, now=NOW)
    assert (other.sent, other.level) == (True, 2)
    (later,) = press(task, users, requester="u9", about_task=past, in_a_day={}, now=NOW + HOUR)
    assert later.level == 2
    (clock,) = press(task, users, requester="u9", about_task=past, in_a_day={}, now=NOW, by_clock=True)
    assert clock.sent


def test_reminders_spare_who_has_heard_enough_or_has_acted() -> None:
    task = won(a_task(SignMode.ALL), 1)
    users = [one.key for one in PEOPLE[:3]] + [PEOPLE[4].key]
    cap = {PEOPLE[0].key: RemindRule().daily_cap}
    answers = press(task, users, requester="u9", about_task=[], in_a_day=cap, now=NOW)
    assert [one.reason for one in answers] == ["daily_cap", "processing", None, "not_asked"]


def test_each_reminder_adds_a_step_of_the_policy() -> None:
    policy = Policy((Hop("ws", wait=HOUR), Hop("miniprogram"), Hop("wechat_mp")))
    assert climbed(policy, 1) == policy
    second, third, tenth = (climbed(policy, level) for level in (2, 3, 10))
    assert ([h.channel for h in second.hops], second.mode) == (["ws", "miniprogram"], Mode.ALL)
    assert (
        [h.channel for h in third.hops]
        == [h.channel for h in tenth.hops]
        == [
            "ws",
            "miniprogram",
            "wechat_mp",
        ]
    )
    assert climbed(Policy(), 5) == Policy()


# properties

steps = st.one_of(
    st.tuples(st.just("act"), st.integers(0, 4), st.sampled_from(["approve", "reject"])),
    st.tuples(st.just("settle"), st.integers(0, 8), st.sampled_from(list(IntentState))),
    st.tuples(st.just("transfer"), st.integers(0, 4), st.integers(0, 4)),
    st.tuples(st.just("withdraw"), st.just(0), st.just(0)),
    st.tuples(st.just("expire"), st.just(0), st.just(0)),
    st.tuples(st.just("put"), st.integers(0, 9), st.sampled_from(list(TaskState))),
)


def step(task: Task, what: str, one: int, other: object) -> Change | None:
    match what, other:
        case "act", str():
            done = press_button(task, one, other, comment="…")
            return done.change if isinstance(done, Won) else None
        case "settle", IntentState():
            if one >= len(task.intents):
                return None
            return settle(task, task.intents[one].id, other, now=NOW)
        case "transfer", int():
            moved = transfer(task, PEOPLE[one], PEOPLE[other], now=NOW, actor="x")
            return moved if isinstance(moved, Change) else None
        case "withdraw", _:
            return withdraw(task, now=NOW, actor="x")
        case "expire", _:
            return expire(task, now=NOW)
        case _, TaskState():
            said = upsert(
                task,
                incoming(one, other, sign_mode=task.sign_mode),
                task_id=task.id,
                now=NOW,
                later=lambda at, by: at + by,
            )
            return said if isinstance(said, Change) else None
        case _:
            return None


@given(st.sampled_from(list(SignMode)), st.lists(steps, max_size=25))
def test_whatever_happens_slots_are_unique_and_what_is_over_stays_over(
    mode: SignMode, history: Sequence[tuple[str, int, object]]
) -> None:
    task = a_task(mode, due_at=NOW)
    for what, one, other in history:
        change = step(task, what, one, other)
        if change is None:
            continue
        after = change.task
        assert change.changed or after == task
        slots = [i.slot for i in after.intents if i.slot is not None]
        assert len(slots) == len(set(slots))
        assert all((i.slot is not None) == i.state.live for i in after.intents)
        assert after.version >= task.version
        if task.state.final:
            assert after.state.final
            assert not any(f.kind is FollowUpKind.ANNOUNCE for f in change.follow) or what == "put"
        if after.state.final:
            assert after.open == ()
            assert after.deciding is None
            assert all(one.state.final for one in after.assignees)
            assert not after.timers
        if mode is SignMode.ANY:
            applied = [i for i in after.intents if i.state is IntentState.APPLIED]
            assert len(applied) <= 1
        task = after
