"""Finds numbers that were drawn and never used in queues that nobody reads, and closes them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta

from hub.core.message import Published, SeqKey, UserKey
from hub.core.ports import Clock, MessageStore, NewId
from hub.core.sequence import contiguous

log = logging.getLogger("hub.gap_scan")

_BATCHES = 500
_CHECKS = 500


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
        batches = await self._store.committed_since(now - self._window - self._grace, _BATCHES)
        settled = [
            p for _, published in batches for p in published if p.message.created_at <= now - self._grace
        ]
        closed = 0
        for user, numbers in sorted(_by_user(settled).items())[:_CHECKS]:
            lowest = max(0, min(numbers) - 2)
            entries = await self._store.entries(user, after=lowest, limit=len(numbers) + 2)
            _, gap = contiguous(lowest, [entry.user_seq for entry in entries])
            key = SeqKey.of_user(user)
            if gap is None or gap[1] >= max(numbers) or await self._store.floor(key) >= gap[0]:
                continue
            await self._store.close_gap(key, *gap, new_id=self._new_id, now=now)
            log.warning("gap_closed", extra={"first": gap[0], "last": gap[1]})
            closed += 1
        return closed


def _by_user(published: Iterable[Published]) -> dict[UserKey, Sequence[int]]:
    numbers: dict[UserKey, list[int]] = {}
    for item in published:
        for entry in item.entries:
            numbers.setdefault(entry.user, []).append(entry.user_seq)
    return dict(numbers)
