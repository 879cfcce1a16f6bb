"""Long polls: a request that waits hears of news at once, and nothing falls between looking and waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hub.channels.ws.heads import Heads
from hub.channels.ws.node import Node
from hub.channels.ws.polls import Polls
from hub.core.errors import Refused
from hub.core.message import ConversationId, Page, UserKey
from tests.unit.ws.fakes import FakeHub
from tests.unit.ws.rig import settings


@asynccontextmanager
async def polls(**changes: Any) -> AsyncIterator[tuple[Polls, FakeHub, UserKey]]:
    node = Node()
    hub = FakeHub(node)
    opened = Polls(node=node, read=hub.sync, heads=Heads(hub.heads), notes=hub, settings=settings(**changes))
    yield opened, hub, hub.key("ann")
    await opened.aclose()
    assert (len(opened), node.waiting, hub.polled) == (0, {}, set())


def numbers(page: Page) -> list[int]:
    return [entry.user_seq for entry, _ in page.entries]


async def waiting(polls: Polls, count: int = 1) -> None:
    async with asyncio.timeout(5):
        while len(polls) < count:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)  # past its second look


async def test_what_is_there_is_answered_at_once() -> None:
    async with polls() as (queue, hub, ann):
        hub.write("ann")
        assert numbers(await queue.pull(ann, after=0, limit=10, wait=60)) == [1]
        assert hub.polled == set()


async def test_news_ends_the_wait() -> None:
    async with polls() as (queue, hub, ann):
        pull = asyncio.create_task(queue.pull(ann, after=0, limit=10, wait=60))
        await waiting(queue)
        assert hub.polled == {ann}
        hub.write("ann")
        async with asyncio.timeout(2):
            assert numbers(await pull) == [1]


async def test_without_news_the_page_is_empty_when_the_time_is_over() -> None:
    async with polls() as (queue, hub, ann):
        hub.write("ann")
        page = await queue.pull(ann, after=1, limit=10, wait=0.1)
        assert (page.entries, page.next, page.more, page.rebase) == ((), 1, False, False)


async def test_an_idle_wait_reads_no_queue() -> None:
    async with polls() as (queue, hub, ann):
        await queue.pull(ann, after=0, limit=10, wait=0.1)
        assert hub.syncs == 0


async def test_the_wait_is_bounded_by_the_hub() -> None:
    async with polls(poll_wait=0.1) as (queue, _, ann):
        async with asyncio.timeout(5):
            assert (await queue.pull(ann, after=0, limit=10, wait=3600)).entries == ()


async def test_a_message_committed_elsewhere_between_looking_and_entering_is_seen() -> None:
    """The other node did not know of this one yet, and published nothing here."""
    async with polls() as (queue, hub, ann):
        poll = hub.poll

        async def slow(user: UserKey) -> None:
            hub.write("ann", push=False)
            await poll(user)

        hub.poll = slow  # type: ignore[method-assign]
        async with asyncio.timeout(2):
            assert numbers(await queue.pull(ann, after=0, limit=10, wait=60)) == [1]


async def test_who_comes_while_another_is_being_entered_waits_for_that_too() -> None:
    async with polls() as (queue, hub, ann):
        entered, poll = asyncio.Event(), hub.poll

        async def slow(user: UserKey) -> None:
            await entered.wait()
            await poll(user)

        hub.poll = slow  # type: ignore[method-assign]
        pulls = [asyncio.create_task(queue.pull(ann, after=0, limit=10, wait=60)) for _ in range(2)]
        await waiting(queue, 2)
        hub.write("ann", push=False)
        entered.set()
        async with asyncio.timeout(2):
            assert [numbers(page) for page in await asyncio.gather(*pulls)] == [[1], [1]]


async def test_a_wake_for_what_is_not_readable_yet_does_not_end_the_wait() -> None:
    async with polls() as (queue, hub, ann):
        pull = asyncio.create_task(queue.pull(ann, after=0, limit=10, wait=60))
        await waiting(queue)
        published = hub.write("ann", push=False)
        kept, hub.queues[ann] = hub.queues[ann], []
        hub.queues[ann] = []
        await hub.publish([published])
        await asyncio.sleep(0.02)
        assert not pull.done()
        hub.queues[ann] = kept
        async with asyncio.timeout(2):
            assert numbers(await pull) == [1]


async def test_who_is_signed_out_while_waiting_gets_nothing_more() -> None:
    async with polls() as (queue, hub, ann):
        pull = asyncio.create_task(queue.pull(ann, after=0, limit=10, wait=60))
        await waiting(queue)
        hub.node.drop_user(ann, ConversationId("cnv_one"))
        await asyncio.sleep(0.02)
        assert not pull.done()
        hub.write("ann", push=False)
        hub.node.drop_user(ann, None)
        async with asyncio.timeout(2):
            assert numbers(await pull) == []


async def test_doubt_about_what_was_heard_wakes_everybody() -> None:
    async with polls() as (queue, hub, ann):
        pull = asyncio.create_task(queue.pull(ann, after=0, limit=10, wait=60))
        await waiting(queue)
        hub.write("ann", push=False)
        hub.node.catch_up()
        async with asyncio.timeout(2):
            assert numbers(await pull) == [1]


@pytest.mark.parametrize("bound", [{"polls_per_user": 2}, {"max_polls": 2}])
async def test_too_many_are_refused(bound: dict[str, int]) -> None:
    async with polls(**bound) as (queue, hub, ann):
        pulls = [asyncio.create_task(queue.pull(ann, after=0, limit=10, wait=60)) for _ in range(2)]
        await waiting(queue, 2)
        with pytest.raises(Refused) as refused:
            await queue.pull(ann, after=0, limit=10, wait=60)
        assert refused.value.code == "too_many_polls"
        assert (await queue.pull(ann, after=0, limit=10, wait=0)).entries == ()
        hub.write("ann")
        await asyncio.gather(*pulls)


async def test_at_the_end_everybody_is_answered_and_nobody_waits_any_more() -> None:
    async with polls() as (queue, _, ann):
        pull = asyncio.create_task(queue.pull(ann, after=0, limit=10, wait=60))
        await waiting(queue)
        queue.close()
        async with asyncio.timeout(2):
            assert (await pull).entries == ()
            assert (await queue.pull(ann, after=0, limit=10, wait=60)).entries == ()


async def test_who_gives_up_leaves_nothing_behind() -> None:
    async with polls() as (queue, _, ann):
        pull = asyncio.create_task(queue.pull(ann, after=0, limit=10, wait=60))
        await waiting(queue)
        pull.cancel()
        await asyncio.gather(pull, return_exceptions=True)
        assert len(queue) == 0


async def test_a_cursor_beyond_the_queue_is_told_to_rebase() -> None:
    async with polls() as (queue, hub, ann):
        hub.write("ann")
        page = await queue.pull(ann, after=9, limit=10, wait=60)
        assert (page.rebase, page.next) == (True, 1)
