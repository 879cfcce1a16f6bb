"""Finds numbers that were drawn and never used in queues that nobody reads, and closes them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from hub.core.message import SeqKey, UserKey
from hub.core.ports import Clock, MessageStore, NewId
from hub.core.sequence import contiguous, gap_portions

log = logging.getLogger("hub.gap_scan")

_BATCHES = 500
_PAGE = 40
_CHECKS = 500
_NUMBERS = 1_000


class GapScan:
    """A backstop: readers find and close the gaps that they meet; this finds those that nobody meets.

    It looks at the users of recent commits only, since a gap can only stand right before a committed number.
    """

    def __init__(
        self, *, store: MessageStore, grace: timedelta, window: timedelta, clock: Clock, new_id: NewId
    ) -> None:
        self._store = store
        self._grace = grace
        self._window = window
        self._clock = clock
        self._new_id = new_id

    async def run(self) -> int:
        """Close what is older than the grace. Returns how many gaps were closed."""
        now = self._clock()
        found: list[tuple[SeqKey, int, int]] = []
        for user, numbers in sorted((await self._recent(now)).items())[:_CHECKS]:
            lowest = max(0, min(numbers) - 2)
            entries = await self._store.entries(user, after=lowest, limit=len(numbers) + 2)
            _, gap = contiguous(lowest, [entry.user_seq for entry in entries])
            key = SeqKey.of_user(user)
            if gap is None or gap[1] >= max(numbers) or await self._store.floor(key) >= gap[0]:
                continue
            found.append((key, *gap))
        for gaps in gap_portions(found, numbers=_NUMBERS):
            await self._store.close_gaps(gaps, new_id=self._new_id, now=now)
            for key, first, last in gaps:
                log.warning("gap_closed", extra={"kind": key.kind, "first": first, "last": last})
        return len(found)

    async def _recent(self, now: datetime) -> dict[UserKey, list[int]]:
        """The numbers of settled commits, by user. Read in pages: bodies come along and are let go."""
        numbers: dict[UserKey, list[int]] = {}
        for skip in range(0, _BATCHES, _PAGE):
            since = now - self._window - self._grace
            page = await self._store.committed_since(since, limit=_PAGE, skip=skip)
            for item in (item for _, published in page for item in published):
                if item.message.created_at <= now - self._grace:
                    for entry in item.entries:
                        numbers.setdefault(entry.user, []).append(entry.user_seq)
            if len(page) < _PAGE:
                break
        return numbers
