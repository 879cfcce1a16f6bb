"""Reading a queue beside caches that forget: no message may look like a closed number, no head may be too low."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from itertools import count

import pytest

from hub.core.body_cache import BodyCache
from hub.core.errors import QueueUnavailable
from hub.core.message import Entry, Message, MessageId, Page, UserKey
from hub.core.reading import Reader
from hub.core.sequence import GapWatch
from hub.store.memory import MemoryStore
from hub.store.memory_queue import MemoryTail
from tests.contract.store_builders import batch, direct, item
from tests.contract.store_world import NOW

ANN, BOB, CAT = UserKey(1), UserKey(2), UserKey(3)
TALK, OTHER_TALK = direct(ANN, BOB), direct(BOB, CAT)
CACHED = 4


Meanwhile = Callable[[], Awaitable[None]]


class BusyStore(MemoryStore):
    """Lets a test do something, once, after bodies or entries have been read and before the reader has them."""

    def __init__(self) -> None:
        super().__init__()
        self.beside_bodies: list[Meanwhile] = []
        self.beside_entries: list[Meanwhile] = []
        self.asked: list[int] = []
        """How many bodies, each time."""

    async def messages(self, ids: Collection[MessageId]) -> Mapping[MessageId, Message]:
        """As the memory store does."""
        self.asked.append(len(ids))
        found = await super().messages(ids)
        while self.beside_bodies:
            await self.beside_bodies.pop()()
        return found

    async def entries(self, user: UserKey, *, after: int, limit: int) -> Sequence[Entry]:
        """As the memory store does."""
        found = await super().entries(user, after=after, limit=limit)
        while self.beside_entries:
            await self.beside_entries.pop()()
        return found


class AwayTail(MemoryTail):
    """Can be away for who asks; what is told to it arrives, as when an answer was lost, or late."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    async def read(self, user: UserKey, *, after: int, limit: int) -> Sequence[Entry] | None:
        """As the memory tail does, if it is there."""
        if self.away:
            raise QueueUnavailable
        return await super().read(user, after=after, limit=limit)

    async def heads(self, users: Sequence[UserKey]) -> Sequence[int | None]:
        """As the memory tail does, if it is there."""
        if self.away:
            raise QueueUnavailable
        return await super().heads(users)


class Desk:
    """A reader over a store that is written to, with a cache of a few bodies."""

    def __init__(self) -> None:
        self.store = BusyStore()
        self.tail = AwayTail()
        self.cache = BodyCache(capacity=CACHED)
        self.reader = Reader(
            store=self.store,
            tail=self.tail,
            bodies=self.cache,
            gaps=GapWatch(grace=timedelta(seconds=3)),
            tail_size=128,
            clock=lambda: NOW,
        )
        self._numbers = {talk.id: count(1) for talk in (TALK, OTHER_TALK)}

    async def commit(self, messages: int, *, to: UserKey = ANN) -> None:
        """What a commit does to the store, the tails and the cache."""
        talk = TALK if to == ANN else OTHER_TALK
        for number in (next(self._numbers[talk.id]) for _ in range(messages)):
            one = batch(item(talk.id, number, {to: number}, sender=BOB, body=str(number)), made=[talk])
            await self.store.commit(one)
            self.cache.put([published.message for published in one.published])
            await self.tail.append([entry for published in one.published for entry in published.entries])

    async def trust_the_tail(self) -> None:
        """As after a rebuild."""
        entries = await self.store.entries(ANN, after=0, limit=100)
        await self.tail.rebuild(ANN, entries, head=entries[-1].user_seq)


@pytest.fixture(params=["tail", "store"])
async def desk(request: pytest.FixtureRequest) -> Desk:
    """Ten messages for Ann, of which the cache holds the newest four; read from the tail, or from the store."""
    opened = Desk()
    await opened.commit(10)
    if request.param == "tail":
        await opened.trust_the_tail()
    return opened


async def settled() -> None:
    """What runs beside the readers has run."""
    for _ in range(10):
        await asyncio.sleep(0)


def bodies(page: Page) -> list[tuple[int, str | None]]:
    return [(entry.user_seq, None if message is None else message.body) for entry, message in page.entries]


ALL_TEN = [(number, str(number)) for number in range(1, 11)]


async def test_a_page_that_begins_before_what_is_cached_has_every_body(desk: Desk) -> None:
    """Its older bodies are loaded, and push out of the cache those that it found there."""
    page = await desk.reader.sync(ANN, after=0, limit=50)
    assert bodies(page) == ALL_TEN
    assert desk.store.asked == [10 - CACHED], "what was cached is not asked for"


async def test_a_page_has_every_body_though_others_write_while_it_is_read(desk: Desk) -> None:
    async def others_write() -> None:
        await desk.commit(CACHED, to=CAT)

    desk.store.beside_bodies.append(others_write)
    assert bodies(await desk.reader.sync(ANN, after=5, limit=50)) == ALL_TEN[5:]


async def test_a_page_larger_than_the_cache_has_every_body_each_time(desk: Desk) -> None:
    for after in (0, 3, 0, 8, 5):
        assert bodies(await desk.reader.sync(ANN, after=after, limit=50)) == ALL_TEN[after:]


async def test_what_the_store_does_not_have_any_more_is_a_closed_number(desk: Desk) -> None:
    await desk.commit(CACHED, to=CAT)
    removed = (await desk.store.entries(ANN, after=6, limit=1))[0].message
    assert removed is not None
    del desk.store._messages[removed]
    page = await desk.reader.sync(ANN, after=0, limit=50)
    assert bodies(page) == [(number, None if number == 7 else body) for number, body in ALL_TEN]


@pytest.mark.parametrize("asked", ["head", "sync"])
async def test_a_tail_that_was_away_is_not_vouched_for(asked: str) -> None:
    """It was not asked before the store was read: nobody could tell whether it lost something in between."""
    desk = Desk()
    await desk.commit(10)
    desk.tail.away = True
    if asked == "head":
        assert await desk.reader.head(ANN) == 10
    else:
        assert bodies(await desk.reader.sync(ANN, after=0, limit=50)) == ALL_TEN

    async def one_more_comes_and_is_lost() -> None:
        await desk.commit(1)
        desk.tail.lose()

    desk.store.beside_entries.append(one_more_comes_and_is_lost)
    await settled()
    if desk.store.beside_entries:  # nothing was rebuilt
        await one_more_comes_and_is_lost()
    desk.tail.away = False
    assert await desk.reader.head(ANN) == 11
