"""From the product's user ids to the people of a task: numbers, stand-ins while somebody is away, managers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hub.core.approvals_ports import TaskPeople
from hub.core.message import AppId, UserKey
from hub.core.task import MAX_DELEGATIONS, Assignee, Content, Person, SignMode, TaskState
from hub.core.task_flow import resolve_delegate


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody whom the business system names, and how it says that their part stands."""

    user_id: str
    state: TaskState = TaskState.PENDING


@dataclass(frozen=True, slots=True)
class TaskWish:
    """A task as the business system puts it, in its own ids."""

    business_id: str
    version: int
    content: Content
    assignees: tuple[Asked, ...]
    sign_mode: SignMode = SignMode.ANY
    state: TaskState = TaskState.PENDING
    cc: tuple[str, ...] = ()
    due_at: datetime | None = None
    due_in: timedelta | None = None
    decided_by: str | None = None


def preferences_of(text: str) -> Mapping[str, Any]:
    """Preferences as an object, whatever was stored."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def stand_in_of(preferences: str, now: datetime) -> str | None:
    """Who stands in for somebody at this moment: `delegate` {to, from, until}, of which `to` alone is for good."""
    wanted = preferences_of(preferences).get("delegate")
    if not isinstance(wanted, dict) or not isinstance(wanted.get("to"), str):
        return None
    begins, ends = _moment(wanted.get("from")), _moment(wanted.get("until"))
    if (begins is not None and now < begins) or (ends is not None and now >= ends):
        return None
    return str(wanted["to"])


def _moment(text: object) -> datetime | None:
    """Of RFC 3339; a time without an offset is UTC, and what is no time at all does not narrow."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


class Roll:
    """Looks people up."""

    def __init__(self, people: TaskPeople) -> None:
        self._people = people

    async def persons(self, app: AppId, user_ids: Sequence[str]) -> tuple[Person, ...]:
        """These users, made where they are new; each once, in order."""
        wanted = list(dict.fromkeys(user_ids))
        keys = await self._people.ensure(app, wanted) if wanted else {}
        return tuple(Person(keys[user_id], user_id) for user_id in wanted)

    async def assignees(self, app: AppId, asked: Sequence[Asked], now: datetime) -> tuple[Assignee, ...]:
        """Those to ask: for who is away, the one who stands in."""
        people = await self.persons(app, [one.user_id for one in asked])
        known = {one.id: one for one in people}
        stand_ins = await self._stand_ins(app, [k.key for k in people], known, now)
        named = {one.user_id for one in asked}
        found: dict[str, Assignee] = {}
        for one in asked:
            chain = [one.user_id]
            if not one.state.final:
                chain = resolve_delegate(one.user_id, stand_ins.get, limit=MAX_DELEGATIONS)
            last = chain[-1]
            if len(chain) > 1 and last in named:
                continue  # who stands in is asked for themselves already
            giver = one.user_id if len(chain) > 1 else None
            found.setdefault(last, Assignee(known[last], one.state, given_by=giver))
        return tuple(found.values())

    async def _stand_ins(
        self, app: AppId, users: Sequence[UserKey], known: dict[str, Person], now: datetime
    ) -> Mapping[str, str]:
        """Who stands in for whom, followed as far as chains may go. `known` grows by those met on the way."""
        found: dict[str, str] = {}
        wave = list(users)
        for _ in range(MAX_DELEGATIONS + 1):
            profiles = await self._people.profiles(wave) if wave else {}
            named = [(p.id, stand_in_of(p.preferences, now)) for p in profiles.values()]
            wanted = {giver: to for giver, to in named if to is not None}
            keys = await self._people.known(app, set(wanted.values())) if wanted else {}
            fresh = {giver: to for giver, to in wanted.items() if to in keys and giver != to}
            found.update(fresh)
            wave = [keys[to] for to in fresh.values() if to not in known]
            known.update({to: Person(keys[to], to) for to in fresh.values()})
        return found

    async def above(self, app: AppId, users: Sequence[UserKey], now: datetime, *, manager: bool) -> list[str]:
        """The managers (or stand-ins) of these people, as their preferences name them; those who exist."""
        profiles = await self._people.profiles(users)
        named: list[str] = []
        for profile in profiles.values():
            if manager:
                found = preferences_of(profile.preferences).get("manager")
            else:
                found = stand_in_of(profile.preferences, now)
            if isinstance(found, str):
                named.append(found)
        known = await self._people.known(app, set(named)) if named else {}
        return [user_id for user_id in dict.fromkeys(named) if user_id in known]
