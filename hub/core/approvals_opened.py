"""How often it is written down that somebody followed a link: whoever holds one can do so without end."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from hub.core.task import TaskId

MOST: Final = 10
WINDOW: Final = timedelta(hours=1)
_REMEMBERED: Final = 10_000


class Openings:
    """Counts in this process alone: it bounds a table, and is no limit that anybody must be able to rely on."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[TaskId, str], tuple[datetime, int]] = OrderedDict()

    def worth_noting(self, task: TaskId, actor: str, now: datetime) -> bool:
        """The first MOST of one person and task within a WINDOW are."""
        since, count = self._seen.pop((task, actor), (now, 0))
        if now - since >= WINDOW:
            since, count = now, 0
        self._seen[task, actor] = (since, min(count + 1, MOST + 1))
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return count < MOST
