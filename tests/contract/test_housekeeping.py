"""What Housekeeping promises, over memory and every database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub.core.delivery import Attempt
from hub.core.errors import SequenceTaken
from hub.core.message import TOMBSTONE, IdempotencyClaim, SeqKey
from hub.store.plan1 import Plan1Store
from hub.store.search_index import SearchIndex
from tests.contract.store_builders import batch, delivery, direct, inbox, item, notification
from tests.contract.store_world import APP, NOW, SqlWorld, World

DAY = timedelta(days=1)


async def test_old_messages_go_with_their_references(world: World) -> None:
    one, other = world.people[:2]
    room = direct(one, other)
    old = [item(room.id, n, {one: n, other: n}, sender=one, at=NOW) for n in (1, 2, 3)]
    new = item(room.id, 4, {one: 4, other: 4}, sender=one, at=NOW + DAY)
    await world.store.commit(batch(*old, made=[room]))
    await world.store.commit(batch(new, at=NOW + DAY))
    assert await world.store.expire_messages(NOW, app=APP) == 0
    assert await world.store.expire_messages(NOW + DAY, app=APP) == 3
    assert await world.store.history(room.id, after=None, before=None, limit=9) == [new[1].message]
    assert [e.user_seq for e in await world.store.entries(one, after=0, limit=9)] == [4]
    assert await world.store.floor(SeqKey.of_user(other)) == 3
    assert await world.store.floor(SeqKey.of_conversation(room.id)) == 3
    assert await world.store.expire_messages(NOW + DAY, app=APP) == 0


async def test_numbers_do_not_begin_again_after_everything_expired(world: World) -> None:
    one, other = world.people[:2]
    room = direct(one, other)
    all_ = [item(room.id, n, {one: n}, sender=one, client=f"c-{n}", body='"私"') for n in (1, 2, 3)]
    await world.store.commit(batch(*all_, made=[room]))
    assert await world.store.expire_messages(NOW + DAY, app=APP) == 3
    assert await world.store.expire_messages(NOW + DAY, app=APP) == 0
    keys = [SeqKey.of_user(one), SeqKey.of_conversation(room.id)]
    assert await world.store.heads(keys) == dict.fromkeys(keys, 3)
    (last,) = await world.store.history(room.id, after=None, before=None, limit=9)
    assert (last.seq, last.kind, last.body, last.client_msg_id) == (3, TOMBSTONE, "null", None)
    assert await world.store.floor(SeqKey.of_user(one)) == 2
    with pytest.raises(SequenceTaken):
        await world.store.commit(batch(item(room.id, 3, {one: 4})))
    again = item(room.id, 4, {one: 4}, sender=one, client="c-3")
    assert await world.store.prior([again[0]]) == {}
    await world.store.commit(batch(again))


async def test_closed_gaps_go_with_what_was_before_them(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    key = SeqKey.of_user(one)
    await world.store.commit(batch(item(group, 1, {one: 1}), item(group, 2, {one: 3})))
    await world.store.close_gaps([(key, 2, 2)], new_id=lambda prefix: prefix, now=NOW)
    await world.store.commit(batch(item(group, 3, {one: 4}, at=NOW + DAY), at=NOW + DAY))
    await world.store.expire_messages(NOW + DAY, app=APP)
    assert [e.user_seq for e in await world.store.entries(one, after=0, limit=9)] == [4]


async def test_a_long_queue_is_trimmed_to_its_living_part(world: World) -> None:
    people = await world.make_people(3)
    group = await world.make_group("cnv_g", people)
    for start in (1, 401):
        numbers = range(start, start + 400)
        await world.store.commit(batch(*(item(group, n, dict.fromkeys(people, n)) for n in numbers)))
    late = [item(group, n, dict.fromkeys(people, n), at=NOW + DAY) for n in (801, 802)]
    await world.store.commit(batch(*late, at=NOW + DAY))
    assert await world.store.expire_messages(NOW + DAY, app=APP) == 800
    for user in people:
        assert [e.user_seq for e in await world.store.entries(user, after=0, limit=9)] == [801, 802]


async def test_notifications_and_deliveries_expire_with_their_message(world: World) -> None:
    people = world.people
    told = notification(dedupe="d-1")
    old = item(inbox().id, 1, dict.fromkeys(people, 1), notification=told, inbox=True)
    rows = [delivery(old[1], user) for user in people]
    await world.store.commit(batch(old, made=[inbox()], deliveries=rows))
    await world.store.save(rows, attempts=[Attempt(row.id, 1, NOW) for row in rows])
    fresh = item(inbox().id, 2, {people[0]: 2}, at=NOW + DAY, inbox=True)
    await world.store.commit(batch(fresh, at=NOW + DAY))
    assert await world.store.expire_messages(NOW + DAY, app=APP) == 1
    assert await world.store.deliveries([row.id for row in rows]) == []
    assert await world.store.notifications([told.id]) == {}
    assert await world.events(rows[0].id) == []
    assert await world.attempts(rows[0].id) == []
    assert await world.store.unpublished(before=NOW + 2 * DAY, limit=9) != []
    repeat = item(inbox().id, 3, {people[0]: 3}, notification=notification(dedupe="d-1"), inbox=True)
    assert await world.store.prior([repeat[0]]) == {}
    await world.store.commit(batch(repeat))


async def test_an_idempotency_key_whose_message_is_gone_may_be_used_again(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    claim = IdempotencyClaim("a" * 64, "fp")
    await world.store.commit(batch(item(group, 1, {one: 1}, claim=claim), item(group, 2, {one: 2})))
    await world.store.expire_messages(NOW + DAY, app=APP)
    again = item(group, 3, {one: 3}, claim=claim)
    assert await world.store.prior([again[0]]) == {}
    await world.store.commit(batch(again))


async def test_published_batches_are_forgotten_and_others_kept(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    first, second = batch(item(group, 1, {one: 1})), batch(item(group, 2, {one: 2}))
    await world.store.commit(first)
    await world.store.commit(second)
    await world.store.mark_published([first.id])
    assert await world.store.forget_batches(NOW) == 0
    if isinstance(world, SqlWorld) and not isinstance(world.store, Plan1Store):
        # Its search has to know what they said.
        assert await world.store.forget_batches(NOW + DAY) == 0
        await SearchIndex(world.database).index()
    assert await world.store.forget_batches(NOW + DAY) == 1
    assert [id_ for id_, _ in await world.store.committed_since(NOW, limit=9)] == [second.id]


async def test_old_idempotency_keys_are_forgotten(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    first = item(group, 1, {one: 1}, claim=IdempotencyClaim("a" * 64, "fp"))
    await world.store.commit(batch(first))
    assert await world.store.forget_idempotency(NOW) == 0
    assert await world.store.forget_idempotency(NOW + DAY) == 1
    assert await world.store.prior([item(group, 2, {}, claim=IdempotencyClaim("a" * 64, "fp"))[0]]) == {}
