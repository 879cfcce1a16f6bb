"""What must follow a change of a task, once it is committed. Everything here may be done twice, by two processes."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

from hub.core.approvals_ports import ApprovalPorts
from hub.core.approvals_send import Sender
from hub.core.approvals_words import card
from hub.core.delivery import DeliveryState
from hub.core.errors import HubError, QueueUnavailable, Unavailable
from hub.core.message import UserKey
from hub.core.outcome import Reason
from hub.core.task import FollowUpId, FollowUpKind, Holder, StoredFollowUp, Task, TaskState
from hub.core.task_remind import climbed
from hub.core.task_store import Send

log = logging.getLogger("hub.approvals")

Verb = Callable[[Task, StoredFollowUp], Awaitable[timedelta | None]]
"""Does one follow-up. None: it is done; else when it must be looked at again."""
_STOP_TRIES: Final = 60
_STOP_ROUNDS: Final = 3
_GONE: Final = frozenset({DeliveryState.SKIPPED, DeliveryState.FAILED, DeliveryState.CANCELED})
_OUT: Final = frozenset({DeliveryState.ACCEPTED, DeliveryState.DELIVERED})
_BACK: Final = frozenset({TaskState.WITHDRAWN, TaskState.CANCELED})
_RETRY: Final = (1, 5, 30, 120, 600, 3_600)
"""Seconds before a follow-up that failed is tried again; the last counts from then on."""
_WORTH_IT: Final = timedelta(days=7)
"""What the hub has refused for so long it will not accept any more."""


class FollowUps:
    """Does follow-ups: at once for whoever committed them, and by the sweep for whoever did not live to."""

    def __init__(self, ports: ApprovalPorts, ask: Verb) -> None:
        self._ports = ports
        self._store = ports.store
        self._sender = Sender(ports)
        self._verbs: Mapping[FollowUpKind, Verb] = {
            FollowUpKind.ASK: ask,
            FollowUpKind.ANNOUNCE: self._announce,
            FollowUpKind.CARDS: self._cards,
            FollowUpKind.STOP: self._stop,
            FollowUpKind.TELL: self._tell,
            FollowUpKind.REMIND: self._remind,
        }

    async def now(self, ids: Collection[FollowUpId]) -> None:
        """Do these, which have just been committed. What cannot be done now is left to the sweep."""
        if not ids:
            return
        try:
            found = await self._store.follow_ups(
                now=self._ports.clock(), lease_until=self._lease(), limit=len(ids), ids=ids
            )
        except HubError as error:
            log.info("follow_ups_left_to_sweep", extra={"code": error.code})
            return
        await asyncio.gather(*(self._do(one) for one in found))

    async def sweep(self, *, limit: int) -> int:
        """Do what is due. Returns how many."""
        found = await self._store.follow_ups(now=self._ports.clock(), lease_until=self._lease(), limit=limit)
        await asyncio.gather(*(self._do(one) for one in found))
        return len(found)

    def _lease(self) -> datetime:
        return self._ports.clock() + self._ports.limits.lease

    async def _do(self, one: StoredFollowUp) -> None:
        """Once; what fails is tried again later: for as long as it takes where something is away, for a week where the
        hub itself refuses it or has a bug."""
        failed = timedelta(seconds=_RETRY[min(one.tries, len(_RETRY) - 1)])
        try:
            task = await self._store.task(one.app, one.task)
            again = None if task is None else await self._verbs[one.what.kind](task, one)
        except (Unavailable, QueueUnavailable) as error:
            log.warning("follow_up_failed", extra={"kind": one.what.kind.value, "error": str(error)})
            again = failed
        except Exception as error:
            # The traceback of a bug; a refusal says enough by its words.
            trace = None if isinstance(error, HubError) else error
            extra = {"task": one.task, "kind": one.what.kind.value, "error": str(error)}
            log.error("follow_up_failed", extra=extra, exc_info=trace)
            over = self._ports.clock() - one.created_at > _WORTH_IT
            again = None if over else failed
            if over:
                log.error("follow_up_given_up", extra={"task": one.task, "kind": one.what.kind.value})
        try:
            if again is None:
                await self._store.done(one.id)
            else:
                await self._store.postpone(one.id, self._ports.clock() + again, one.tries + 1)
        except HubError as error:
            log.info("follow_up_not_noted", extra={"code": error.code})

    async def _announce(self, task: Task, one: StoredFollowUp) -> None:
        why = one.what.detail
        if why in ("cc", "escalated"):
            if task.state not in _BACK:
                await self._sender.inform(task, one, why)
        else:
            people = [user for user in one.what.people if task.waits_for(user)]
            await self._sender.assign(task, one, people, why)
        await self._caught_up(task)

    async def _remind(self, task: Task, one: StoredFollowUp) -> None:
        people = [user for user in one.what.people if task.waits_for(user)]
        await self._sender.assign(task, one, people, "remind", route=lambda p: climbed(p, one.what.level))
        await self._caught_up(task)

    async def _caught_up(self, before: Task) -> None:
        """Whose card was on its way while the task changed was missed by that change: tell them now."""
        after = await self._store.task(before.app, before.id)
        if after is None or after.rev == before.rev:
            return
        holders = await self._store.holders(after.id)
        await self._cancel(after, holders)
        await self._show(after, holders, f"{after.id}:{after.rev}")

    async def _cards(self, task: Task, one: StoredFollowUp) -> None:
        await self._show(task, await self._store.holders(task.id), one.id)

    async def _show(self, task: Task, holders: Collection[Holder], key: str) -> None:
        """A line in each holder's queue, so that devices that are away learn of it when they sync."""
        who = await self._sender.name_of(task)
        of: dict[str, list[UserKey]] = defaultdict(list)
        for holder in holders:
            of[holder.notification].append(holder.user)
        bodies = {notification: card(task, notification, who) for notification in of}
        await self._sender.cards(task, {n: (tuple(users), bodies[n]) for n, users in of.items()}, key)

    async def _stop(self, task: Task, one: StoredFollowUp) -> timedelta | None:
        """What is being tried at this moment cannot be stopped; its next try or step can, a little later."""
        trying = await self._cancel(task, await self._store.holders(task.id))
        return self._ports.limits.rest if trying and one.tries < _STOP_TRIES else None

    async def _cancel(self, task: Task, holders: Collection[Holder]) -> bool:
        """Whether something is still being tried."""
        reason = Reason.RECALLED if task.state in _BACK else Reason.ACTED
        idle = {
            (holder.notification, holder.user)
            for holder in holders
            if (task.state in _BACK if holder.cc else not task.waits_for(holder.user))
        }
        notifications = {notification for notification, _ in idle}
        settled: set[str] = set()
        for _ in range(_STOP_ROUNDS):
            sends = [s for s in await self._store.sends(notifications) if (s.notification, s.user) in idle]
            fresh = [s for s in sends if s.id not in settled and s.state not in _GONE]
            if not fresh:
                break
            for send in fresh:
                await self._ports.cancel(send.id, reason)
                settled.add(send.id)
        return any(s.state is DeliveryState.ATTEMPTING for s in await self._store.sends(notifications))

    async def _tell(self, task: Task, one: StoredFollowUp) -> None:
        """Only those hear of it outside whom something outside has reached, and who did not do it themselves."""
        notify = task.content.notify
        wanted = notify.tell_recall if task.state in _BACK else notify.tell_others
        if not wanted:
            return
        holders = [holder for holder in await self._store.holders(task.id) if not holder.cc]
        sends = await self._store.sends({holder.notification for holder in holders})
        actor = task.decided_by.person.key if task.decided_by else None
        ways = self._reached(sends, {h.user for h in holders} - {actor})
        who = await self._sender.name_of(task)
        for channels, users in sorted(ways.items()):
            await self._sender.tell(task, f"{one.id}:{'+'.join(channels)}", users, channels, who)

    def _reached(
        self, sends: Collection[Send], users: Collection[UserKey | None]
    ) -> Mapping[tuple[str, ...], list[UserKey]]:
        channels: dict[UserKey, set[str]] = defaultdict(set)
        for send in sends:
            if send.user in users and send.state in _OUT and send.channel in self._ports.disturbing:
                channels[send.user].add(send.channel)
        ways: dict[tuple[str, ...], list[UserKey]] = defaultdict(list)
        for user, names in channels.items():
            ways[tuple(sorted(names))].append(user)
        return ways
