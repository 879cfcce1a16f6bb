"""Notifications through the real engine and SQL to the sandbox's phones: cascades, doubt, and what counts as a try."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from hub.channels._wechat.switchboard import SwitchLimits
from hub.channels._wechat.transport import HttpLimits
from hub.core.delivery import Delivery, DeliveryState
from hub.core.message import TemplatePin, UserKey
from hub.core.outcome import Accepted, Outcome, Reason, Rejected, Retry
from hub.core.policy import Hop, Policy, Success
from hub.core.retry import RetryPolicy
from hub.store.wechat_books import wechat_books
from tests.sandbox.post import BOX, DATA, OFFICIAL, Post, Worker, envelope
from tests.sandbox.rig import Lab
from tests.services import RedisServer
from tests.support.engine import Rig, TestClock, open_rig, test_settings

MINI_SEND = "/cgi-bin/message/subscribe/send"
OFFICIAL_SEND = "/cgi-bin/message/template/send"
CASCADE = Policy(
    (
        Hop("miniprogram", success=Success.ACCEPTED, wait=timedelta(hours=1)),
        Hop("wechat_mp", success=Success.ACCEPTED, wait=timedelta(hours=1)),
    )
)
MINI_ONLY = Policy((Hop("miniprogram", success=Success.ACCEPTED),))
HTTP = HttpLimits(
    connect=timedelta(milliseconds=200), read=timedelta(milliseconds=200), total=timedelta(milliseconds=300)
)


@dataclass
class Floor:
    """The engine and what it sends through."""

    post: Post
    rig: Rig
    worker: Worker
    clock: TestClock

    async def notify(self, policy: Policy) -> None:
        """One notification for alice."""
        draft = self.rig.notice(1, policy=policy)
        assert draft.notification is not None
        notification = replace(
            draft.notification, template=TemplatePin("todo", 1), data=json.dumps(dict(DATA))
        )
        await self.rig.engine.submit(replace(draft, notification=notification))
        await self.rig.published()

    async def work(self, *, advance: timedelta = timedelta(0)) -> None:
        """Time passes, the sweep looks, and workers do what was asked until nothing is."""
        self.rig.clock.advance(advance)
        self.clock.advance(advance)
        await self.rig.engine.dispatcher.sweep(limit=100)
        while ids := self.rig.executor.take():
            await self.rig.engine.dispatcher.run(ids)

    async def rows(self) -> dict[str, Delivery]:
        """By channel."""
        known = await self.rig.store.open_of_users([UserKey(1)])
        return {row.channel: row for row in known}


@pytest.fixture
async def floor(post: Post, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Floor]:
    clock = TestClock()
    limits = SwitchLimits(batch=timedelta(milliseconds=450))
    worker = await post.worker(limits=limits, http=HTTP, now=clock)
    settings = test_settings(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}", redis_server.url)
    async with AsyncExitStack() as stack:
        retry = RetryPolicy(base=timedelta(seconds=2))
        rig = await stack.enter_async_context(open_rig(settings, worker.mp, worker.mini, retry=retry))
        yield Floor(post, rig, worker, clock)


async def state_of(floor: Floor, channel: str) -> DeliveryState:
    return (await floor.rows())[channel].state


async def test_who_has_no_grant_is_reached_by_the_official_account(floor: Floor) -> None:
    await floor.post.subscriber(times=0)
    await floor.post.follower()
    await floor.notify(CASCADE)
    await floor.work()
    assert (await floor.post.ledger())["messages"]["by_api"] == {"template/send": 1}


async def test_who_follows_nothing_is_reached_by_the_mini_program(floor: Floor) -> None:
    await floor.post.subscriber()
    await floor.notify(Policy(tuple(reversed(CASCADE.hops))))
    await floor.work()
    assert (await floor.post.ledger())["messages"]["by_api"] == {"subscribe/send": 1}


async def test_a_template_message_in_doubt_is_repeated_and_not_doubled(floor: Floor) -> None:
    await floor.post.follower()
    chaos = {"effect": "delay", "ms": 350, "after": True, "path": OFFICIAL_SEND, "times": 1}
    await floor.post.control("chaos", chaos)
    await floor.notify(Policy((Hop("wechat_mp", success=Success.ACCEPTED),)))
    await floor.work()
    assert (await floor.rows())["wechat_mp"].doubt_since is not None
    await floor.work(advance=timedelta(seconds=5))
    ledger = await floor.post.ledger()
    assert (ledger["messages"]["accepted"], ledger["doubles"]) == (1, [])
    assert await state_of(floor, "wechat_mp") is DeliveryState.ACCEPTED


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_subscribe_message_in_doubt_waits_and_is_then_tried_once(floor: Floor, arrived: bool) -> None:
    key = await floor.post.subscriber()
    await floor.post.control("chaos", {"effect": "reset", "after": arrived, "path": MINI_SEND, "times": 1})
    await floor.notify(MINI_ONLY)
    await floor.work()
    assert await state_of(floor, "miniprogram") is DeliveryState.UNKNOWN
    await floor.work(advance=timedelta(minutes=5))
    assert await state_of(floor, "miniprogram") is DeliveryState.UNKNOWN
    for _ in range(3):
        await floor.work(advance=timedelta(minutes=2, seconds=30))
    ledger = await floor.post.ledger()
    assert ledger["messages"]["accepted"] == 1
    assert ledger["grants"]["sends_past_grants"] == 0
    balance = await floor.post.balance(key)
    assert (balance.remaining, balance.reserved) == (0, 0)
    rows = await floor.rows()
    assert "miniprogram" not in rows or rows["miniprogram"].state is DeliveryState.ACCEPTED


async def test_what_never_left_is_no_try(floor: Floor) -> None:
    await floor.post.follower()
    official = await floor.post.books.accounts.account(OFFICIAL)
    assert official is not None
    await floor.post.control("chaos", {"effect": "errcode", "errcode": 48001, "path": OFFICIAL_SEND})
    for _ in range(2):
        await floor.notify(Policy((Hop("wechat_mp", success=Success.ACCEPTED),)))
        await floor.work()
    rows = await floor.rig.store.open_of_users([UserKey(1)])
    assert sorted(row.attempts for row in rows) == [0, 1]
    assert {row.reason for row in rows} == {Reason.AUTH_FAILED}
    assert {row.state for row in rows} == {DeliveryState.RETRY_WAIT}
    await floor.post.control("control", "DELETE", "/chaos")
    await floor.worker.board.mend(official)
    await floor.work(advance=timedelta(minutes=11))
    assert (await floor.post.ledger())["messages"]["accepted"] == 2


async def test_a_hundred_grants_in_sql_are_spent_once_each_by_two_workers(
    lab: Lab, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The ledger in a real database, and batches as large as they get."""
    redis_server.flush()
    settings = test_settings(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}", redis_server.url)
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(open_rig(settings))
        post = Post(lab, redis_server.url, stack, wechat_books(rig.store.database, BOX))
        await post.open()
        keys = [await post.subscriber(person, times=20) for person in ("alice", "bob", "carol")]
        workers = [await post.worker() for _ in range(2)]

        async def drive(worker: Worker) -> list[Outcome]:
            final: list[Outcome] = []
            pending = [envelope(p, "miniprogram") for p in ("alice", "bob", "carol") for _ in range(33)]
            while pending:
                outcomes = await worker.mini.deliver(pending)
                again = [isinstance(outcome, Retry) for outcome in outcomes]
                final += [outcome for outcome in outcomes if not isinstance(outcome, Retry)]
                pending = [sent for sent, retry in zip(pending, again, strict=True) if retry]
                await asyncio.sleep(0.1 if pending else 0)
            return final

        results = await asyncio.gather(*(drive(worker) for worker in workers))
        outcomes = [outcome for result in results for outcome in result]
        assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 60
        assert sum(isinstance(outcome, Rejected) for outcome in outcomes) == 2 * 99 - 60
        balances = [await post.balance(key) for key in keys]
        assert [(balance.remaining, balance.reserved) for balance in balances] == [(0, 0)] * 3
        ledger = await post.ledger()
        assert ledger["grants"] == {"spent": 60, "sends_past_grants": 0}
        assert {name for name in ledger["answers"] if name.startswith(MINI_SEND)} == {f"{MINI_SEND} 0"}
