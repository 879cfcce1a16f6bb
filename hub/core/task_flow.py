"""Pure: what may happen to a task. Each verb answers with the task as it should be and what must follow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from hub.core.task import (
    Assignee,
    Effect,
    FollowUp,
    FollowUpKind,
    Intent,
    IntentId,
    IntentState,
    Person,
    SignMode,
    Task,
    TaskEvent,
    TaskState,
)
from hub.core.task import TaskState as State

BUSINESS = "business"
HUB = "hub"


@dataclass(frozen=True, slots=True)
class Change:
    """The task as it should be. `changed` False: nothing is to be written."""

    task: Task
    events: tuple[TaskEvent, ...] = ()
    follow: tuple[FollowUp, ...] = ()
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Won:
    """The decision counts, as far as the hub is concerned."""

    intent: Intent
    change: Change


@dataclass(frozen=True, slots=True)
class AlreadyDecided:
    """Somebody was first, or the task is over (then `by` may be missing)."""

    state: TaskState
    by: str | None = None
    action: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NotYours:
    """This person is not asked."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """The action cannot be done so. `code` is a problem's."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same person sent the same client_action_id before; this is what came of it."""

    intent: Intent


Acted: TypeAlias = Won | AlreadyDecided | NotYours | Invalid | Repeat


@dataclass(frozen=True, slots=True)
class Attempted:
    """An action that somebody wants to take. `asked` False: no business system is to be asked."""

    intent_id: IntentId
    person: Person
    action: str
    comment: str = ""
    client_action_id: str | None = None
    acted_from: str = ""
    asked: bool = True


def act(task: Task, wanted: Attempted, *, now: datetime) -> Acted:
    """Somebody presses a button. With ANY the first one wins; with ALL each acts for themselves."""
    mine = task.assignee(wanted.person.key)
    if mine is None:
        return NotYours()
    for intent in task.intents:
        same = wanted.client_action_id is not None and intent.client_action_id == wanted.client_action_id
        if same and intent.person.key == wanted.person.key:
            return Repeat(intent)
    if task.state.final or mine.state.final:
        return _over(task, mine)
    holder = task.held_by(wanted.person.key)
    if holder is not None:
        return AlreadyDecided(holder.effect.state, holder.person.id, holder.action, holder.at)
    action = task.content.action(wanted.action)
    if action is None:
        known = ", ".join(one.id for one in task.content.actions)
        return Invalid("action_unknown", f"This task has no action {wanted.action!r}; it has: {known}.")
    if "comment" in action.requires and not wanted.comment.strip():
        return Invalid("comment_required", f"{wanted.action!r} needs a comment.")
    intent = Intent(
        id=wanted.intent_id,
        person=wanted.person,
        action=action.id,
        effect=action.effect,
        at=now,
        version=task.version,
        comment=wanted.comment,
        client_action_id=wanted.client_action_id,
        slot="any" if task.sign_mode is SignMode.ANY else f"user:{wanted.person.key}",
        acted_from=wanted.acted_from,
    )
    return Won(intent, _won(task, intent, wanted.asked, now))


def _over(task: Task, mine: Assignee) -> AlreadyDecided:
    if task.decided_by is not None:
        done = task.decided_by
        return AlreadyDecided(task.state, done.person.id, done.action, done.at)
    state = task.state if task.state.final else mine.state
    by = mine.person.id if mine.action is not None else None
    return AlreadyDecided(state, by, mine.action, mine.acted_at)


def _won(task: Task, intent: Intent, asked: bool, now: datetime) -> Change:
    held = replace(task, intents=(*task.intents, intent), updated_at=now)
    event = TaskEvent("acted", now, intent.person.id, _about(intent))
    if not asked:
        settled = settle(held, intent.id, IntentState.APPLIED, now=now)
        return replace(settled, events=(event, *settled.events))
    follow = (FollowUp(FollowUpKind.ASK, detail=intent.id), *_refresh())
    return Change(held, (event,), follow)


def _refresh() -> tuple[FollowUp, ...]:
    return (FollowUp(FollowUpKind.STOP), FollowUp(FollowUpKind.CARDS))


def _about(intent: Intent) -> dict[str, str]:
    about = {"intent": str(intent.id), "action": intent.action, "effect": intent.effect.value}
    more = {"comment": intent.comment, "acted_from": intent.acted_from, "reason": intent.reason}
    return about | {name: text for name, text in more.items() if text}


def settle(
    task: Task, intent_id: IntentId, verdict: IntentState, *, now: datetime, reason: str = ""
) -> Change:
    """The business system answered (or did not: PENDING). An intent is settled once; later words change nothing."""
    intent = next((one for one in task.intents if one.id == intent_id), None)
    if intent is None or intent.state.settled or verdict in (intent.state, IntentState.DECIDING):
        return Change(task, changed=False)
    live = verdict.live
    after = replace(
        intent,
        state=verdict,
        reason=reason,
        slot=intent.slot if live else None,
        settled_at=now if verdict.settled else None,
    )
    intents = tuple(after if one.id == intent_id else one for one in task.intents)
    task = replace(task, intents=intents, updated_at=now)
    event = TaskEvent(f"action_{verdict.value}", now, intent.person.id, _about(after))
    if task.state.final:
        return Change(task, (event,))
    match verdict:
        case IntentState.APPLIED:
            applied = _applied(task, after, now)
            return replace(applied, events=(event, *applied.events))
        case IntentState.REJECTED_BY_BUSINESS:
            waiting = tuple(one.person.key for one in task.open if task.waits_for(one.person.key))
            again = FollowUp(FollowUpKind.ANNOUNCE, waiting, "reopened")
            return Change(task, (event,), (FollowUp(FollowUpKind.CARDS), again))
        case _:
            return Change(task, (event,), (FollowUp(FollowUpKind.CARDS),))


def _applied(task: Task, intent: Intent, now: datetime) -> Change:
    """The actor's part is done; the task is, where that suffices."""
    done = replace_part(task, intent.person, intent.effect.state, intent, now)
    enough = task.sign_mode is SignMode.ANY or intent.effect is Effect.REJECT or not done.open
    if not enough:
        return Change(done, follow=_refresh())
    return close(done, intent.effect.state, now=now, actor=intent.person.id, decided_by=intent)


def replace_part(task: Task, person: Person, state: TaskState, intent: Intent | None, now: datetime) -> Task:
    """One assignee's part in another state."""
    parts = tuple(
        replace(
            one,
            state=state,
            action=intent.action if intent else one.action,
            comment=intent.comment if intent else one.comment,
            acted_at=now,
        )
        if one.person.key == person.key and not one.state.final
        else one
        for one in task.assignees
    )
    return replace(task, assignees=parts)


_OTHERS = {
    State.APPROVED: State.DONE_BY_OTHER,
    State.REJECTED: State.DONE_BY_OTHER,
    State.TRANSFERRED: State.TRANSFERRED,
    State.DONE_BY_OTHER: State.DONE_BY_OTHER,
    State.WITHDRAWN: State.WITHDRAWN,
    State.CANCELED: State.CANCELED,
    State.EXPIRED: State.EXPIRED,
}
"""Where the parts of those go who have not acted, by how the task ended."""


def close(
    task: Task,
    state: TaskState,
    *,
    now: datetime,
    actor: str,
    decided_by: Intent | None = None,
    reason: str = "",
) -> Change:
    """The task ends: nobody is asked any more, and nothing more happens by itself."""
    if task.state.final or not state.final:
        return Change(task, changed=False)
    parts = tuple(
        one if one.state.final else replace(one, state=_OTHERS[state], acted_at=now) for one in task.assignees
    )
    intents = tuple(_ended(one, state, now) for one in task.intents)
    ended = replace(
        task,
        state=state,
        assignees=parts,
        intents=intents,
        decided_by=decided_by or task.decided_by,
        timers=(),
        updated_at=now,
    )
    detail = {"reason": reason} if reason else {}
    if decided_by is not None:
        detail = {"action": decided_by.action, **detail}
    follow = (*_refresh(), FollowUp(FollowUpKind.TELL, detail=state.value))
    return Change(ended, (TaskEvent(state.value, now, actor, detail),), follow)


def _ended(intent: Intent, state: TaskState, now: datetime) -> Intent:
    """What becomes of a decision that was still open when the task ended: it came true, or it did not."""
    if intent.state.settled:
        return intent
    if intent.effect.state is state:
        return replace(intent, state=IntentState.APPLIED, settled_at=now)
    return replace(
        intent,
        state=IntentState.REJECTED_BY_BUSINESS,
        slot=None,
        reason=f"task is {state.value}",
        settled_at=now,
    )


def withdraw(
    task: Task, *, now: datetime, actor: str, reason: str = "", state: State = State.WITHDRAWN
) -> Change:
    """Taken back (or canceled). A task that is over stays as it ended."""
    return close(task, state, now=now, actor=actor, reason=reason)


def expire(task: Task, *, now: datetime) -> Change:
    """`due_at` has passed without a decision; one that the business system is being asked about still counts."""
    late = task.due_at is not None and task.due_at <= now
    if not late or task.deciding is not None:
        return Change(task, changed=False)
    return close(task, State.EXPIRED, now=now, actor=HUB)


def transfer(
    task: Task, giver: Person, taker: Person, *, now: datetime, actor: str, comment: str = ""
) -> Change | AlreadyDecided | NotYours | Invalid:
    """An assignee's part goes to somebody else. Twice is harmless."""
    mine = task.assignee(giver.key)
    if mine is None:
        return NotYours()
    theirs = task.assignee(taker.key)
    passed = theirs is not None and theirs.given_by == giver.id
    if mine.state is State.TRANSFERRED and passed:
        return Change(task, changed=False)
    if task.state.final or mine.state.final:
        return _over(task, mine)
    holder = task.held_by(giver.key)
    if holder is not None:
        return AlreadyDecided(holder.effect.state, holder.person.id, holder.action, holder.at)
    if giver.key == taker.key or (theirs is not None and not theirs.state.final):
        return Invalid("transfer_pointless", f"{taker.id!r} is asked already.")
    if theirs is not None:
        return Invalid("transfer_back", f"{taker.id!r} has had this task before.")
    moved = replace_part(task, giver, State.TRANSFERRED, None, now)
    part = Assignee(taker, given_by=giver.id)
    moved = replace(moved, assignees=(*moved.assignees, part), updated_at=now)
    about = {"from": giver.id, "to": taker.id, **({"comment": comment} if comment else {})}
    event = TaskEvent("transferred", now, actor, about)
    follow = (*_refresh(), FollowUp(FollowUpKind.ANNOUNCE, (taker.key,), "transferred"))
    return Change(moved, (event,), follow)


def add_cc(task: Task, people: Sequence[Person], *, now: datetime, actor: str) -> Change:
    """More people hear of it; who does already is left out."""
    known = {one.key for one in task.cc}
    fresh = tuple(one for one in people if one.key not in known)
    if not fresh:
        return Change(task, changed=False)
    after = replace(task, cc=(*task.cc, *fresh), updated_at=now)
    event = TaskEvent("cc_added", now, actor, {"users": ", ".join(one.id for one in fresh)})
    return Change(after, (event,), (FollowUp(FollowUpKind.ANNOUNCE, tuple(p.key for p in fresh), "cc"),))


def resolve_delegate(start: str, stand_in: Callable[[str], str | None], *, limit: int) -> list[str]:
    """The people that an assignment passes through, the last of whom is asked. A circle, or a chain that is too long,
    leaves it where it began."""
    chain = [start]
    while (following := stand_in(chain[-1])) is not None:
        if following in chain or len(chain) > limit:
            return [start]
        chain.append(following)
    return chain


def drop_timers(task: Task, names: Collection[str]) -> Task:
    """Without these timers: they have gone off."""
    return replace(task, timers=tuple(timer for timer in task.timers if timer.name not in names))
