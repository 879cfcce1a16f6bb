"""Pressing people: who may be, how hard, and what really went out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hub.core.approvals_ledger import Decided, Ledger
from hub.core.approvals_ports import ApprovalPorts
from hub.core.errors import NotFound, Unavailable
from hub.core.message import UserKey
from hub.core.policy import PUSH_ONLY
from hub.core.task import FollowUp, FollowUpId, FollowUpKind, Reminder, Task, TaskEvent
from hub.core.task_flow import Change
from hub.core.task_remind import DAY, Pressing, climbed, press

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Pressed:
    """What one person is sent: over which channels, at which level; or why nothing is."""

    user_id: str
    sent: bool
    level: int = 0
    channels: tuple[str, ...] = ()
    reason: str | None = None
    retry_at: datetime | None = None


class Presser:
    """Commits reminders: two who press at once are seen as one after the other."""

    def __init__(self, ports: ApprovalPorts, ledger: Ledger) -> None:
        self._ports = ports
        self._ledger = ledger

    async def press(
        self, task: Task, to: Sequence[str] | None, *, requester: str, comment: str = ""
    ) -> tuple[list[Pressed], tuple[FollowUpId, ...]]:
        """The answers, in order, and what is to be done now."""
        for _ in range(_TRIES):
            found = await self._ports.store.task(task.app, task.id)
            if found is None:
                break
            people = _people(found, to)
            answers = await self.weigh(found, [key for key, _ in people], requester=requester)
            rev = found.rev

            def decide(now: Task | None, rev: int = rev, answers: list[Pressing] = answers) -> Decided[bool]:
                if now is None or now.rev != rev:
                    return Decided(False)
                change, reminders = self.pressing(now, answers, requester=requester, comment=comment)
                return Decided(True, change, reminders)

            committed = await self._ledger.commit(task.app, task.id, decide)
            if committed.answer:
                return await self._shown(found, dict(people), answers), committed.follow
        raise Unavailable("contention", "Others were changing the same task. Try again shortly.")

    async def weigh(
        self, task: Task, users: Sequence[UserKey], *, requester: str, by_clock: bool = False
    ) -> list[Pressing]:
        """What a reminder would mean for each."""
        now = self._ports.clock()
        return press(
            task,
            users,
            requester=requester,
            about_task=await self._ports.store.reminders(task.id),
            in_a_day=await self._ports.store.heard_since(users, now - DAY),
            now=now,
            by_clock=by_clock,
        )

    def pressing(
        self, task: Task, answers: Sequence[Pressing], *, requester: str, comment: str = ""
    ) -> tuple[Change, tuple[Reminder, ...]]:
        """The change that sends what may be sent."""
        now = self._ports.clock()
        sent = [one for one in answers if one.sent]
        levels = sorted({one.level for one in sent})
        follow = tuple(
            FollowUp(
                FollowUpKind.REMIND, tuple(one.user for one in sent if one.level == level), comment, level
            )
            for level in levels
        )
        names = {one.person.key: one.person.id for one in task.assignees}
        about = {"users": ", ".join(names[one.user] for one in sent), "level": str(max(levels, default=0))}
        if comment:
            about["comment"] = comment
        event = TaskEvent("reminded", now, requester, about)
        reminders = tuple(Reminder(task.id, requester, one.user, now, one.level) for one in sent)
        return Change(task, (event,), follow, changed=bool(sent)), reminders

    async def _shown(
        self, task: Task, names: dict[UserKey, str], answers: Sequence[Pressing]
    ) -> list[Pressed]:
        named = await self._ports.rules.policy(task.app, task.content.notify.policy)
        policy = named.policy if named else PUSH_ONLY
        return [
            Pressed(
                user_id=names[one.user],
                sent=one.sent,
                level=one.level,
                channels=tuple(hop.channel for hop in climbed(policy, one.level).hops) if one.sent else (),
                reason=one.reason,
                retry_at=one.retry_at,
            )
            for one in answers
        ]


def _people(task: Task, to: Sequence[str] | None) -> list[tuple[UserKey, str]]:
    """Those named, or all who could still act. Raises NotFound for a name that the task does not have."""
    if to is None:
        return [(one.person.key, one.person.id) for one in task.open]
    known = {one.person.id: one.person.key for one in task.assignees}
    for name in to:
        if name not in known:
            raise NotFound("user_not_found", f"{name!r} is not asked by this task.")
    return [(known[name], name) for name in dict.fromkeys(to)]
