"""One send at a time to one person: WeChat refuses two that overlap (43108), whichever processes they come from."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

from hub.core.errors import QueueUnavailable
from hub.partitions import tag
from hub.redis_link import RedisLink
from hub.redis_wire import load_script

HOLD: Final = timedelta(seconds=15)
"""Whoever dies while sending keeps a person from the others so long."""
_RENEWALS: Final = 3


class Turns:
    """Short locks, by appid and openid. While Redis is away they hold within this process only."""

    def __init__(self, link: RedisLink, *, hold: timedelta = HOLD) -> None:
        self._link = link
        self._hold = hold
        self._mine: set[str] = set()
        self._claim, self._release = (
            load_script(__package__, f"token_{verb}") for verb in ("claim", "release")
        )

    @asynccontextmanager
    async def taken(self, people: Collection[tuple[str, str]]) -> AsyncIterator[Hand]:
        """The turns of those of `people` that are free, kept until the end or `Hand.done`."""
        owner = secrets.token_hex(8)
        names = {person: _name(*person) for person in people}
        free = {person: name for person, name in names.items() if name not in self._mine}
        self._mine.update(free.values())
        try:
            mine = await self._ask(owner, free)
        except BaseException:
            self._mine.difference_update(free.values())
            raise
        self._mine.difference_update(name for person, name in free.items() if person not in mine)
        hand = Hand(self, owner, mine)
        keeper = asyncio.create_task(self._keep(hand))
        try:
            yield hand
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            await hand.all_done()

    async def _ask(self, owner: str, free: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
        try:
            replies = await self._claim_all(owner, list(free.values()))
        except QueueUnavailable:
            return free
        return {
            person: name for (person, name), got in zip(free.items(), replies, strict=True) if int(got) == 1
        }

    async def _claim_all(self, owner: str, names: Sequence[str]) -> list[int]:
        hold = int(self._hold.total_seconds() * 1000)
        return await self._link.run([[self._claim, 1, name, owner, hold] for name in names])

    async def _keep(self, hand: Hand) -> None:
        while True:
            await asyncio.sleep(self._hold.total_seconds() / _RENEWALS)
            names = list(hand.held.values())
            with suppress(QueueUnavailable):
                await self._claim_all(hand.owner, names)
            given_back = set(names) - set(
                hand.held.values()
            )  # meanwhile, so that it may have been taken again
            if given_back:
                await self._give_back(hand.owner, given_back)

    async def let_go(self, owner: str, names: Collection[str]) -> None:
        """Others may now, in this process too."""
        self._mine.difference_update(names)
        await self._give_back(owner, names)

    async def _give_back(self, owner: str, names: Collection[str]) -> None:
        """The lock's end does it where Redis is away."""
        with suppress(QueueUnavailable):
            await self._link.run([[self._release, 1, name, owner] for name in names])


class Hand:
    """The turns that one batch has."""

    def __init__(self, turns: Turns, owner: str, held: dict[tuple[str, str], str]) -> None:
        self._turns = turns
        self.owner = owner
        self.held = held

    def __contains__(self, person: object) -> bool:
        return person in self.held

    async def done(self, person: tuple[str, str]) -> None:
        """This person's turn is over."""
        name = self.held.pop(person, None)
        if name is not None:
            await self._turns.let_go(self.owner, [name])

    async def all_done(self) -> None:
        """All that are still held."""
        names = list(self.held.values())
        self.held.clear()
        if names:
            await self._turns.let_go(self.owner, names)


def _name(appid: str, openid: str) -> str:
    return f"hub:wx:turn:{tag(f'wx:{appid}:{openid}')}:{appid}:{openid}"
