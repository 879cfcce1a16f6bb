"""Pure: who may be pressed now, how hard, and over which channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hub.core.message import UserKey
from hub.core.policy import Mode, Policy
from hub.core.task import Reminder, Task

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pressing:
    """What a reminder means for one person. `reason` says why nothing is sent: `not_asked`, `processing`, `cooldown`
    or `daily_cap` (then `retry_at` says when it may be)."""

    user: UserKey
    level: int = 0
    reason: str | None = None
    retry_at: datetime | None = None

    @property
    def sent(self) -> bool:
        """Whether something is to be sent."""
        return self.reason is None


def press(
    task: Task,
    people: Sequence[UserKey],
    *,
    requester: str,
    about_task: Sequence[Reminder],
    in_a_day: Mapping[UserKey, int],
    now: datetime,
    by_clock: bool = False,
) -> list[Pressing]:
    """One answer a person, in order. `in_a_day` counts what each has heard in the last day, of any task. What the
    task's own timers send (`by_clock`) knows no cooldown."""
    rule = task.content.notify.remind
    found = []
    for user in people:
        mine = [one for one in about_task if one.user == user]
        last = max((one.at for one in mine if one.requester == requester), default=None)
        if task.assignee(user) is None or not any(one.person.key == user for one in task.open):
            found.append(Pressing(user, reason="not_asked"))
        elif not task.waits_for(user):
            found.append(Pressing(user, reason="processing"))
        elif last is not None and now - last < rule.cooldown and not by_clock:
            found.append(Pressing(user, reason="cooldown", retry_at=last + rule.cooldown))
        elif in_a_day.get(user, 0) >= rule.daily_cap:
            found.append(Pressing(user, reason="daily_cap", retry_at=now + DAY))
        else:
            found.append(Pressing(user, level=1 + max((one.level for one in mine), default=0)))
    return found


def climbed(policy: Policy, level: int) -> Policy:
    """The first reminder goes the policy's own way; the second adds its second step at once, the third its third too,
    and so on to the last."""
    if level <= 1 or len(policy.hops) == 1:
        return policy
    hops = tuple(replace(hop, wait=None) for hop in policy.hops[: min(level, len(policy.hops))])
    return replace(policy, hops=hops, mode=Mode.ALL)
