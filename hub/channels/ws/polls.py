"""Long polls: requests that wait for news of a queue without a socket. Nothing is kept for a client between two of
them but a note in Redis, so that other nodes send what is new to this one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection
from contextlib import suppress
from typing import Final, Protocol

from hub.channels.ws.background import Background
from hub.channels.ws.heads import Heads
from hub.channels.ws.node import Node, Waiter
from hub.core.errors import QueueUnavailable, Refused, Unavailable
from hub.core.message import Page, UserKey
from hub.settings import Settings

log = logging.getLogger("hub.ws.polls")

_LINGER: Final = 15.0
"""Seconds for which a user's note stays after the last poll: the next one mostly comes at once."""
_SOON: Final = 0.05
_SELDOM: Final = 5.0
"""Seconds after which a queue is asked although nothing was heard: what is lost between nodes is found by then."""


class ReadQueue(Protocol):
    """engine.sync."""

    def __call__(self, user: UserKey, *, after: int, limit: int) -> Awaitable[Page]:
        """A contiguous page."""
        ...


class Notes(Protocol):
    """Where it stands for other nodes that this one has waiting requests of a user."""

    async def poll(self, user: UserKey) -> None:
        """From the return on, every node sends here what is new, unless Redis is away. Twice is harmless."""
        ...

    async def unpoll(self, users: Collection[UserKey]) -> None:
        """Not any more."""
        ...


class Polls:
    """One for a node. A wake is never lost: first the request is entered, then the queue is asked, then it waits."""

    def __init__(
        self, *, node: Node, read: ReadQueue, heads: Heads, notes: Notes, settings: Settings
    ) -> None:
        self._node = node
        self._read = read
        self._heads = heads
        self._notes = notes
        self._most = settings.max_polls
        self._most_each = settings.polls_per_user
        self._longest = settings.poll_wait.total_seconds()
        self._background = Background()
        self._leaving: dict[UserKey, asyncio.TimerHandle] = {}
        self._noting: dict[UserKey, asyncio.Future[None]] = {}
        self._count = 0
        self._closed = False

    def __len__(self) -> int:
        return self._count

    async def pull(self, user: UserKey, *, after: int, limit: int, wait: float) -> Page:
        """What is past `after`, as soon as there is something; an empty page after `wait` seconds, and at once where
        what the user may do has changed meanwhile.

        Raises Refused too_many_polls, and what reading raises.
        """
        page = await self._look(user, after, limit)
        wait = min(wait, self._longest)
        if page is not None or wait <= 0 or self._closed:
            return page or Page((), next=after, more=False)
        waiting = self._node.waiting.get(user, set())
        if self._count >= self._most or len(waiting) >= self._most_each:
            raise Refused(
                "too_many_polls", "Too many requests wait for news already. Read their answers first."
            )
        woken = self._enter(user)
        try:
            await self._note(user)
            return await self._await(user, woken, after, limit, wait)
        finally:
            self._leave(user, woken)

    async def _await(self, user: UserKey, woken: Waiter, after: int, limit: int, wait: float) -> Page:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        pause = _SELDOM
        while True:
            woken.clear()
            page = await self._look(user, after, limit)
            left = deadline - loop.time()
            if woken.over:
                return Page((), next=after, more=False)
            if page is not None or left <= 0 or self._closed:
                return page or Page((), next=after, more=False)
            try:
                async with asyncio.timeout(min(left, pause)):
                    await woken.wait()
                # What was heard of may be behind a gap, which closes shortly.
                pause = _SOON
            except TimeoutError:
                pause = min(_SELDOM, pause * 2)

    async def _look(self, user: UserKey, after: int, limit: int) -> Page | None:
        """A page with something in it. The head is asked first: together with others, and mostly of the tails."""
        if await self._heads.of(user) == after:
            return None
        page = await self._read(user, after=after, limit=limit)
        return page if page.entries or page.rebase else None

    def _enter(self, user: UserKey) -> Waiter:
        timer = self._leaving.pop(user, None)
        if timer is not None:
            timer.cancel()
        woken = Waiter()
        self._node.waiting.setdefault(user, set()).add(woken)
        self._count += 1
        return woken

    async def _note(self, user: UserKey) -> None:
        """Who comes while the note is being written waits for it too."""
        task = self._noting.get(user)
        if task is None:
            task = asyncio.ensure_future(self._notes.poll(user))
            self._noting[user] = task
            task.add_done_callback(lambda _: self._noting.pop(user, None))
        with suppress(QueueUnavailable):
            await asyncio.shield(task)

    def _leave(self, user: UserKey, woken: Waiter) -> None:
        self._count -= 1
        waiting = self._node.waiting[user]
        waiting.discard(woken)
        if waiting:
            return
        del self._node.waiting[user]
        self._leaving[user] = asyncio.get_running_loop().call_later(_LINGER, self._gone, user)

    def _gone(self, user: UserKey) -> None:
        del self._leaving[user]
        self._background.start(self._take_off([user]), name="poll-gone")

    async def _take_off(self, users: Collection[UserKey]) -> None:
        try:
            await self._notes.unpoll(users)
        except (QueueUnavailable, Unavailable):
            log.info("poll_not_taken_off")

    def close(self) -> None:
        """Answer everybody who waits, now; later ones do not wait."""
        self._closed = True
        for events in self._node.waiting.values():
            for event in events:
                event.set()

    async def aclose(self) -> None:
        """Take what is noted off."""
        self.close()
        for timer in self._leaving.values():
            timer.cancel()
        users, self._leaving = list(self._leaving), {}
        if users:
            self._background.start(self._take_off(users), name="polls-gone")
        await self._background.finish(within=1.0)
