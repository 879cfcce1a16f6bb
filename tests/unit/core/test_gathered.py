"""Questions asked together: shared calls, own answers, nothing remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from hub.core.gathered import Gathered


class Source:
    """Answers with the square; each call waits until it is let go."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def load(self, keys: Sequence[int]) -> Mapping[int, int]:
        self.calls.append(list(keys))
        await self.open.wait()
        if self.broken:
            raise LookupError
        return {key: key * key for key in keys if key > 0}


async def test_who_asks_in_one_turn_shares_a_call_and_gets_its_own_answer() -> None:
    source = Source()
    gathered = Gathered(source.load)
    assert await asyncio.gather(*map(gathered.get, (1, 2, 2, -3))) == [1, 4, 4, None]
    assert source.calls == [[1, 2, -3]]


async def test_who_asks_while_a_call_is_under_way_gets_a_later_one() -> None:
    source = Source()
    source.open.clear()
    gathered = Gathered(source.load)
    first = asyncio.create_task(gathered.get(1))
    while not source.calls:
        await asyncio.sleep(0)
    rest = [asyncio.create_task(gathered.get(key)) for key in (1, 2)]
    await asyncio.sleep(0)
    source.open.set()
    assert [await task for task in (first, *rest)] == [1, 1, 4]
    assert source.calls == [[1], [1, 2]]


async def test_a_call_has_a_bound() -> None:
    source = Source()
    await asyncio.gather(*map(Gathered(source.load, most=2).get, range(1, 6)))
    assert source.calls == [[1, 2], [3, 4], [5]]


async def test_an_error_reaches_its_askers_and_nobody_after_them() -> None:
    source = Source()
    source.broken = True
    gathered = Gathered(source.load)
    answers = await asyncio.gather(gathered.get(1), gathered.get(2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError, LookupError]
    source.broken = False
    assert await gathered.get(2) == 4


async def test_one_who_gives_up_takes_the_answer_from_nobody() -> None:
    source = Source()
    source.open.clear()
    gathered = Gathered(source.load)
    one, other = asyncio.create_task(gathered.get(3)), asyncio.create_task(gathered.get(3))
    while not source.calls:
        await asyncio.sleep(0)
    one.cancel()
    source.open.set()
    assert await other == 9
    with pytest.raises(asyncio.CancelledError):
        await one
