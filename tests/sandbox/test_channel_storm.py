"""Everything at once, small: system errors, time-outs, dying tokens, two workers; until every message has arrived."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from hub.channels._wechat.backpressure import BreakerLimits
from hub.channels._wechat.switchboard import SwitchLimits
from hub.channels._wechat.transport import HttpLimits
from hub.core.channel import Envelope
from hub.core.outcome import Accepted, Rejected, Retry, Unknown
from tests.sandbox.post import ChannelT, Post, again, envelope

SECOND = timedelta(seconds=1)
LIMITS = SwitchLimits(
    per_second=2_000.0,
    breaker=BreakerLimits(failures=8, first=SECOND / 10, longest=SECOND / 2, probe=SECOND / 2),
)
HTTP = HttpLimits(connect=SECOND, read=SECOND * 0.6, total=SECOND)
SENDS = "/cgi-bin/message/*"
PEOPLE = ("alice", "bob", "carol")
LATE = timedelta(minutes=11)


async def drive(channel: ChannelT, batch: list[Envelope]) -> list[Accepted | Rejected]:
    """As the engine would: what is unknown is repeated at once or, without de-duplication, after the window."""
    final: list[Accepted | Rejected] = []
    pending = batch
    for _ in range(200):
        following: list[Envelope] = []
        outcomes = await channel.deliver(pending)
        for sent, outcome in zip(pending, outcomes, strict=True):
            match outcome:
                case Accepted() | Rejected():
                    final.append(outcome)
                case Unknown():
                    following.append(again(sent, doubt=LATE))
                case Retry():
                    doubt = LATE if sent.delivery.doubt_since is not None else None
                    following.append(again(sent, doubt=doubt))
                case _:
                    raise AssertionError(outcome)
        pending = following
        if not pending:
            return final
        await asyncio.sleep(0.1)
    raise AssertionError(len(pending))


async def storm(post: Post) -> None:
    rules = (
        {"effect": "errcode", "errcode": -1, "rate": 0.2, "path": SENDS},
        {"effect": "delay", "ms": 900, "after": True, "rate": 0.05, "path": SENDS},
        {"effect": "reset", "rate": 0.05, "path": SENDS},
        {"effect": "kill_tokens", "every": 100, "path": SENDS},
    )
    await post.control("chaos", *rules)


async def test_template_messages_arrive_once_each(post: Post) -> None:
    for person in PEOPLE:
        await post.follower(person)
    workers = [await post.worker(limits=LIMITS, http=HTTP) for _ in range(2)]
    await storm(post)
    batches = [[envelope(person) for person in PEOPLE for _ in range(25)] for _ in workers]
    async with asyncio.timeout(60):
        results = await asyncio.gather(
            *(drive(worker.mp, batch) for worker, batch in zip(workers, batches, strict=True))
        )
    outcomes = [outcome for result in results for outcome in result]
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    ledger = await post.ledger()
    assert ledger["doubles"] == []
    assert ledger["messages"]["accepted"] == 150


async def test_subscribe_messages_never_spend_more_than_was_agreed_to(post: Post) -> None:
    keys = [await post.subscriber(person, times=20) for person in PEOPLE]
    workers = [await post.worker(limits=LIMITS, http=HTTP) for _ in range(2)]
    await storm(post)
    batches = [[envelope(p, "miniprogram") for p in PEOPLE for _ in range(12)] for _ in workers]
    async with asyncio.timeout(90):
        results = await asyncio.gather(
            *(drive(worker.mini, batch) for worker, batch in zip(workers, batches, strict=True))
        )
    outcomes = [outcome for result in results for outcome in result]
    ledger = await post.ledger()
    assert ledger["grants"]["sends_past_grants"] == 0
    assert ledger["grants"]["spent"] <= 60
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) <= 60
    for key in keys:
        balance = await post.balance(key)
        assert (balance.remaining, balance.reserved) == (0, 0)
