"""What came of tries in all processes, added up in Redis: workers have no page of their own for Prometheus to read."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from hub.core.errors import QueueUnavailable
from hub.redis_link import RedisLink

_KEY: Final = "hub:tries"
_EVERY: Final = timedelta(seconds=5)

Tries = Counter[tuple[str, str]]
"""By channel and outcome, both from closed sets."""


class Tally:
    """Takes what this process counted to Redis, and knows what all counted. A Redis that is lost begins anew."""

    def __init__(self, link: RedisLink, tries: Tries) -> None:
        self._link = link
        self._tries = tries
        self._told: Tries = Counter()
        self.totals: Mapping[tuple[str, str], int] = {}

    async def exchange(self) -> None:
        """Tell what is new here, and hear what there is. Raises QueueUnavailable: then it is told the next time."""
        fresh = {labels: count - self._told[labels] for labels, count in self._tries.items()}
        fresh = {labels: count for labels, count in fresh.items() if count}
        add = [("HINCRBY", _KEY, "|".join(labels), count) for labels, count in fresh.items()]
        *_, found = await self._link.run([*add, ("HGETALL", _KEY)])
        self._told.update(fresh)
        self.totals = dict(_entries(found))

    async def keep(self) -> None:
        """Again and again. Never returns."""
        while True:
            await asyncio.sleep(_EVERY.total_seconds())
            with contextlib.suppress(QueueUnavailable):
                await self.exchange()


def _entries(found: Mapping[bytes, bytes] | list[bytes]) -> list[tuple[tuple[str, str], int]]:
    """As RESP3 or RESP2 has them."""
    pairs = found.items() if isinstance(found, Mapping) else zip(found[::2], found[1::2], strict=True)
    said = [(name.decode().partition("|"), int(count)) for name, count in pairs]
    return [((channel, outcome), count) for (channel, _, outcome), count in said]


@asynccontextmanager
async def open_tally(link: RedisLink, tries: Tries) -> AsyncIterator[Tally]:
    """A tally that keeps itself; at the end it tells what is left to tell."""
    tally = Tally(link, tries)
    keeper = asyncio.create_task(tally.keep(), name="tally")
    try:
        yield tally
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        with contextlib.suppress(QueueUnavailable):
            await tally.exchange()
