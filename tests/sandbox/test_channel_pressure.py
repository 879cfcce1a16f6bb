"""Holding back, together: circuits, paces, tokens and keys are shared by two workers through a real Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hub.channels._wechat.backpressure import BreakerLimits
from hub.channels._wechat.switchboard import SwitchLimits
from hub.channels._wechat.transport import HttpLimits
from hub.core.accounts import Account, AccountId, AccountSecrets
from hub.core.errors import NotFound
from hub.core.outcome import Accepted, Outcome, Reason, Rejected, Retry
from hub.sandbox.demo import OFFICIAL_APPID, OFFICIAL_KEY
from tests.sandbox.post import OFFICIAL, Post, each, envelope, one

SEND = "/cgi-bin/message/template/send"
SECOND = timedelta(seconds=1)
QUICK = SwitchLimits(
    recheck=timedelta(milliseconds=50),
    breaker=BreakerLimits(failures=3, first=SECOND / 4, longest=SECOND / 2, probe=SECOND / 2),
)


async def official(post: Post) -> Account:
    account = await post.books.accounts.account(OFFICIAL)
    assert account is not None
    return account


async def calls(post: Post) -> int:
    return int((await post.ledger())["calls"].get(SEND, 0))


async def fail(post: Post, code: int, **more: Any) -> None:
    await post.control("chaos", {"effect": "errcode", "errcode": code, "path": SEND, **more})


async def mended(post: Post) -> None:
    await post.control("control", "DELETE", "/chaos")


def rests(outcome: Outcome) -> timedelta:
    assert isinstance(outcome, Retry)
    assert not outcome.tried
    assert outcome.after is not None
    return outcome.after


async def test_what_one_worker_learns_holds_for_the_other(post: Post) -> None:
    await post.follower()
    first, second = await post.worker(), await post.worker()
    await fail(post, 48001)
    assert isinstance(await one(first.mp, envelope()), Retry)
    outcome = await one(second.mp, envelope())
    assert rests(outcome) > timedelta(0)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.code) == (Reason.AUTH_FAILED, "48001")
    assert await calls(post) == 1
    account = await official(post)
    health = await second.board.health(account)
    assert (health.ok, health.circuit, health.code) == (False, "open", "48001")
    assert "48001" in health.detail
    await mended(post)
    await second.board.mend(account)
    assert (await first.board.health(account)).ok
    assert isinstance(await one(first.mp, envelope()), Accepted)


async def test_failures_in_a_row_open_the_circuit_and_a_probe_closes_it(post: Post) -> None:
    await post.follower()
    first, second = await post.worker(limits=QUICK), await post.worker(limits=QUICK)
    await fail(post, -1)
    for worker in (first, second, first):
        assert isinstance(await one(worker.mp, envelope()), Retry)
    before = await calls(post)
    rests(await one(second.mp, envelope()))
    assert await calls(post) == before
    await mended(post)
    await asyncio.sleep(0.3)
    outcomes = await each(second.mp, [envelope() for _ in range(5)])
    assert [type(outcome) for outcome in outcomes] == [Accepted, Retry, Retry, Retry, Retry]
    assert await calls(post) == before + 1
    assert {type(o) for o in await each(first.mp, [envelope() for _ in range(5)])} == {Accepted}


async def test_a_person_who_is_busy_does_not_open_the_circuit(post: Post) -> None:
    await post.follower()
    worker = await post.worker(limits=QUICK)
    await fail(post, 43108, times=10)
    for _ in range(10):
        assert isinstance(await one(worker.mp, envelope()), Retry)
    assert isinstance(await one(worker.mp, envelope()), Accepted)


async def test_a_pace_is_kept_by_all_workers_together(post: Post) -> None:
    await post.follower()
    account = await official(post)
    paced = replace(account, options=replace(account.options, per_second=10.0))
    await post.books.accounts.put_account(paced, None, actor="test")
    workers = [await post.worker() for _ in range(2)]
    batches = [each(worker.mp, [envelope() for _ in range(20)]) for worker in workers]
    outcomes = [outcome for result in await asyncio.gather(*batches) for outcome in result]
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    assert 10 <= len(accepted) <= 14
    waits = sorted(rests(outcome) for outcome in outcomes if isinstance(outcome, Retry))
    assert waits[0] < SECOND / 2
    assert waits[-1] > 2 * SECOND  # they do not all come back at once
    assert await calls(post) == len(accepted)


@pytest.mark.parametrize("code", [45009, 45011])
async def test_too_much_slows_the_account_down(post: Post, code: int) -> None:
    await post.follower()
    worker = await post.worker()
    await fail(post, code, times=1)
    assert isinstance(await one(worker.mp, envelope()), Retry)
    held = await each(worker.mp, [envelope() for _ in range(50)])
    assert sum(isinstance(outcome, Retry) for outcome in held) > 25


async def test_a_banned_template_is_refused_without_asking_until_a_trial_succeeds(post: Post) -> None:
    await post.follower()
    first, second = await post.worker(limits=QUICK), await post.worker(limits=QUICK)
    await fail(post, 43116)
    assert isinstance(await one(first.mp, envelope()), Rejected)
    refused = await one(second.mp, envelope())
    assert isinstance(refused, Rejected)
    assert (refused.reason, refused.code) == (Reason.TEMPLATE_INVALID, "43116")
    assert await calls(post) == 1
    await asyncio.sleep(0.6)
    trial = await each(second.mp, [envelope(), envelope()])
    assert isinstance(trial[0], Rejected)
    rests(trial[1])
    assert await calls(post) == 2
    assert isinstance(await one(first.mp, envelope()), Rejected)
    assert await calls(post) == 2
    await mended(post)
    await asyncio.sleep(0.6)
    assert isinstance(await one(first.mp, envelope()), Accepted)
    assert {type(o) for o in await each(second.mp, [envelope() for _ in range(5)])} == {Accepted}


async def test_a_trial_that_was_not_sent_opens_nothing(post: Post) -> None:
    await post.follower()
    account = await official(post)
    slow = replace(account, options=replace(account.options, per_second=1.0))
    await post.books.accounts.put_account(slow, None, actor="test")
    worker = await post.worker(limits=QUICK)
    await fail(post, 43116)
    assert isinstance(await one(worker.mp, envelope()), Rejected)
    await asyncio.sleep(0.6)
    rests(await one(worker.mp, envelope()))  # the pace holds the trial back
    assert isinstance(await one(worker.mp, envelope()), Rejected)
    assert await calls(post) == 1


async def test_without_redis_each_worker_holds_back_for_itself(post: Post) -> None:
    await post.follower()
    first = await post.worker(redis="unix:///nowhere.sock")
    second = await post.worker(redis="unix:///nowhere.sock")
    await post.control("chaos", {"effect": "errcode", "errcode": 48001, "path": SEND, "times": 1})
    assert isinstance(await one(first.mp, envelope()), Retry)
    rests(await one(first.mp, envelope()))
    assert isinstance(await one(second.mp, envelope()), Accepted)
    await post.subscriber(times=3)
    outcomes = await each(second.mini, [envelope(channel="miniprogram") for _ in range(3)])
    assert {type(outcome) for outcome in outcomes} == {Accepted}


async def test_a_token_that_dies_is_fetched_once_by_all(post: Post) -> None:
    await post.follower()
    patient = HttpLimits(read=5 * SECOND, total=5 * SECOND)
    workers = [await post.worker(http=patient) for _ in range(3)]
    await asyncio.gather(*(one(worker.mp, envelope()) for worker in workers))
    before = (await post.ledger())["tokens"]["issued_stable"]
    for _ in range(3):
        await post.control("control", "POST", f"/accounts/{OFFICIAL_APPID}/kill_tokens")
        results = await asyncio.gather(
            *(each(worker.mp, [envelope() for _ in range(25)]) for worker in workers)
        )
        assert {type(outcome) for result in results for outcome in result} <= {Accepted, Retry}
        assert sum(isinstance(o, Accepted) for result in results for o in result) >= 60
        await asyncio.sleep(0.8)
    assert (await post.ledger())["tokens"]["issued_stable"] == before + 3


async def test_new_keys_are_taken_up_while_running(post: Post) -> None:
    await post.follower()
    worker = await post.worker(limits=QUICK)
    await rotate(post, "f" * 32)
    assert isinstance(await one(worker.mp, envelope()), Retry)
    rests(await one(worker.mp, envelope()))
    account = await official(post)
    await post.books.accounts.put_account(account, AccountSecrets("f" * 32), actor="test")
    await asyncio.sleep(0.1)
    assert isinstance(await one(worker.mp, envelope()), Accepted)


async def rotate(post: Post, secret: str) -> None:
    """At WeChat, which ends the tokens too."""
    await post.control("control", "PATCH", f"/accounts/{OFFICIAL_APPID}", {"secret": secret})
    await post.control("control", "POST", f"/accounts/{OFFICIAL_APPID}/kill_tokens")


async def test_an_account_without_secrets_waits_for_them(post: Post) -> None:
    await post.follower()
    account = await official(post)
    other = replace(account, id=AccountId("acc_bare"), external_id="wx1", app=account.app)
    worker = await post.worker()
    await post.books.accounts.put_account(other, AccountSecrets("x"), actor="test")
    known: Any = post.books.accounts
    secrets = known.secrets

    async def gone(name: AccountId) -> AccountSecrets:
        raise NotFound("account_not_found", name)

    known.secrets = gone
    rests(await one(worker.mp, envelope()))
    known.secrets = secrets
    assert isinstance(await one(worker.mp, envelope()), Accepted)


async def test_few_lines_are_kept_and_made_again(post: Post) -> None:
    worker = await post.worker(limits=replace(QUICK, lines=1))
    account = await official(post)
    twin = replace(account, id=AccountId("acc_twin"), external_id="wx_twin")
    await post.books.accounts.put_account(twin, AccountSecrets(OFFICIAL_KEY), actor="test")
    first = await worker.board.line(account)
    assert await worker.board.line(account) == first
    await worker.board.line(twin)
    assert await worker.board.line(account) != first


async def test_a_batch_is_sent_at_once(post: Post) -> None:
    await post.follower()
    worker = await post.worker()
    await one(worker.mp, envelope())
    await post.control("chaos", {"effect": "delay", "ms": 200, "path": SEND})
    loop = asyncio.get_running_loop()
    start = loop.time()
    outcomes = await each(worker.mp, [envelope() for _ in range(50)])
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert loop.time() - start < 3


async def test_what_outlasts_the_batch_is_given_up_and_the_rest_is_answered(post: Post) -> None:
    await post.follower()
    patient = HttpLimits(read=5 * SECOND, total=5 * SECOND)
    worker = await post.worker(limits=replace(QUICK, batch=SECOND), http=patient)
    await one(worker.mp, envelope())
    await post.control("chaos", {"effect": "delay", "ms": 2_000, "path": SEND, "after": True, "times": 1})
    outcomes = await each(worker.mp, [envelope() for _ in range(3)])
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Accepted", "Accepted", "Unknown"]


async def test_who_waits_too_long_for_a_place_was_not_sent(post: Post) -> None:
    await post.follower()
    patient = HttpLimits(read=5 * SECOND, total=5 * SECOND)
    worker = await post.worker(limits=replace(QUICK, batch=SECOND, in_flight=1), http=patient)
    await one(worker.mp, envelope())
    await post.control("chaos", {"effect": "delay", "ms": 700, "path": SEND, "times": 1})
    outcomes = await each(worker.mp, [envelope() for _ in range(3)])
    assert isinstance(outcomes[0], Accepted)
    for outcome in outcomes[1:]:
        rests(outcome)
