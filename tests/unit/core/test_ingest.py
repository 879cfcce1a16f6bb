"""The group commit when things go wrong: poison, contention, an absent store, commits that may have happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from hub.core.batching import wanted_numbers
from hub.core.channel import Registry
from hub.core.errors import QueueUnavailable, SequenceTaken, StaleConversation, Unavailable
from hub.core.ingest import Ingest, IngestLimits
from hub.core.marks import Marks
from hub.core.message import Accepted, AppId, Draft, MessageId, SeqKey, ToInbox, ToUser, UserKey
from hub.core.numbering import Numbering
from hub.core.ports import Batch
from hub.core.roster import Roster
from hub.store.memory import MemoryStore
from hub.store.memory_queue import MemorySequencer

APP = AppId("app_1")
_numbers = count(1)


class FaultyStore(MemoryStore):
    """Does as the memory store does, after the faults that a test queued up."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[Exception] = []
        self.after: list[Exception] = []
        """Raised after the commit was done: the answer was lost, not the work."""
        self.poison: set[str] = set()
        self.slow = 0.0
        self.sizes: list[int] = []

    async def commit(self, batch: Batch) -> None:
        """Fail as told, else commit."""
        self.sizes.append(len(batch.published))
        await asyncio.sleep(self.slow)
        if self.faults:
            raise self.faults.pop(0)
        if any(item.message.body in self.poison for item in batch.published):
            raise ValueError("poison")
        await super().commit(batch)
        if self.after:
            raise self.after.pop(0)


class AbsentSequencer(MemorySequencer):
    """Redis is away."""

    async def draw(self, wants: Mapping[SeqKey, int]) -> Mapping[SeqKey, int]:  # noqa: ARG002
        """Nobody there."""
        raise QueueUnavailable


def draft(body: str = "{}", *, sender: int = 1, to: int = 2, client_msg_id: str | None = None) -> Draft:
    return Draft(
        id=MessageId(f"msg_{next(_numbers):06}"),
        app=APP,
        sender=UserKey(sender),
        sender_id=f"u{sender}",
        to=ToUser(UserKey(to)),
        kind="text",
        body=body,
        created_at=datetime.now(UTC),
        client_msg_id=client_msg_id,
    )


@asynccontextmanager
async def ingest(
    store: MemoryStore, sequencer: MemorySequencer | None = None, **limits: object
) -> AsyncIterator[tuple[Ingest, list[Batch]]]:
    committed: list[Batch] = []
    chosen = {
        "window": timedelta(milliseconds=1),
        "size": 64,
        "backlog": 1_000,
        "timeout": timedelta(seconds=5),
        "inline_lease": timedelta(seconds=5),
    }
    opened = Ingest(
        store=store,
        numbering=Numbering(sequencer or MemorySequencer(), store),
        roster=Roster(store),
        channels=Registry(),
        limits=IngestLimits(**{**chosen, **limits}),  # type: ignore[arg-type]
        clock=lambda: datetime.now(UTC),
        new_id=lambda prefix: f"{prefix}_{next(_numbers):06}",
        on_commit=committed.append,
        marks=Marks(),
    )
    async with opened:
        yield opened, committed


async def queue_of(store: MemoryStore, user: int) -> list[int]:
    return [entry.user_seq for entry in await store.entries(UserKey(user), after=0, limit=1_000)]


async def test_a_poisoned_draft_fails_alone() -> None:
    store = FaultyStore()
    store.poison = {"poison"}
    async with ingest(store) as (opened, _):
        answers = await opened.submit_many([draft("poison" if n == 5 else "{}") for n in range(16)])
    assert [isinstance(answer, Accepted) for answer in answers] == [n != 5 for n in range(16)]
    assert await queue_of(store, 2) == list(range(1, 16))


@pytest.mark.parametrize("fault", [SequenceTaken(), StaleConversation(["cnv_1"])])
async def test_a_held_fence_is_tried_again(fault: Exception) -> None:
    store = FaultyStore()
    store.faults = [fault, fault]
    async with ingest(store) as (opened, _):
        await opened.submit(draft())
    assert await queue_of(store, 2) == [1]


async def test_endless_contention_is_an_answer_not_a_loop() -> None:
    store = FaultyStore()
    store.faults = [SequenceTaken() for _ in range(100)]
    async with ingest(store) as (opened, _):
        with pytest.raises(Unavailable, match="contention"):
            await opened.submit(draft())


async def test_an_absent_store_answers_everybody_and_leaves_no_gap() -> None:
    store = FaultyStore()
    store.faults = [Unavailable("store_unavailable", "gone")]
    async with ingest(store) as (opened, _):
        answers = await opened.submit_many([draft() for _ in range(10)])
        assert all(isinstance(answer, Unavailable) for answer in answers)
        await opened.submit(draft())
    assert await queue_of(store, 2) == [1]


async def test_a_commit_whose_answer_was_lost_is_found_by_its_client_id() -> None:
    store = FaultyStore()
    store.after = [Unavailable("store_unavailable", "the connection broke")]
    async with ingest(store) as (opened, _):
        with pytest.raises(Unavailable):
            await opened.submit(draft(client_msg_id="c-1"))
        again = await opened.submit(draft(client_msg_id="c-1"))
        assert (again.duplicate, again.seq) == (True, 1)
        await opened.submit(draft(client_msg_id="c-2"))
    assert await queue_of(store, 2) == [1, 2]


async def test_without_redis_the_stores_own_numbers_are_used() -> None:
    store = MemoryStore()
    async with ingest(store, AbsentSequencer()) as (opened, _):
        for _ in range(3):
            await opened.submit_many([draft(), draft(sender=2, to=1)])
    assert await queue_of(store, 1) == [1, 2, 3, 4, 5, 6]


async def test_a_slow_store_answers_in_bounded_time() -> None:
    store = FaultyStore()
    store.slow = 1.0
    async with ingest(store, timeout=timedelta(milliseconds=50)) as (opened, _):
        with pytest.raises(Unavailable, match="commit_timeout"):
            await opened.submit(draft())


async def test_who_repeats_after_somebody_gave_up_is_still_served() -> None:
    store = FaultyStore()
    store.slow = 0.05
    async with ingest(store) as (opened, _):
        busy = asyncio.create_task(opened.submit(draft()))
        await asyncio.sleep(0.02)
        first = asyncio.create_task(opened.submit(draft(client_msg_id="c-1")))
        second = asyncio.create_task(opened.submit(draft(client_msg_id="c-1")))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).seq == 2
        await busy
    assert await queue_of(store, 2) == [1, 2]


async def test_what_arrives_meanwhile_is_one_batch() -> None:
    store = FaultyStore()
    store.slow = 0.05
    async with ingest(store) as (opened, _):
        await asyncio.gather(*(opened.submit(draft()) for _ in range(100)))
    assert len(store.sizes) <= 4


async def test_a_batch_is_cut_by_the_sequences_it_draws_from() -> None:
    store = FaultyStore()
    everybody = tuple(UserKey(user) for user in range(1, 801))
    others = tuple(UserKey(user) for user in range(801, 1_601))
    notices = [draft(), draft(), draft()]
    targets = [everybody, everybody, others]
    drafts = [
        Draft(n.id, APP, UserKey(0), None, ToInbox(users), "text", "{}", n.created_at)
        for n, users in zip(notices, targets, strict=True)
    ]
    async with ingest(store) as (opened, committed):
        await opened.submit_many(drafts)
    assert [len(batch.published) for batch in committed] == [2, 1]


async def test_leaving_commits_what_waits() -> None:
    store = FaultyStore()
    store.slow = 0.02
    async with ingest(store) as (opened, _):
        waiting = [asyncio.create_task(opened.submit(draft())) for _ in range(5)]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*waiting)
    assert {answer.seq for answer in answers} == {1, 2, 3, 4, 5}


def test_nobody_wants_numbers_for_nothing() -> None:
    assert wanted_numbers([]) == {}
