"""What every task store keeps: one decision a slot, follow-ups that outlive whoever committed them, and the story."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from hub.core.approvals_ledger import Decided, Ledger
from hub.core.errors import Unavailable
from hub.core.message import AppId, MessageId, NotificationId, UserKey
from hub.core.records import PageRequest
from hub.core.task import (
    Assignee,
    Content,
    EscalateTo,
    EscalationStep,
    FollowUpKind,
    Holder,
    Instance,
    IntentId,
    IntentState,
    Line,
    Link,
    Notify,
    Person,
    Reminder,
    SignMode,
    Task,
    TaskEvent,
    TaskId,
    TaskState,
    Timer,
)
from hub.core.task_flow import AlreadyDecided, Attempted, Change, Won, act, settle
from hub.core.task_store import TaskFilter, TaskStore, TaskWrite
from hub.store.approvals_memory import MemoryTasks
from hub.store.approvals_sql import SqlTasks
from tests.contract.store_world import APP, NOW, SqlWorld, World

LEASE = timedelta(seconds=30)
_numbers = itertools.count(1)


def new_id(prefix: str) -> str:
    return f"{prefix}_{next(_numbers):032d}"


@pytest.fixture
def tasks(world: World) -> TaskStore:
    return SqlTasks(world.database) if isinstance(world, SqlWorld) else MemoryTasks()


def a_task(business_id: str = "oa:t1", people: int = 3, mode: SignMode = SignMode.ANY) -> Task:
    content = Content(
        Instance("i1", "差旅报销 ✈️", "u9", version=7),
        node="部门经理",
        summary=(Line("金额", "¥1,200.00", "amount"),),
        link=Link("https://oa.example.com/t/2", "pages/task?id=2"),
        notify=Notify(
            closed_template="leave-result",
            escalation=(EscalationStep(timedelta(hours=4), EscalateTo.REMIND),),
        ),
    )
    return Task(
        id=TaskId(new_id("tsk")),
        app=APP,
        business_id=business_id,
        content=content,
        sign_mode=mode,
        state=TaskState.PENDING,
        version=1,
        assignees=tuple(Assignee(Person(UserKey(n), f"用户{n}")) for n in range(1, people + 1)),
        cc=(Person(UserKey(99), "cc"),),
        created_at=NOW,
        updated_at=NOW,
        due_at=NOW + timedelta(days=1),
        timers=(Timer("escalate:0", NOW + timedelta(hours=4)), Timer("expire", NOW + timedelta(days=1))),
    )


def ledger(store: TaskStore) -> Ledger:
    return Ledger(store, clock=lambda: NOW, new_id=new_id, lease=LEASE)


async def keep(store: TaskStore, task: Task, *events: TaskEvent) -> Task:
    await ledger(store).commit(APP, task.business_id, lambda _: Decided(None, Change(task, events)))
    found = await store.task(APP, task.id)
    assert found is not None
    return found


async def press(store: TaskStore, task: TaskId, person: int, action: str = "approve") -> object:
    wanted = Attempted(IntentId(new_id("act")), Person(UserKey(person), f"用户{person}"), action)

    def decide(found: Task | None) -> Decided[object]:
        assert found is not None
        done = act(found, wanted, now=NOW)
        return Decided(done, done.change if isinstance(done, Won) else None)

    return (await ledger(store).commit(APP, task, decide)).answer


async def test_a_task_comes_back_as_it_was_put(tasks: TaskStore) -> None:
    task = a_task()
    found = await keep(tasks, task)
    assert found == replace(task, rev=1)
    assert await tasks.task(APP, "oa:t1") == found
    assert await tasks.task(AppId("other"), "oa:t1") is None
    assert await tasks.task(AppId("other"), task.id) is None


async def test_two_hundred_who_act_at_once_have_one_winner_whom_all_others_can_name(tasks: TaskStore) -> None:
    task = await keep(tasks, a_task(people=200))
    answers = await asyncio.gather(*(press(tasks, task.id, person) for person in range(1, 201)))
    (winner,) = [answer.intent.person.id for answer in answers if isinstance(answer, Won)]
    losers = [answer for answer in answers if isinstance(answer, AlreadyDecided)]
    assert len(losers) == 199
    assert {loser.by for loser in losers} == {winner}
    found = await tasks.task(APP, task.id)
    assert found is not None
    assert [one.person.id for one in found.intents] == [winner]


async def test_everybody_may_act_at_once_where_all_must_sign(tasks: TaskStore) -> None:
    task = await keep(tasks, a_task(people=20, mode=SignMode.ALL))
    answers = await asyncio.gather(*(press(tasks, task.id, person) for person in range(1, 21)))
    assert all(isinstance(answer, Won) for answer in answers)
    found = await tasks.task(APP, task.id)
    assert found is not None
    assert len(found.intents) == 20


async def test_the_slot_is_a_fence_in_the_database_itself(tasks: TaskStore) -> None:
    """Whatever the code above believes: two decisions of one slot are not both stored."""
    task = await keep(tasks, a_task())
    await press(tasks, task.id, 1)

    def blind(found: Task | None) -> tuple[TaskWrite, None]:
        assert found is not None
        first = found.intents[0]
        rival = replace(first, id=IntentId(new_id("act")), person=Person(UserKey(2), "用户2"))
        return TaskWrite(replace(found, intents=(first, rival)), NOW), None

    with pytest.raises(Unavailable, match="contention"):
        await tasks.change(APP, task.id, blind)
    found = await tasks.task(APP, task.id)
    assert found is not None
    assert [one.person.key for one in found.intents] == [1]


async def test_a_refused_decision_gives_its_slot_up(tasks: TaskStore) -> None:
    task = await keep(tasks, a_task())
    won = await press(tasks, task.id, 1)
    assert isinstance(won, Won)

    def refuse(found: Task | None) -> Decided[None]:
        assert found is not None
        return Decided(
            None, settle(found, won.intent.id, IntentState.REJECTED_BY_BUSINESS, now=NOW, reason="预算不足")
        )

    await ledger(tasks).commit(APP, task.id, refuse)
    assert isinstance(await press(tasks, task.id, 2), Won)
    found = await tasks.task(APP, task.id)
    assert found is not None
    assert [(one.state, one.reason) for one in found.intents] == [
        (IntentState.REJECTED_BY_BUSINESS, "预算不足"),
        (IntentState.DECIDING, ""),
    ]


async def test_a_task_that_two_put_at_once_is_made_once(tasks: TaskStore) -> None:
    def put(task: Task) -> object:
        def decide(found: Task | None) -> Decided[bool]:
            return Decided(found is None, Change(task) if found is None else None)

        return ledger(tasks).commit(APP, task.business_id, decide)

    made = await asyncio.gather(*(put(a_task()) for _ in range(8)))  # type: ignore[call-overload]
    assert [one.answer for one in made].count(True) == 1


async def test_what_decide_raises_writes_nothing(tasks: TaskStore) -> None:
    def refuse(_: Task | None) -> Decided[None]:
        raise LookupError

    with pytest.raises(LookupError):
        await ledger(tasks).commit(APP, "oa:t1", refuse)
    assert await tasks.task(APP, "oa:t1") is None


async def test_follow_ups_are_committed_with_the_change_and_found_by_the_sweep_when_their_lease_ends(
    tasks: TaskStore,
) -> None:
    task = await keep(tasks, a_task())
    await press(tasks, task.id, 1)

    async def due(at: datetime) -> list[FollowUpKind]:
        found = await tasks.follow_ups(now=at, lease_until=at + LEASE, limit=10)
        return sorted(one.what.kind for one in found)

    assert await due(NOW) == []
    kinds = [FollowUpKind.ASK, FollowUpKind.CARDS, FollowUpKind.STOP]
    assert await due(NOW + LEASE) == kinds
    assert await due(NOW + LEASE) == [], "claimed"
    again = await tasks.follow_ups(now=NOW + 2 * LEASE, lease_until=NOW + 3 * LEASE, limit=10)
    first, second, third = again
    await tasks.done(first.id)
    await tasks.postpone(second.id, NOW + timedelta(hours=1), 3)
    mine = await tasks.follow_ups(now=NOW, lease_until=NOW, limit=5, ids=[second.id, third.id])
    assert {(one.id, one.tries) for one in mine} == {(second.id, 3), (third.id, 0)}
    assert len(await tasks.follow_ups(now=NOW + timedelta(days=1), lease_until=NOW, limit=10)) == 2


async def test_lists_narrow_and_page(tasks: TaskStore) -> None:
    made = [await keep(tasks, a_task(f"oa:t{n}", people=1 + n % 2)) for n in range(5)]
    page = await tasks.tasks(APP, TaskFilter(), PageRequest(limit=2))
    assert [one.id for one in page.items] == [made[4].id, made[3].id]
    rest = await tasks.tasks(APP, TaskFilter(), PageRequest(limit=5, after=page.next))
    assert ([one.id for one in rest.items], rest.next) == ([made[2].id, made[1].id, made[0].id], None)

    async def ids(only: TaskFilter) -> set[str]:
        return {one.business_id for one in (await tasks.tasks(APP, only, PageRequest())).items}

    assert await ids(TaskFilter(assignee=UserKey(2))) == {"oa:t1", "oa:t3"}
    assert await ids(TaskFilter(assignee=UserKey(2), part=TaskState.APPROVED)) == set()
    assert await ids(TaskFilter(cc=UserKey(99), state=TaskState.PENDING)) == {f"oa:t{n}" for n in range(5)}
    assert await ids(TaskFilter(instance="nope")) == set()
    assert [one.business_id for one in await tasks.instance(APP, "i1")] == [f"oa:t{n}" for n in range(5)]
    assert await tasks.versions(APP, {"oa:t1", "oa:t77"}) == {"oa:t1": (1, TaskState.PENDING)}


async def test_holders_timers_reminders_and_the_story(tasks: TaskStore) -> None:
    task = await keep(tasks, a_task(), TaskEvent("created", NOW, "business", {"version": "1"}))
    card = Holder(UserKey(1), NotificationId("ntf_1"), MessageId("msg_1"))
    for _ in range(2):
        await tasks.hold(task.id, [card, replace(card, user=UserKey(2), cc=True)])
    assert [(h.user, h.cc) for h in await tasks.holders(task.id)] == [(1, False), (2, True)]
    found = await tasks.of_message(APP, MessageId("msg_1"), UserKey(2))
    assert found is not None
    assert found.id == task.id
    assert await tasks.of_message(APP, MessageId("msg_1"), UserKey(3)) is None
    assert await tasks.sends([NotificationId("ntf_1")]) == []

    assert await tasks.due_timers(now=NOW, limit=5) == []
    assert await tasks.due_timers(now=NOW + timedelta(days=2), limit=5) == [(APP, task.id)]

    pressed = Reminder(task.id, "u9", UserKey(1), NOW, 1)

    def press_one(found: Task | None) -> Decided[None]:
        assert found is not None
        return Decided(None, Change(found, (TaskEvent("reminded", NOW, "u9", {}),)), (pressed,))

    await ledger(tasks).commit(APP, task.id, press_one)
    assert list(await tasks.reminders(task.id)) == [pressed]
    assert await tasks.heard_since([UserKey(1), UserKey(2)], NOW - timedelta(days=1)) == {1: 1}
    assert await tasks.heard_since([UserKey(1)], NOW) == {}

    await tasks.note(task.id, "tev_zz", TaskEvent("opened", NOW, "u1", {"acted_from": "wechat_mp"}))
    await tasks.note(task.id, "tev_zz", TaskEvent("opened", NOW, "u1", {"acted_from": "wechat_mp"}))
    first = await tasks.timeline(task.id, PageRequest(limit=2))
    rest = await tasks.timeline(task.id, PageRequest(limit=2, after=first.next))
    assert [one.event.name for one in (*first.items, *rest.items)] == ["created", "reminded", "opened"]
    assert rest.items[0].event.detail == {"acted_from": "wechat_mp"}
