"""The sweep's parts stand by themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from hub.bootstrap import Hub
from hub.core.errors import QueueUnavailable, Unavailable


async def test_a_part_of_the_sweep_that_fails_holds_up_none_of_the_others() -> None:
    """A draft that cannot be read, or a Redis that is away, must not stop deliveries."""
    done: list[str] = []

    def part(name: str, error: Exception | None = None) -> Any:
        async def run(**_: Any) -> None:
            done.append(name)
            if error is not None:
                raise error

        return run

    engine = SimpleNamespace(
        republish_unpublished=part("publish", QueueUnavailable("away")),
        send_notices=part("notices"),
        appointments=SimpleNamespace(submit_due=part("scheduled", ValueError("unreadable"))),
        dispatcher=SimpleNamespace(sweep=part("deliveries", Unavailable("store_unavailable", "away"))),
    )
    hub = SimpleNamespace(
        engine=engine,
        approvals=SimpleNamespace(sweep=part("approvals")),
        keeping=SimpleNamespace(removals=SimpleNamespace(sweep=part("removals"))),
        search=SimpleNamespace(index=_nothing_to_index(done)),
    )
    with pytest.raises(Unavailable):
        await Hub.sweep(cast(Any, hub), limit=10)
    assert done == ["publish", "notices", "scheduled", "deliveries", "approvals", "removals", "search"]


def _nothing_to_index(done: list[str]) -> Any:
    async def index(**_: Any) -> int:
        done.append("search")
        return 0

    return index
