"""Presence of this node's users: what the gateway tells and asks, and the node's own life in Redis.

Whatever goes wrong with Redis (away, emptied, restarted with an old file, the lease lost) has one cure: the node
begins a new life under a new boot id, enters all its sessions again, and leaves the old life to the reaper like that
of any killed node. Registering therefore never fails; it may only come late.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from hub.channels.ws.last_seen import LastSeen, Report
from hub.channels.ws.ledger import REFRESH, Ledger
from hub.channels.ws.nodes import CENSUS_AGE, Nodes
from hub.channels.ws.reaper import Reaper
from hub.channels.ws.scribe import Scribe
from hub.channels.ws.seats import Seat
from hub.channels.ws.sightings import Sightings
from hub.channels.ws.tidings import Change, Listener, Tidings, WentOffline, names, stamp
from hub.core.errors import QueueUnavailable, Unavailable
from hub.core.identity import Platform
from hub.core.message import UserKey
from hub.core.ports import Clock
from hub.redis_link import RedisLink

log = logging.getLogger("hub.presence")

_NOTICED = CENSUS_AGE.total_seconds() + 0.1
"""Seconds after which every other node knows of one that has joined."""
_SEEN_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class PresenceLimits:
    """`lease`: a node that was not heard of for this long is dead. `grace_*`: how long after the last session closed
    others are told of it (whoever asks is answered exactly)."""

    lease: timedelta = timedelta(seconds=6)
    grace_app: timedelta = timedelta(seconds=2)
    grace_web: timedelta = timedelta(seconds=4)


class _Leaving(NamedTuple):
    """A user whose last session here is closed: since when, when others may be told, and in which life it was."""

    due: float
    since: str
    life: int


class Presence(Sightings):
    """Open with `open_presence`. What any process may ask is inherited."""

    def __init__(
        self,
        link: RedisLink,
        nodes: Nodes,
        *,
        limits: PresenceLimits,
        clock: Clock,
        seen: Report | None = None,
        went_offline: WentOffline | None = None,
    ) -> None:
        super().__init__(link, nodes)
        self.lives = 0
        """Lives that this node has begun."""
        self._limits = limits
        self._clock = clock
        self.tidings = Tidings(link, nodes, clock=clock, went_offline=went_offline)
        self.last_seen = LastSeen(seen)
        self.reaper = Reaper(link, nodes, self.tidings, seen=self.last_seen.note)
        self.scribe = Scribe(link, self.tidings, mend=self._be_born)
        self._ledger = Ledger(nodes)
        self._leaving: dict[UserKey, _Leaving] = {}
        self._recheck_at = math.inf
        self._reborn: Callable[[], None] | None = None
        link.on_epoch(lambda _old, _new: self.scribe.give_up())

    def listen(self, changed: Listener, *, reborn: Callable[[], None]) -> None:
        """`changed` hears of users who are watched here. `reborn` is called when others may have taken this node
        for dead for a while: what they sent to its sessions is lost."""
        self.tidings.listener = changed
        self._reborn = reborn

    async def register(self, session: Seat) -> None:
        """This session is live here. On return every node sees it, unless Redis is away."""
        user = self._ledger.add(session, self._clock())
        await self.scribe.write(self._ledger.opening(session.id), self._came([user]))

    async def unregister(self, session: Seat) -> None:
        """It is not live any more."""
        held = self._ledger.remove(session.id)
        if held is None:
            return
        now = self._clock()
        since = stamp(now)
        if not self._ledger.here(held.user):
            grace = self._limits.grace_app if held.platform is Platform.APP else self._limits.grace_web
            due = time.monotonic() + grace.total_seconds()
            self._leaving[held.user] = _Leaving(due, since, self.lives)
            self.last_seen.note(held.user, now)
        await self.scribe.write([self._ledger.closing(held.user, session.id, since)])

    async def watch(self, users: Collection[UserKey]) -> None:
        """Changes of these are wanted on this node. Watch first and ask then: nothing falls in between."""
        await self.scribe.write(self._ledger.watch(users))

    async def unwatch(self, users: Collection[UserKey]) -> None:
        """Not any more."""
        await self.scribe.write(self._ledger.unwatch(users))

    async def poll(self, user: UserKey) -> None:
        """Requests wait here for what is new to a user, who is not online by that."""
        await self.scribe.write(self._ledger.poll(user))

    async def unpoll(self, users: Collection[UserKey]) -> None:
        """Not any more."""
        await self.scribe.write(self._ledger.unpoll(users))

    def recheck(self) -> None:
        """Changes may have gone unheard: ask for all who are watched, once every node has had time to come back."""
        if self._ledger.watched:
            self._recheck_at = time.monotonic() + self._limits.lease.total_seconds()

    async def begin(self) -> None:
        """Join. Without Redis it happens later, by itself."""
        try:
            await self._be_born()
        except QueueUnavailable:
            log.warning("presence_waits_for_redis")
            self.scribe.give_up()

    async def wait_until_noticed(self) -> None:
        """Until no other node can think itself alone."""
        with suppress(QueueUnavailable):
            if await self.others():
                await asyncio.sleep(_NOTICED)

    async def keep_lease(self) -> None:
        """Renews the lease. Never returns."""
        while True:
            await asyncio.sleep(self._limits.lease.total_seconds() / 3)
            try:
                if not self.scribe.broken and not await self._nodes.renew():
                    log.warning("lease_lost", extra={"instance": self._nodes.instance})
                    self.scribe.give_up()
            except QueueUnavailable:
                continue  # it may still be renewed in time; if not, it is lost
            except Exception:
                log.exception("lease_failed")

    async def keep_order(self) -> None:
        """What comes due: users who have gone, dead nodes, sightings, refreshing. Never returns."""
        pause = min(1.0, self._limits.lease.total_seconds() / 3)
        refresh_at, report_at = time.monotonic() + REFRESH, 0.0
        while True:
            await asyncio.sleep(min(pause, self._limits.grace_app.total_seconds() / 2 or pause))
            now = time.monotonic()
            try:
                await self._settle_due(now)
                await self.reaper.sweep()
                if now >= report_at:
                    report_at = now + _SEEN_EVERY
                    await self.last_seen.report()
                if now >= self._recheck_at:
                    self._recheck_at = math.inf
                    await self._recheck()
                if now >= refresh_at:
                    refresh_at = now + REFRESH
                    await self._refresh()
            except (QueueUnavailable, Unavailable):
                continue
            except Exception:
                log.exception("presence_chores_failed")

    async def end(self) -> None:
        """Take all sessions off. Those who have gone are told of by the other nodes, once they had time to return."""
        patience = max(self._limits.grace_app, self._limits.grace_web, timedelta(milliseconds=1))
        now = self._clock()
        since = stamp(now)
        self.scribe.give_up()
        with suppress(QueueUnavailable, Unavailable):
            for chunk in self._ledger.sessions():
                for _, user in chunk:
                    self.last_seen.note(user, now)
                await self._link.run([self._ledger.closing(user, name, since) for name, user in chunk])
            await self._nodes.end(self._nodes.instance, after=patience)
            await self.last_seen.report()

    async def _be_born(self) -> None:
        old = self._nodes.reboot() if self.lives else None
        self.lives += 1
        await self._nodes.join()
        # From here on the scribe takes changes again, to be written after all that is entered below.
        self.scribe.broken = False
        await self._link.run(self._ledger.frame())
        for chunk in self._ledger.sessions():
            commands = [command for session, _ in chunk for command in self._ledger.opening(session)]
            answers = await self._link.run(commands)
            await self.tidings.tell(self._came([user for _, user in chunk])(answers))
        for chunked in (self._ledger.watching(), self._ledger.polling()):
            for some in chunked:
                await self._link.run(some)
        if old is not None:
            await self._nodes.end(old)
            log.info("presence_reborn", extra={"old": old, "sessions": len(self._ledger)})
            self.recheck()
            if self._reborn is not None:
                asyncio.get_running_loop().call_later(_NOTICED, self._reborn)

    def _came(self, users: list[UserKey]) -> Callable[[list[Any]], list[Change]]:
        """Reads the answers to `opening` commands, which come in pairs: whom to tell that these came."""

        def meaning(answers: list[Any]) -> list[Change]:
            now = self._clock()
            return [
                Change(user, True, now, names(watchers))
                for user, watchers in zip(users, answers[::2], strict=True)
                if watchers is not None
            ]

        return meaning

    async def _settle_due(self, now: float) -> None:
        """Find out who has gone for good. Who could not be written stays due."""
        if self.scribe.broken:
            return
        due = [(user, leaving) for user, leaving in self._leaving.items() if leaving.due <= now]
        await asyncio.gather(*(self._settle(user, leaving) for user, leaving in due))

    async def _settle(self, user: UserKey, leaving: _Leaving) -> None:
        def meaning(answers: list[Any]) -> list[Change]:
            if self._leaving.get(user) is leaving:
                del self._leaving[user]
            change = self.tidings.settled(user, answers[0])
            return [] if change is None else [change]

        settle = self.tidings.settle(user, since=leaving.since)
        if leaving.life != self.lives:
            # Redis may have been emptied, and with it what says that she was believed online: note it again.
            await self.scribe.write([self._ledger.closing(user, "", leaving.since)])
        await self.scribe.write([settle, *self._ledger.forgetting(user)], meaning)

    async def _refresh(self) -> None:
        await self.scribe.write(self._ledger.frame())
        for chunk in self._ledger.sessions():
            commands = [command for session, _ in chunk for command in self._ledger.opening(session)]
            await self.scribe.write(commands, self._came([user for _, user in chunk]))
        for chunked in (self._ledger.watching(), self._ledger.polling()):
            for some in chunked:
                await self.scribe.write(some)
        self.recheck()

    async def _recheck(self) -> None:
        listener, users = self.tidings.listener, list(self._ledger.watched)
        for start in range(0, len(users), 200):
            found = await self.sessions(users[start : start + 200])
            now = self._clock()
            for user, sessions in found.items():
                if listener is not None and user in self._ledger.watched:
                    listener(user, bool(sessions), now)


@asynccontextmanager
async def open_presence(
    link: RedisLink,
    nodes: Nodes,
    *,
    limits: PresenceLimits,
    clock: Clock,
    seen: Report | None = None,
    went_offline: WentOffline | None = None,
) -> AsyncIterator[Presence]:
    """This node's presence, joined; on leaving its sessions are taken off."""
    presence = Presence(link, nodes, limits=limits, clock=clock, seen=seen, went_offline=went_offline)
    await presence.begin()
    tasks = [
        asyncio.create_task(presence.keep_lease(), name="presence-lease"),
        asyncio.create_task(presence.scribe.run(), name="presence-scribe"),
        asyncio.create_task(presence.keep_order(), name="presence-order"),
    ]
    try:
        await presence.wait_until_noticed()
        yield presence
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await presence.end()
