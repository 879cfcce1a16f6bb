"""Work that is done again and again: each part for itself, so that none waits for another's good day."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from hub.core.errors import HubError, QueueUnavailable

log = logging.getLogger("hub.chores")
T = TypeVar("T")


async def bad_one_alone(rows: Sequence[T], act: Callable[[Sequence[T]], Awaitable[object]]) -> None:
    """Act on these together; where that raises what is no answer of the hub's, in halves, down to the one that is at
    fault, which is logged and left. `act` must be repeatable. Raises HubError and QueueUnavailable."""
    if not rows:
        return
    try:
        await act(rows)
    except (HubError, QueueUnavailable):
        raise
    except Exception:
        if len(rows) == 1:
            log.exception("delivery_failed", extra={"row": getattr(rows[0], "id", None)})
            return
        half = len(rows) // 2
        await bad_one_alone(rows[:half], act)
        await bad_one_alone(rows[half:], act)


async def each_for_itself(*parts: Callable[[], Awaitable[object]]) -> None:
    """Do these in their order, whatever becomes of those before. Raises what the last that failed raised."""
    failed: Exception | None = None
    for part in parts:
        try:
            await part()
        except (HubError, QueueUnavailable) as error:
            log.info("chore_part_postponed", extra={"error": str(error) or type(error).__name__})
            failed = error
        except Exception as error:
            log.exception("chore_part_failed")
            failed = error
    if failed is not None:
        raise failed
