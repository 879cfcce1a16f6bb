"""When users were last here: gathered, and reported in batches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final

from hub.core.errors import Unavailable
from hub.core.message import UserKey

_WAITING: Final = 100_000
"""Users waiting to be reported. Past it the oldest are forgotten, and counted."""

Report = Callable[[Mapping[UserKey, datetime]], Awaitable[None]]
"""May raise Unavailable; then it is asked again."""


class LastSeen:
    """One time per user, the latest."""

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._times: OrderedDict[UserKey, datetime] = OrderedDict()
        self.dropped = 0

    def note(self, user: UserKey, at: datetime) -> None:
        """She was here until then."""
        if self._report is None:
            return
        self._times[user] = max(at, self._times.pop(user, at))
        while len(self._times) > _WAITING:
            self._times.popitem(last=False)
            self.dropped += 1

    async def report(self) -> None:
        """Pass on what was gathered. What cannot be passed on now is kept."""
        if self._report is None or not self._times:
            return
        times, self._times = self._times, OrderedDict()
        try:
            await self._report(times)
        except Unavailable:
            later, self._times = self._times, times
            for user, at in later.items():
                self.note(user, at)
