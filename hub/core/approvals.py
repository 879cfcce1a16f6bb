"""Approvals: tasks that people decide once, and everything around them. The service that REST and sockets call.

Deciding is pure (task_flow, task_upsert, task_remind); this commits what was decided with what must follow, and then
does what follows. A process that dies between the two is finished by `sweep`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hub.core.approvals_ask import Questions
from hub.core.approvals_follow import FollowUps
from hub.core.approvals_ledger import Decided, Ledger
from hub.core.approvals_opened import Openings
from hub.core.approvals_people import Roll, TaskWish
from hub.core.approvals_ports import ApprovalPorts
from hub.core.approvals_press import Pressed, Presser
from hub.core.approvals_timers import Timers
from hub.core.delivery import DeliveryState
from hub.core.errors import Conflict, Forbidden, HubError, NotFound, Refused
from hub.core.message import AppId, MessageId
from hub.core.task import Intent, IntentId, IntentState, Person, Task, TaskEvent, TaskId, TaskState
from hub.core.task_flow import (
    BUSINESS,
    AlreadyDecided,
    Attempted,
    Change,
    Invalid,
    NotYours,
    Repeat,
    Won,
    act,
    add_cc,
    settle,
    transfer,
    withdraw,
)
from hub.core.task_upsert import Backwards, Incoming, upsert


class TaskDecided(Conflict):
    """Somebody was first, or the task is over."""

    def __init__(self, task: Task, decided: AlreadyDecided) -> None:
        who = f" by {decided.by!r} ({decided.action})" if decided.by else ""
        super().__init__("task_already_decided", f"The task is {decided.state.value}{who}.")
        self.task = task
        self.decided = decided


@dataclass(frozen=True, slots=True)
class ActedOn:
    """What became of an action: the task as it is now, and the decision. `repeated`: it had been sent before."""

    task: Task
    intent: Intent
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Recall:
    """What a withdrawal could still do on one channel. `updated` cards say so now; `canceled` were never sent;
    `sent` are with the people and stay there; `failed` never arrived."""

    channel: str
    updated: int = 0
    canceled: int = 0
    sent: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Compared:
    """How the hub's tasks stand to those that the business system has."""

    missing: tuple[str, ...]
    """The hub does not have them."""
    stale: tuple[str, ...]
    """The hub has an older version."""
    ahead: tuple[str, ...]
    """The hub has a newer version: the business system's list is old."""


def not_found(ref: str) -> NotFound:
    """The same answer whether it is not there or not yours."""
    return NotFound("task_not_found", f"There is no task {ref!r}, or it is not yours to see.")


class Approvals:
    """One a process; every verb may be called from any task of its loop, and twice."""

    def __init__(self, ports: ApprovalPorts) -> None:
        self.store = ports.store
        self.links = ports.links
        self._ports = ports
        self._roll = Roll(ports.people)
        self._openings = Openings()
        self._ledger = Ledger(ports.store, clock=ports.clock, new_id=ports.new_id, lease=ports.limits.lease)
        self._questions = Questions(ports, self._settle)
        self._follow = FollowUps(ports, self._questions.ask)
        self._presser = Presser(ports, self._ledger)
        self._timers = Timers(ports, self._ledger, self._roll, self._presser)

    async def put(self, app: AppId, wish: TaskWish, *, if_match: int | None = None) -> tuple[Task, bool]:
        """Make a task or bring it up to date; True says that it is new. A version that is not newer changes nothing.
        Raises Conflict task_closed, Refused precondition_failed."""
        now = self._ports.clock()
        if await self._ports.rules.policy(app, wish.content.notify.policy) is None:
            raise Refused("policy_unknown", f"This app has no policy {wish.content.notify.policy!r}.")
        for key in (wish.content.notify.template, wish.content.notify.closed_template):
            if key is not None and await self._ports.rules.template(app, key) is None:
                raise Refused("template_unknown", f"This app has no template {key!r}.")
        incoming = Incoming(
            app=app,
            business_id=wish.business_id,
            version=wish.version,
            content=wish.content,
            sign_mode=wish.sign_mode,
            state=wish.state,
            assignees=await self._roll.assignees(app, wish.assignees, now),
            cc=await self._roll.persons(app, wish.cc),
            due_at=wish.due_at,
            due_in=wish.due_in,
            decided_by=wish.decided_by,
        )
        later = await self._ports.rules.later(app, wish.content.notify.clock)
        task_id = TaskId(self._ports.new_id("tsk"))

        def decide(task: Task | None) -> Decided[bool]:
            _check(task, if_match)
            change = upsert(task, incoming, task_id=task_id, now=now, later=later)
            if isinstance(change, Backwards):
                raise Conflict(
                    "task_closed", f"The task is {change.state.value}; ask again under another id."
                )
            return Decided(task is None, change)

        committed = await self._ledger.commit(app, wish.business_id, decide)
        await self._follow.now(committed.follow)
        return await self.task(app, wish.business_id), committed.answer

    async def put_instance(
        self, app: AppId, instance: str, wishes: Sequence[TaskWish]
    ) -> tuple[list[tuple[str, Task | HubError]], list[Task]]:
        """All tasks of an instance: those named are put one by one, the others that are open are canceled."""
        answers: list[tuple[str, Task | HubError]] = []
        for wish in wishes:
            try:
                answers.append((wish.business_id, (await self.put(app, wish))[0]))
            except Refused as refused:
                answers.append((wish.business_id, refused))
        named = {wish.business_id for wish in wishes}
        gone = [one for one in await self.store.instance(app, instance) if one.business_id not in named]
        ended = [await self._close(one, TaskState.CANCELED, BUSINESS, "not in the snapshot") for one in gone]
        return answers, ended

    async def task(self, app: AppId, ref: str) -> Task:
        """One task. Raises NotFound."""
        found = await self.store.task(app, ref)
        if found is None:
            raise not_found(ref)
        return found

    async def act(
        self,
        app: AppId,
        ref: str,
        person: Person,
        action: str,
        *,
        comment: str = "",
        client_action_id: str | None = None,
        acted_from: str = "",
    ) -> ActedOn:
        """Decide. The answer comes when the business system has answered, or not in time (then the intent is PENDING).
        Raises NotFound for whom the task does not ask, TaskDecided, Refused."""
        task = await self.task(app, ref)
        decider = await self._questions.decider(app, task.content.callback)
        wanted = Attempted(
            IntentId(self._ports.new_id("act")),
            person,
            action,
            comment,
            client_action_id,
            acted_from,
            asked=decider is not None,
        )

        def decide(now: Task | None) -> Decided[Won | Repeat]:
            acted = act(now or task, wanted, now=self._ports.clock())
            match acted:
                case Won():
                    return Decided(acted, acted.change)
                case Repeat():
                    return Decided(acted)
                case AlreadyDecided():
                    raise TaskDecided(now or task, acted)
                case NotYours():
                    raise not_found(ref)
                case Invalid(code, reason):
                    raise Refused(code, reason)

        decide(task)  # who lost already need not queue for the row
        committed = await self._ledger.commit(app, task.id, decide)
        await self._follow.now(committed.follow)
        after = await self.task(app, task.id)
        intent = next(one for one in after.intents if one.id == committed.answer.intent.id)
        return ActedOn(after, intent, repeated=isinstance(committed.answer, Repeat))

    async def act_on_message(
        self, app: AppId, message: MessageId, person: Person, action: str, *, comment: str = "",
        client_action_id: str | None = None, acted_from: str = "",
    ) -> ActedOn:  # fmt: skip
        """The same by the card's message, as sockets name it."""
        task = await self.store.of_message(app, message, person.key)
        if task is None:
            raise NotFound("task_not_found", "This message is not the card of a task of yours.")
        return await self.act(
            app, task.id, person, action, comment=comment,
            client_action_id=client_action_id, acted_from=acted_from,
        )  # fmt: skip

    async def result(
        self, app: AppId, ref: str, intent: str, verdict: IntentState, *, reason: str = ""
    ) -> ActedOn:
        """The business system says by itself what it makes of a decision. Raises NotFound, or Conflict where it has
        said the opposite before."""
        task = await self.task(app, ref)
        await self._settle(app, task.id, IntentId(intent), verdict, reason)
        after = await self.task(app, task.id)
        found = next((one for one in after.intents if one.id == intent), None)
        if found is None:
            raise NotFound("action_not_found", f"The task has no action {intent!r}.")
        if found.state is not verdict:
            raise Conflict("action_settled", f"The action is {found.state.value} already.")
        return ActedOn(after, found)

    async def _settle(
        self, app: AppId, task: TaskId, intent: IntentId, verdict: IntentState, reason: str
    ) -> None:
        def decide(found: Task | None) -> Decided[None]:
            if found is None:
                return Decided(None)
            return Decided(None, settle(found, intent, verdict, now=self._ports.clock(), reason=reason))

        committed = await self._ledger.commit(app, task, decide)
        await self._follow.now(committed.follow)

    async def transfer(
        self, app: AppId, ref: str, giver: str, taker: str, *, actor: str, comment: str = ""
    ) -> Task:
        """One's part goes to somebody else. Raises NotFound, TaskDecided, Refused."""
        one, other = await self._roll.persons(app, [giver, taker]) if giver != taker else (None, None)
        if one is None or other is None:
            raise Refused("transfer_pointless", "A task is handed to somebody else.")

        def decide(task: Task | None) -> Decided[None]:
            if task is None:
                raise not_found(ref)
            if actor != BUSINESS and not task.content.transferable:
                raise Forbidden("transfer_not_allowed", "Those who are asked may not hand this task on.")
            change = transfer(task, one, other, now=self._ports.clock(), actor=actor, comment=comment)
            match change:
                case Change():
                    return Decided(None, change)
                case AlreadyDecided():
                    raise TaskDecided(task, change)
                case NotYours():
                    raise not_found(ref)
                case Invalid(code, reason):
                    raise Refused(code, reason)

        committed = await self._ledger.commit(app, ref, decide)
        await self._follow.now(committed.follow)
        return await self.task(app, ref)

    async def add_cc(self, app: AppId, ref: str, user_ids: Sequence[str], *, actor: str) -> Task:
        """More people hear of it. Raises NotFound."""
        people = await self._roll.persons(app, user_ids)

        def decide(task: Task | None) -> Decided[None]:
            if task is None:
                raise not_found(ref)
            return Decided(None, add_cc(task, people, now=self._ports.clock(), actor=actor))

        committed = await self._ledger.commit(app, ref, decide)
        await self._follow.now(committed.follow)
        return await self.task(app, ref)

    async def withdraw(
        self, app: AppId, ref: str, *, actor: str, reason: str = "", tell: bool = False
    ) -> tuple[Task, list[Recall]]:
        """Take a task back, with what that could still do on each channel. `tell` says so to those whom an outside
        channel has reached. Raises NotFound, TaskDecided."""
        task = await self.task(app, ref)
        after = await self._close(task, TaskState.WITHDRAWN, actor, reason, tell=tell)
        if after.state is not TaskState.WITHDRAWN:
            by = after.decided_by
            decided = AlreadyDecided(after.state, by.person.id if by else None, by.action if by else None)
            raise TaskDecided(after, decided)
        return after, await self._recalled(after)

    async def _close(
        self, task: Task, state: TaskState, actor: str, reason: str, *, tell: bool = False
    ) -> Task:
        def decide(found: Task | None) -> Decided[None]:
            if found is None:
                return Decided(None)
            if tell:
                notify = replace(found.content.notify, tell_recall=True)
                found = replace(found, content=replace(found.content, notify=notify))
            change = withdraw(found, now=self._ports.clock(), actor=actor, reason=reason, state=state)
            return Decided(None, change)

        committed = await self._ledger.commit(task.app, task.id, decide)
        await self._follow.now(committed.follow)
        return await self.task(task.app, task.id)

    async def _recalled(self, task: Task) -> list[Recall]:
        holders = await self.store.holders(task.id)
        found = {"ws": Recall("ws", updated=len({holder.user for holder in holders}))}
        for send in await self.store.sends({holder.notification for holder in holders}):
            if send.channel not in self._ports.disturbing:
                continue
            was = found.get(send.channel, Recall(send.channel))
            match send.state:
                case DeliveryState.CANCELED:
                    was = replace(was, canceled=was.canceled + 1)
                case DeliveryState.SKIPPED | DeliveryState.FAILED:
                    was = replace(was, failed=was.failed + 1)
                case _:
                    was = replace(was, sent=was.sent + 1)
            found[send.channel] = was
        return list(found.values())

    async def remind(
        self, app: AppId, ref: str, *, requester: str, to: Sequence[str] | None = None, comment: str = ""
    ) -> list[Pressed]:
        """Press those who have not acted (or some of them); one answer each. Raises NotFound."""
        task = await self.task(app, ref)
        pressed, follow = await self._presser.press(task, to, requester=requester, comment=comment)
        await self._follow.now(follow)
        return pressed

    async def check(self, app: AppId, known: Sequence[tuple[str, int]]) -> Compared:
        """Which of these (business id, version) the hub does not have, or has differently."""
        found = await self.store.versions(app, {business_id for business_id, _ in known})
        return Compared(
            missing=tuple(id_ for id_, _ in known if id_ not in found),
            stale=tuple(id_ for id_, version in known if id_ in found and found[id_][0] < version),
            ahead=tuple(id_ for id_, version in known if id_ in found and found[id_][0] > version),
        )

    async def opened(self, task: Task, actor: str, acted_from: str) -> None:
        """Somebody followed a link to the task. Written down a few times an hour."""
        now = self._ports.clock()
        if self._openings.worth_noting(task.id, actor, now):
            event = TaskEvent("opened", now, actor, {"acted_from": acted_from})
            await self.store.note(task.id, self._ports.new_id("tev"), event)

    async def sweep(self, *, limit: int) -> int:
        """Finish what was committed and not followed up, and let timers go off. Returns how many were looked at."""
        follow, looked = await self._timers.sweep(limit=limit)
        await self._follow.now(follow)
        return looked + await self._follow.sweep(limit=limit)


def _check(task: Task | None, if_match: int | None) -> None:
    if if_match is not None and (task is None or task.rev != if_match):
        now = "does not exist" if task is None else f'is "{task.rev}"'
        raise Refused("precondition_failed", f"If-Match does not hold: the task {now}.")


def may_see(task: Task, person: Person) -> bool:
    """Whether a task is this person's to see: asked (once), told, or the one who applied."""
    return (
        task.assignee(person.key) is not None
        or any(one.key == person.key for one in task.cc)
        or task.content.instance.applicant == person.id
    )
