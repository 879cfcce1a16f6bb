"""What happens to tasks by itself: one that cannot be read stops none of the others, and nothing is tried for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hub.core.approvals_follow import FollowUps
from hub.core.approvals_timers import Timers
from hub.core.errors import Refused, Unavailable
from hub.core.message import AppId
from hub.core.task import FollowUp, FollowUpId, FollowUpKind, StoredFollowUp, TaskId

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


@pytest.mark.parametrize(
    ("error", "days", "ended"),
    [
        (Refused("no", "refused"), 6, False),
        (Refused("no", "refused"), 8, True),
        (KeyError("a bug"), 8, True),
        (Unavailable("away", "away"), 800, False),
    ],
)
async def test_what_is_refused_for_a_week_is_given_up_and_what_cannot_be_done_now_never(
    error: Exception, days: int, ended: bool
) -> None:
    one = StoredFollowUp(
        FollowUpId("flw"),
        AppId("app"),
        TaskId("tsk"),
        FollowUp(FollowUpKind.CARDS),
        NOW - timedelta(days=days),
    )
    noted: list[str] = []

    class Store:
        async def follow_ups(self, **_: Any) -> list[StoredFollowUp]:
            return [one]

        async def task(self, *_: Any) -> None:
            raise error

        async def done(self, _: FollowUpId) -> None:
            noted.append("done")

        async def postpone(self, *_: Any) -> None:
            noted.append("postponed")

    ports = SimpleNamespace(
        store=Store(), clock=lambda: NOW, limits=SimpleNamespace(lease=timedelta(seconds=30))
    )
    await FollowUps(cast(Any, ports), cast(Any, None)).sweep(limit=10)
    assert noted == ["done" if ended else "postponed"]
