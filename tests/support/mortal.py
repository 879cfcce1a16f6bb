"""Whole hub nodes of one process that can die: everything a node has begun ends at once, and nothing is closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar, copy_context
from enum import StrEnum
from typing import Any, TypeVar

import pytest
from sqlalchemy import event
from sqlalchemy.pool import ConnectionPoolEntry

from hub.bootstrap import Hub, open_hub
from hub.channels.ws.parcel import Parcel
from hub.settings import Settings
from hub.store.sql_engine import Dialect
from tests.support.away import refuse
from tests.support.engine import HeldExecutor

T = TypeVar("T")
_OWNER: ContextVar[str] = ContextVar("node", default="")


class Cut(StrEnum):
    """Where a node dies."""

    BEFORE_COMMIT = "before its commit"
    AFTER_COMMIT = "after its commit, before anybody was told"
    BEFORE_FRAMES = "before its frames"
    BEFORE_TAILS = "before its tails"
    AFTER_CHANGE = "after a change of members, before anybody was told"


class Died(Exception):
    """The node that was asked died before it answered: nobody knows what it has done."""


class Owners:
    """Which tasks of a loop belong to which node: those that it, or what it has begun, has begun."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._tasks: dict[str, set[asyncio.Task[Any]]] = {}
        loop.set_task_factory(self._make)  # type: ignore[arg-type]  # the stub knows no `context`

    def _make(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], **more: Any
    ) -> asyncio.Task[T]:
        task = asyncio.Task(work, loop=loop, **more)
        mine = self._tasks.setdefault(_OWNER.get(), set())
        mine.add(task)
        task.add_done_callback(mine.discard)
        return task

    def of(self, name: str) -> list[asyncio.Task[Any]]:
        """A node's tasks that still run."""
        return list(self._tasks.get(name, ()))


class Node:
    """One node. `pushed` hears what is pushed to the sessions that are here."""

    def __init__(self, name: str, settings: Settings, owners: Owners) -> None:
        self.name = name
        self.alive = False
        self.pushed: Callable[[Node, Sequence[Parcel]], None] = lambda _node, _parcels: None
        self.deaf = False
        """What others publish is lost on its way to here, and what is published here too."""
        self.cut_off = asyncio.Event()
        """A cut has been reached: whoever came there hangs."""
        self._settings = settings
        self._owners = owners
        self._stack = AsyncExitStack()
        self._in_use: set[ConnectionPoolEntry] = set()
        self._cut: Cut | None = None

    async def start(self) -> Node:
        """Open it."""
        opening = open_hub(self._settings, executor=HeldExecutor())
        self.hub: Hub = await self.own(self._stack.enter_async_context(opening))
        assert self.hub.gateway is not None
        engine = self.hub.store.database._reader.sync_engine
        event.listen(engine, "checkout", lambda _, entry, __: self._in_use.add(entry))
        event.listen(engine, "checkin", lambda _, entry: self._in_use.discard(entry))
        registry = self.hub.gateway.node
        registry.push = self._push  # type: ignore[method-assign]
        self._hang(self.hub.store, "commit", Cut.BEFORE_COMMIT, Cut.AFTER_COMMIT)
        self._hang(self.hub.broker, "publish", Cut.BEFORE_FRAMES)
        self._hang(self.hub.engine.publisher._tail, "append", Cut.BEFORE_TAILS)
        self.alive = True
        return self

    def _push(self, parcels: Sequence[Parcel]) -> None:
        if not self.deaf:
            self.pushed(self, parcels)

    async def own(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this as the node: what it begins is the node's. Raises Died where the node did not live to do it."""
        context = copy_context()
        context.run(_OWNER.set, self.name)
        task = context.run(asyncio.get_running_loop().create_task, work, context=context)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        if task.cancelled():
            raise Died(self.name)
        return task.result()

    def cut(self, place: Cut | None) -> None:
        """Who comes to this place from now on goes no further."""
        self._cut = place
        self.cut_off.clear()

    def _hang(self, part: Any, name: str, before: Cut, after: Cut | None = None) -> None:
        real = getattr(part, name)

        async def hanging(*given: Any, **more: Any) -> Any:
            await self.reached(before)
            answer = await real(*given, **more)
            await self.reached(after)
            return answer

        setattr(part, name, hanging)

    async def reached(self, place: Cut | None) -> None:
        """Hang here, if this is where it dies."""
        if place is not None and place is self._cut:
            self.cut_off.set()
            await asyncio.get_running_loop().create_future()

    def redis_away(self, away: bool) -> None:
        """Its link thinks that Redis is away, or may look again."""
        refuse(self.hub.link, away)

    async def die(self) -> None:
        """As by SIGKILL: nothing is committed, published, marked or taken off any more."""
        self.alive = False
        while tasks := [task for task in self._owners.of(self.name) if not task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=5)
        await self.hub.link.aclose()
        if self.hub.store.database.dialect is not Dialect.SQLITE:
            # What was to give these back has been cancelled too: a process's sockets close when it dies.
            for entry in list(self._in_use):
                entry.invalidate()
        await self.hub.store.database._reader.dispose()

    async def close(self) -> None:
        """Close it as a process does that is asked to; of one that died, what is left of it."""
        if not self.alive:
            self.hub.engine.publisher._idle.set()
            self.hub.engine.publisher._marks.take()
            with contextlib.suppress(Exception):
                await self._stack.aclose()
            return
        self.alive = False
        await self._stack.aclose()


def hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that joins waits for the others to notice, which costs a model its time; what it misses it finds."""
    monkeypatch.setattr("hub.channels.ws.presence._NOTICED", 0.0)
