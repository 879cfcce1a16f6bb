"""One-time grants through two workers: none is spent twice, nothing is sent twice where that can be known."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

from hub.channels._wechat.purse import Purse
from hub.core.accounts import GrantKey
from hub.core.channel import Envelope
from hub.core.delivery import Delivery, DeliveryId, DeliveryState
from hub.core.errors import Unavailable
from hub.core.outcome import Accepted, Outcome, Reason, Rejected, Retry, Unknown
from hub.core.ports import DeliveryStore
from hub.core.templates import ChannelMapping
from tests.sandbox.post import (
    MEETING_MAPPING,
    OFFICIAL,
    ChannelT,
    Post,
    again,
    each,
    envelope,
    field_map,
    one,
)
from tests.sandbox.rig import MEETING, MP_PROGRESS

SEND = "/cgi-bin/message/subscribe/send"
BIZSEND = "/cgi-bin/message/subscribe/bizsend"
LATE = timedelta(minutes=11)


def mini(person: str = "alice", **more: Any) -> Envelope:
    return envelope(person, "miniprogram", **more)


async def calls(post: Post, path: str = SEND) -> int:
    return int((await post.ledger())["calls"].get(path, 0))


async def counts(post: Post, key: GrantKey) -> tuple[int, int]:
    balance = await post.balance(key)
    return balance.remaining, balance.reserved


async def until_final(channel: ChannelT, batch: Sequence[Envelope]) -> list[Outcome]:
    """As an engine would: what is to be tried again is."""
    final: list[Outcome] = []
    pending = list(batch)
    for _ in range(200):
        outcomes = await each(channel, pending)
        final += [outcome for outcome in outcomes if not isinstance(outcome, Retry)]
        retried = [isinstance(outcome, Retry) for outcome in outcomes]
        pending = [sent for sent, retry in zip(pending, retried, strict=True) if retry]
        if not pending:
            return final
        await asyncio.sleep(0.05)
    raise AssertionError(pending)


async def test_two_workers_never_overspend_and_never_overlap(post: Post) -> None:
    await post.control("settings", processing_ms=20)
    keys = [await post.subscriber(person, times=5) for person in ("alice", "bob", "carol")]
    workers = [await post.worker() for _ in range(2)]
    batches = [[mini(person) for person in ("alice", "bob", "carol") for _ in range(6)] for _ in workers]
    results = await asyncio.gather(
        *(until_final(worker.mini, batch) for worker, batch in zip(workers, batches, strict=True))
    )
    outcomes = [outcome for result in results for outcome in result]
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 15
    refused = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    assert {outcome.reason for outcome in refused} == {Reason.QUOTA_EXHAUSTED}
    ledger = await post.ledger()
    assert {name for name in ledger["answers"] if name.startswith(SEND)} == {f"{SEND} 0"}
    assert ledger["grants"] == {"spent": 15, "sends_past_grants": 0}
    assert [await counts(post, key) for key in keys] == [(0, 0)] * 3


async def test_who_never_agreed_and_who_has_had_it_all_are_not_asked_of_wechat(post: Post) -> None:
    worker = await post.worker()
    await post.subscriber(times=0)
    never = await one(worker.mini, mini())
    assert isinstance(never, Rejected)
    assert never.reason is Reason.OPT_IN_REQUIRED
    await post.subscriber("bob")
    assert isinstance(await one(worker.mini, mini("bob")), Accepted)
    used_up = await one(worker.mini, mini("bob"))
    assert isinstance(used_up, Rejected)
    assert used_up.reason is Reason.QUOTA_EXHAUSTED
    assert await calls(post) == 1


async def test_a_delivery_that_was_accepted_is_not_sent_again(post: Post) -> None:
    key = await post.subscriber(times=2)
    worker = await post.worker()
    sent = mini()
    assert isinstance(await one(worker.mini, sent), Accepted)
    assert isinstance(await one((await post.worker()).mini, again(sent)), Accepted)
    assert await calls(post) == 1
    assert await counts(post, key) == (1, 0)


async def test_a_doubtful_send_waits_for_its_event_and_is_then_probably_delivered(post: Post) -> None:
    key = await post.subscriber()
    worker = await post.worker()
    await post.control("chaos", {"effect": "delay", "ms": 1300, "after": True, "path": SEND, "times": 1})
    sent = mini()
    assert isinstance(await one(worker.mini, sent), Unknown)
    assert await counts(post, key) == (0, 1)
    early = await one(worker.mini, again(sent, doubt=timedelta(minutes=9)))
    assert isinstance(early, Unknown)
    assert await calls(post) == 1
    late = await one(worker.mini, again(sent, doubt=LATE))
    assert isinstance(late, Accepted)
    assert "probably delivered" in late.detail
    ledger = await post.ledger()
    assert (ledger["messages"]["accepted"], ledger["grants"]["sends_past_grants"]) == (1, 0)
    assert await counts(post, key) == (0, 0)


async def test_a_doubtful_send_that_did_not_arrive_is_sent_after_the_window(post: Post) -> None:
    key = await post.subscriber()
    worker = await post.worker()
    await post.control("chaos", {"effect": "reset", "path": SEND, "times": 1})
    sent = mini()
    assert isinstance(await one(worker.mini, sent), Unknown)
    assert isinstance(await one(worker.mini, again(sent, doubt=LATE)), Accepted)
    assert (await post.ledger())["messages"]["accepted"] == 1
    assert await counts(post, key) == (0, 0)


async def test_while_one_send_is_in_doubt_the_others_have_the_other_grants(post: Post) -> None:
    key = await post.subscriber(times=2)
    worker = await post.worker()
    await post.control("chaos", {"effect": "reset", "after": True, "path": SEND, "times": 1})
    assert isinstance(await one(worker.mini, mini()), Unknown)
    assert isinstance(await one(worker.mini, mini()), Accepted)
    third = await one(worker.mini, mini())
    assert isinstance(third, Rejected)
    assert (await post.ledger())["grants"]["sends_past_grants"] == 0
    assert await counts(post, key) == (0, 1)


async def test_a_repeat_that_wechat_is_too_busy_for_keeps_its_grant(post: Post) -> None:
    key = await post.subscriber()
    worker = await post.worker()
    await post.control("chaos", {"effect": "errcode", "errcode": -1, "path": SEND, "times": 1})
    sent = mini()
    await post.books.grants.reserve(key, sent.delivery.id, now=worker.board.now())
    assert isinstance(await one(worker.mini, again(sent, doubt=LATE)), Retry)
    assert await counts(post, key) == (0, 1)


async def test_a_worker_that_dies_after_wechat_accepted_leaves_a_grant_set_aside(post: Post) -> None:
    key = await post.subscriber(times=2)
    worker = await post.worker()
    await post.control("chaos", {"effect": "delay", "ms": 300, "after": True, "path": SEND, "times": 1})
    sent = mini()
    task = asyncio.create_task(worker.mini.deliver([sent]))
    while not (await post.ledger())["messages"]["accepted"]:
        await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert await counts(post, key) == (1, 1)
    other = await post.worker()
    assert isinstance(await one(other.mini, again(sent, doubt=timedelta(seconds=90))), Unknown)
    await post.books.grants.commit(sent.delivery.id)  # as the event does
    assert isinstance(await one(other.mini, again(sent, doubt=timedelta(seconds=90))), Accepted)
    assert (await post.ledger())["messages"]["accepted"] == 1


async def test_a_grant_that_could_not_be_given_back_is_used_by_the_next_try(post: Post) -> None:
    key = await post.subscriber()
    worker = await post.worker()
    release = post.books.grants.release

    async def away(*_: Any) -> None:
        raise Unavailable("store_unavailable", "away")

    post.books.grants.release = away  # type: ignore[method-assign,assignment]
    await post.control("chaos", {"effect": "errcode", "errcode": -1, "path": SEND, "times": 1})
    sent = mini()
    assert isinstance(await one(worker.mini, sent), Retry)
    post.books.grants.release = release  # type: ignore[method-assign]
    assert await counts(post, key) == (0, 1)
    assert isinstance(await one(worker.mini, again(sent)), Accepted)
    assert await counts(post, key) == (0, 0)


async def test_a_long_term_subscription_is_not_counted_until_the_person_ends_it(post: Post) -> None:
    key = await post.subscriber(template=MP_PROGRESS, times=1)
    await post.books.grants.clear(key)
    await post.books.grants.set_unlimited(key, True)
    fields = field_map(thing1="{{ what }}", phrase2="审核中", date3="{{ at | date }}")
    pin = await post.publish(ChannelMapping("miniprogram", MP_PROGRESS, fields), key="progress")
    worker = await post.worker()
    outcomes = await each(worker.mini, [mini(pin=pin) for _ in range(4)])
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    body = {"appid": "wx7c1b9e4d2a8f6035", "template_id": MP_PROGRESS, "choice": "reject"}
    await post.control("control", "POST", "/people/alice/settings", body)
    ended = await one(worker.mini, again(mini(pin=pin), doubt=LATE))
    assert isinstance(ended, Rejected)
    assert ended.reason is Reason.OPT_IN_REQUIRED
    assert not (await post.balance(key)).unlimited


async def test_a_subscribe_notification_is_never_repeated_at_once(post: Post) -> None:
    """The channel says that repeats are harmless, which holds for template messages only."""
    key = await post.subscriber(template=MEETING, account=OFFICIAL)
    pin = await post.publish(MEETING_MAPPING, key="meeting")
    worker = await post.worker()
    await post.control("chaos", {"effect": "reset", "after": True, "path": BIZSEND, "times": 1})
    sent = envelope(pin=pin)
    assert isinstance(await one(worker.mp, sent), Unknown)
    before = await calls(post, BIZSEND)
    assert isinstance(await one(worker.mp, again(sent, doubt=timedelta(seconds=5))), Unknown)
    assert await calls(post, BIZSEND) == before
    assert isinstance(await one(worker.mp, again(sent, doubt=LATE)), Accepted)
    assert await counts(post, key) == (0, 0)


async def test_a_repeat_a_little_before_the_window_ends_is_sent(post: Post) -> None:
    """The machine that asks and the one that sends have clocks of their own."""
    key = await post.subscriber()
    worker = await post.worker()
    sent = mini()
    await post.books.grants.reserve(key, sent.delivery.id, now=worker.board.now())
    outcome = await one(worker.mini, again(sent, doubt=timedelta(minutes=9, seconds=50)))
    assert isinstance(outcome, Accepted)


async def test_a_replayed_delivery_needs_a_grant_of_its_own(post: Post) -> None:
    await post.subscriber(times=2)
    worker = await post.worker()
    sent = mini()
    assert isinstance(await one(worker.mini, sent), Accepted)
    replayed = replace(sent, delivery=replace(sent.delivery, replayed_at=worker.board.now()))
    outcome = await one(worker.mini, replayed)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.QUOTA_EXHAUSTED
    assert await calls(post) == 1


async def test_a_replayed_template_message_is_not_taken_for_the_one_that_failed(post: Post) -> None:
    await post.follower()
    worker = await post.worker()
    sent = envelope()
    assert isinstance(await one(worker.mp, sent), Accepted)
    replayed = replace(sent, delivery=replace(sent.delivery, replayed_at=worker.board.now()))
    assert isinstance(await one(worker.mp, replayed), Accepted)
    assert isinstance(await one(worker.mp, replayed), Accepted)
    ledger = await post.ledger()
    assert (ledger["messages"]["accepted"], ledger["messages"]["suppressed_duplicates"]) == (2, 1)


async def test_grants_of_deliveries_that_are_over_do_not_stay_set_aside(post: Post) -> None:
    key = await post.subscriber(times=5)
    now = (await post.worker()).board.now()
    ends = {
        "accepted": (DeliveryState.ACCEPTED, None),
        "refused": (DeliveryState.FAILED, None),
        "doubtful": (DeliveryState.FAILED, now),
        "waiting": (DeliveryState.RETRY_WAIT, now),
    }
    rows = []
    for state, doubt in ends.values():
        sent = mini(state=state, doubt_since=doubt, due_at=now if state is DeliveryState.RETRY_WAIT else None)
        await post.books.grants.reserve(key, sent.delivery.id, now=now - timedelta(hours=3))
        rows.append(sent.delivery)
    await post.books.grants.reserve(key, mini().delivery.id, now=now - timedelta(hours=3))  # its row is gone
    purse = Purse(post.books.grants)
    store = cast("DeliveryStore", Rows(rows))
    assert await purse.tidy(store, before=now - timedelta(hours=2), limit=100) == 4
    assert await counts(post, key) == (1, 1)
    assert await post.books.grants.holders(key) == [rows[3].id]
    assert await purse.tidy(store, before=now - timedelta(hours=2), limit=100) == 0


class Rows:
    """Delivery rows by id."""

    def __init__(self, rows: Sequence[Delivery]) -> None:
        self._rows = rows

    async def deliveries(self, ids: Collection[DeliveryId]) -> Sequence[Delivery]:
        return [row for row in self._rows if row.id in ids]


async def test_messages_to_one_person_arrive_in_their_order(post: Post) -> None:
    await post.subscriber(times=5)
    worker = await post.worker()
    batch = [mini(data={"what": f"第{number}条"}) for number in range(5)]
    assert {type(outcome) for outcome in await each(worker.mini, batch)} == {Accepted}
    shown = await post.control("control", "GET", "/messages")
    cards = shown["messages"] if isinstance(shown, dict) else shown
    titles = [dict(card["lines"])["审批事项"] for card in sorted(cards, key=lambda card: int(card["msgid"]))]
    assert titles == [f"第{number}条" for number in range(5)]


async def test_somebody_who_is_being_sent_to_is_tried_again_soon(post: Post) -> None:
    key = await post.subscriber(times=2)
    one_worker, other = await post.worker(), await post.worker()
    async with one_worker.board.turns.taken([("wx7c1b9e4d2a8f6035", key.address)]):
        outcome = await one(other.mini, mini())
        assert isinstance(outcome, Retry)
        assert not outcome.tried
        assert outcome.after is not None
        assert timedelta(seconds=1) <= outcome.after <= timedelta(seconds=2)
    assert isinstance(await one(other.mini, mini()), Accepted)
