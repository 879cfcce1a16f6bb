"""What a DeliveryStore promises, over memory and every database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from hub.core.delivery import Attempt, Delivery, DeliveryId, DeliveryState
from hub.core.message import NotificationId, TemplatePin, UserKey
from hub.core.outcome import Accepted, Reason, Rejected, Retry
from hub.core.policy import Hop, Mode, OnUnknown, Policy, Success
from hub.core.ports import Parked
from tests.contract.store_builders import batch, delivery, inbox, item, notification, saved
from tests.contract.store_world import APP, NOW, World

MINUTE = timedelta(minutes=1)
POLICY = Policy(
    (
        Hop("ws", Success.READ, timedelta(minutes=5, microseconds=3)),
        Hop("wechat_mp", Success.ACCEPTED, None, ("high",), ("审批",)),
    ),
    Mode.CASCADE,
    ("read",),
    OnUnknown.NEXT,
)


async def planned(world: World, users: Sequence[UserKey], *, start: int = 1) -> list[Delivery]:
    """A committed notification with one queued delivery for each user."""
    told = notification(POLICY)
    one = item(inbox().id, start, dict.fromkeys(users, start), notification=told, inbox=True)
    rows = [delivery(one[1], user) for user in users]
    await world.store.commit(batch(one, made=[inbox()], deliveries=rows))
    return rows


async def test_a_planned_delivery_is_read_back_as_it_was(world: World) -> None:
    (row,) = await planned(world, world.people[:1])
    full = replace(
        row,
        state=DeliveryState.RETRY_WAIT,
        attempts=3,
        due_at=NOW + timedelta(microseconds=1),
        expires_at=NOW + MINUTE,
        reason=Reason.PROVIDER_DOWN,
        provider_id="msgid-1",
        escalated=True,
        read=True,
        tried_at=NOW - MINUTE,
        doubt_since=NOW - 2 * MINUTE,
        spent=2,
        replayed_at=NOW - 3 * MINUTE,
    )
    assert list(await world.store.deliveries([row.id, DeliveryId("dlv_none")])) == [row]
    assert await world.store.save([full]) == {row.id}
    assert list(await world.store.deliveries([row.id])) == [saved(full)]
    assert await world.store.deliveries([]) == []
    assert await world.events(row.id) == [(0, "queued"), (1, "retry_wait")]


async def test_an_overtaken_change_is_not_written(world: World) -> None:
    row, other = await planned(world, world.people[:2])
    await world.store.save([replace(row, state=DeliveryState.DELIVERED)])
    late = replace(row, state=DeliveryState.FAILED)
    assert await world.store.save([late, replace(other, read=True)]) == {other.id}
    (kept,) = await world.store.deliveries([row.id])
    assert (kept.state, kept.version) == (DeliveryState.DELIVERED, 1)
    assert await world.events(row.id) == [(0, "queued"), (1, "delivered")]
    assert await world.store.save([]) == frozenset()
    assert await world.store.save([replace(row, id=DeliveryId("dlv_none"))]) == frozenset()


async def test_of_two_claims_one_wins(world: World) -> None:
    rows = await planned(world, world.people)
    stores = [world.store, world.sibling(), world.store, world.sibling()]
    for version in range(3):
        claims = [
            replace(row, version=version, state=DeliveryState.ATTEMPTING, attempts=version) for row in rows
        ]
        won = await asyncio.gather(*(store.save(claims) for store in stores))
        assert sorted(id_ for ids in won for id_ in ids) == sorted(row.id for row in rows)


async def test_claims_in_opposite_order_do_not_block_each_other(world: World) -> None:
    rows = await planned(world, await world.make_people(40))
    claims = [replace(row, state=DeliveryState.ATTEMPTING) for row in rows]
    stores = [world.store, world.sibling()]
    won = await asyncio.gather(stores[0].save(claims), stores[1].save(claims[::-1]))
    assert sum(map(len, won)) == len(rows)


async def test_the_next_hop_follows_only_from_a_step_that_was_written(world: World) -> None:
    row, other = await planned(world, world.people[:2])
    follower = replace(row, id=DeliveryId("dlv_f"), hop=1, channel="miniprogram")
    lapsed = replace(row, escalated=True, due_at=None)
    assert await world.store.save([lapsed], new=[follower]) == {row.id, follower.id}
    assert list(await world.store.deliveries([follower.id])) == [follower]
    assert await world.events(follower.id) == [(0, "queued")]

    overtaken = replace(lapsed, version=0)
    again = replace(follower, id=DeliveryId("dlv_g"), hop=2)
    assert await world.store.save([overtaken, replace(other, read=True)], new=[again]) == {other.id}
    assert await world.store.deliveries([again.id]) == []


async def test_a_hop_is_planned_once(world: World) -> None:
    (row,) = await planned(world, world.people[:1])
    first = replace(row, id=DeliveryId("dlv_first"), hop=1, channel="miniprogram")
    double = replace(first, id=DeliveryId("dlv_double"))
    assert await world.store.save([row], new=[first]) == {row.id, first.id}
    assert await world.store.save([replace(row, version=1)], new=[double]) == {row.id}
    assert await world.store.deliveries([double.id]) == []


async def test_a_hop_does_not_follow_from_the_change_of_another_hop(world: World) -> None:
    """A receipt that comes while the sweep lets the wait of the same hop end wins; what the sweep changes of an earlier
    hop in the same call plans nothing."""
    (row,) = await planned(world, world.people[:1])
    second = replace(row, id=DeliveryId("dlv_second"), hop=1, channel="miniprogram")
    await world.store.save([row], new=[second])
    await world.store.save([replace(second, state=DeliveryState.DELIVERED)])
    silent = replace(row, version=1, reason=Reason.NO_RECEIPT, due_at=None)
    lapsed = replace(second, escalated=True, due_at=None)
    third = replace(second, id=DeliveryId("dlv_third"), hop=2, channel="sms")
    assert await world.store.save([silent, lapsed], new=[third]) == {row.id}
    assert await world.store.deliveries([third.id]) == []


async def test_attempts_are_begun_and_ended(world: World) -> None:
    row, other = await planned(world, world.people[:2])
    start = Attempt(row.id, 1, NOW)
    end = Attempt(row.id, 1, NOW + MINUTE, NOW + MINUTE, Retry(Reason.PROVIDER_DOWN, detail="忙" * 400))
    await world.store.save([row], attempts=[start, Attempt(other.id, 1, NOW)])
    assert await world.attempts(row.id) == [(1, NOW, None)]
    assert await world.attempts(other.id) == []
    await world.store.save([saved(row)], attempts=[end])
    await world.store.save([saved(saved(row))], attempts=[start, Attempt(row.id, 2, NOW)])
    second = Attempt(row.id, 2, NOW, NOW, Accepted("msgid-1"))
    third = Attempt(row.id, 3, NOW, NOW, Rejected(Reason.UNSUBSCRIBED, "43101"))
    await world.store.save([replace(row, version=3)], attempts=[second, third])
    assert await world.attempts(row.id) == [
        (1, NOW, "retry"),
        (2, NOW, "accepted"),
        (3, NOW, "rejected"),
    ]


async def test_what_is_due_comes_most_overdue_first(world: World) -> None:
    rows = await planned(world, world.people)
    times = (NOW + MINUTE, NOW - MINUTE, NOW, None, NOW - 2 * MINUTE)
    changes = [
        replace(row, due_at=time, channel="ws" if number == 1 else "wechat_mp")
        for number, (row, time) in enumerate(zip(rows, times, strict=True))
    ]
    await world.store.save([replace(change, channel="wechat_mp") for change in changes])

    async def due(channels: list[str] | None, limit: int = 9) -> list[DeliveryId]:
        return [row.id for row in await world.store.due(now=NOW, channels=channels, limit=limit)]

    assert await due(None) == [rows[4].id, rows[1].id, rows[2].id]
    assert await due(None, 1) == [rows[4].id]
    assert await due(["wechat_mp"]) == [rows[4].id, rows[1].id, rows[2].id]
    assert await due(["ws"]) == []
    assert await due([]) == []


async def test_open_rows_are_those_that_something_may_still_happen_to(world: World) -> None:
    one, other = world.people[:2]
    rows = [row for n in range(1, 5) for row in await planned_more(world, one, n)]
    (foreign,) = await planned_more(world, other, 5)
    await world.store.save(
        [
            replace(rows[0], state=DeliveryState.DELIVERED, due_at=None),
            replace(rows[1], state=DeliveryState.DELIVERED, due_at=NOW + MINUTE),
            replace(rows[2], state=DeliveryState.ACCEPTED, due_at=None),
        ]
    )
    found = await world.store.open_of_users([one])
    assert {row.id for row in found} == {row.id for row in rows[1:]}
    assert len(found) == 3
    both = await world.store.open_of_users([one, other])
    assert {row.id for row in both} == {row.id for row in (*rows[1:], foreign)}
    assert await world.store.open_of_users([]) == []


async def planned_more(world: World, user: UserKey, seq: int) -> list[Delivery]:
    return await planned(world, [user], start=seq)


async def test_a_receipt_finds_its_delivery(world: World) -> None:
    rows = await planned(world, world.people[:2])
    await world.store.save([replace(rows[0], provider_id="m1"), replace(rows[1], provider_id="M1")])
    found = await world.store.by_provider_id("wechat_mp", "m1")
    assert found is not None
    assert found.id == rows[0].id
    assert await world.store.by_provider_id("miniprogram", "m1") is None
    assert await world.store.by_provider_id("wechat_mp", "m2") is None


async def test_a_notification_keeps_its_policy_and_its_recipients_in_order(world: World) -> None:
    people = world.people[::-1]
    (row, *_) = await planned(world, people)
    assert row.notification is not None
    found = await world.store.notifications([row.notification, NotificationId("ntf_none")])
    assert found.keys() == {row.notification}
    stored = found[row.notification]
    assert (stored.app, stored.message, stored.recipients) == (APP, row.message, people)
    assert stored.created_at == NOW
    assert stored.draft.policy == POLICY
    assert stored.draft.metadata == '{"oa":"申请"}'
    assert await world.store.notifications([]) == {}


async def test_a_notification_keeps_what_channels_and_callbacks_need_of_it(world: World) -> None:
    told = replace(
        notification(POLICY),
        thread="inst-7",
        digest_key="周报",
        template=TemplatePin("approval", 3, "zh-CN"),
        data='{"金额":"1200.00"}',
        callback="whe_oa",
        task="oa:7",
        collapse_key="task:2",
    )
    one = item(inbox().id, 1, {world.people[0]: 1}, notification=told, inbox=True)
    row = replace(delivery(one[1], world.people[0]), priority="high", callback="whe_oa")
    await world.store.commit(batch(one, made=[inbox()], deliveries=[row]))
    assert (await world.store.notifications([told.id]))[told.id].draft == told
    assert list(await world.store.deliveries([row.id])) == [row]


async def test_users_have_the_products_ids(world: World) -> None:
    one, other = world.people[:2]
    found = await world.store.recipients([one, other, UserKey(10**9)])
    assert {user: person.user_id for user, person in found.items()} == {one: f"u{one}", other: f"u{other}"}
    assert await world.store.recipients([]) == {}


async def test_a_large_batch_of_changes_is_written(world: World) -> None:
    rows = await planned(world, await world.make_people(600))
    changes = [replace(row, state=DeliveryState.ATTEMPTING, attempts=1) for row in rows]
    attempts = [Attempt(row.id, 1, NOW) for row in rows]
    assert len(await world.store.save(changes, attempts=attempts)) == 600
    found = await world.store.deliveries([row.id for row in rows])
    assert {row.version for row in found} == {1}


async def accepted_as(world: World, provider_id: str) -> Delivery:
    """A delivery whose provider's id has just been saved."""
    (row,) = await planned(world, world.people[:1])
    done = replace(row, state=DeliveryState.ACCEPTED, channel="wechat_mp", provider_id=provider_id)
    assert await world.store.save([done])
    return row


async def test_a_parked_receipt_stays_until_it_has_been_settled(world: World) -> None:
    for receipt in ('{"已":1}', '{"已":2}'):
        await world.store.park_receipt("wechat_mp", "m1", receipt, NOW)
    await world.store.park_receipt("wechat_mp", "m2", "{}", NOW)
    await world.store.park_receipt("miniprogram", "m1", "{}", NOW)
    assert await world.store.parked("wechat_mp", ["m1"]) == [], "nobody knows yet whose it is"
    row = await accepted_as(world, "m1")
    expected = [Parked("wechat_mp", "m1", '{"已":2}', row.id)]
    for _ in range(2):
        assert await world.store.parked("wechat_mp", ["m1", "m3"]) == expected
        assert await world.store.overtaken(since=NOW - MINUTE, limit=10) == expected
    assert await world.store.overtaken(since=NOW, limit=10) == []
    assert await world.store.parked("wechat_mp", []) == []
    await world.store.unpark(expected)
    await world.store.unpark([])
    assert await world.store.overtaken(since=NOW - MINUTE, limit=10) == []
    assert await world.store.forget_parked(NOW) == 0
    assert await world.store.forget_parked(NOW + MINUTE) == 2


async def test_a_later_receipt_is_not_removed_with_the_one_that_was_settled(world: World) -> None:
    row = await accepted_as(world, "m1")
    await world.store.park_receipt("wechat_mp", "m1", '{"已":1}', NOW)
    settled = await world.store.parked("wechat_mp", ["m1"])
    await world.store.park_receipt("wechat_mp", "m1", '{"已":2}', NOW)
    await world.store.unpark(settled)
    assert await world.store.parked("wechat_mp", ["m1"]) == [Parked("wechat_mp", "m1", '{"已":2}', row.id)]


async def in_doubt(world: World, user: int, since: timedelta) -> Delivery:
    """A delivery whose first try began then and was never answered."""
    (row,) = await planned(world, [world.people[user]], start=user + 1)
    lost = replace(row, state=DeliveryState.UNKNOWN, doubt_since=NOW + since, tried_at=NOW + since)
    assert await world.store.save([lost])
    return replace(lost, version=1)


async def test_a_stray_receipt_is_given_to_one_lost_send(world: World) -> None:
    lost = await in_doubt(world, 0, -MINUTE)
    await world.store.park_receipt("wechat_mp", "early", "{}", NOW - 2 * MINUTE, about="alice")
    await world.store.park_receipt("wechat_mp", "other", "{}", NOW, about="bob")
    await world.store.park_receipt("miniprogram", "there", "{}", NOW, about="alice")
    assert await world.store.claim_stray(lost, "alice") is None
    await world.store.park_receipt("wechat_mp", "mine", "{}", NOW, about="alice")
    await world.store.park_receipt("wechat_mp", "mine", "{}", NOW + MINUTE, about="alice")
    assert await world.store.claim_stray(replace(lost, doubt_since=None), "alice") is None
    assert await world.store.claim_stray(lost, "alice") == "mine"
    assert await world.store.claim_stray(await in_doubt(world, 1, -MINUTE), "alice") is None
    assert await world.store.claim_stray(lost, "alice") == "mine"  # who claimed it died before it was saved
    assert await world.store.save([replace(lost, provider_id="mine")])
    assert await world.store.claim_stray(lost, "alice") is None


async def test_a_stray_may_have_been_parked_by_a_clock_that_is_late(world: World) -> None:
    lost = await in_doubt(world, 0, -MINUTE)
    await world.store.park_receipt("wechat_mp", "m", "{}", NOW - timedelta(seconds=85), about="alice")
    assert await world.store.claim_stray(lost, "alice") == "m"


async def test_a_stray_that_a_delivery_has_saved_is_its_own(world: World) -> None:
    lost = await in_doubt(world, 1, -MINUTE)
    await accepted_as(world, "m1")
    await world.store.park_receipt("wechat_mp", "m1", "{}", NOW, about="alice")
    assert await world.store.claim_stray(lost, "alice") is None


async def test_a_stray_may_be_of_a_try_that_still_runs(world: World) -> None:
    """Then only what came before that try began is certainly of the lost one."""
    lost = await in_doubt(world, 0, -MINUTE)
    (other,) = await planned(world, world.people[:1], start=2)
    running = replace(other, state=DeliveryState.ATTEMPTING, tried_at=NOW)
    assert await world.store.save([running])
    await world.store.park_receipt("wechat_mp", "later", "{}", NOW + timedelta(seconds=1), about="alice")
    assert await world.store.claim_stray(lost, "alice") is None
    await world.store.park_receipt("wechat_mp", "sooner", "{}", NOW - timedelta(seconds=1), about="alice")
    assert await world.store.claim_stray(lost, "alice") == "sooner"
    done = replace(running, state=DeliveryState.ACCEPTED, version=1)
    assert await world.store.save([done, replace(lost, provider_id="sooner")])
    assert await world.store.claim_stray(lost, "alice") == "later"
