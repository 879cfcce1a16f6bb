"""The clocks of tasks: one that cannot be read stops none of the others."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from hub.core.approvals_timers import Timers
from hub.core.message import AppId
from hub.core.task import TaskId

NOW = datetime(2026, 7, 1, 8, tzinfo=UTC)


async def test_a_task_that_cannot_be_read_does_not_stop_the_clocks_of_the_others() -> None:
    looked: list[str] = []

    class Store:
        async def due_timers(self, **_: Any) -> list[tuple[AppId, TaskId]]:
            return [(AppId("app"), TaskId(name)) for name in ("tsk_broken", "tsk_gone")]

        async def task(self, _: AppId, ref: str) -> None:
            looked.append(ref)
            if ref == "tsk_broken":
                raise ValueError("unreadable")

    ports = SimpleNamespace(store=Store(), clock=lambda: NOW)
    timers = Timers(cast(Any, ports), cast(Any, None), cast(Any, None), cast(Any, None))
    assert await timers.sweep(limit=10) == ([], 2)
    assert looked == ["tsk_broken", "tsk_gone"]
