"""What a MessageStore promises about reading, gaps, cursors and publishing again, over memory and every database."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from hub.core.errors import SequenceTaken
from hub.core.message import (
    SYSTEM,
    TOMBSTONE,
    ConversationId,
    Message,
    QueueSpan,
    SeqKey,
    UserKey,
)
from tests.contract.store_builders import batch, inbox, item, new_id
from tests.contract.store_world import APP, NOW, World

SECOND = timedelta(seconds=1)


async def test_entries_come_ascending_past_a_cursor(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    await world.store.commit(batch(*(item(group, n, {one: n}) for n in (1, 2, 4, 5))))
    numbers = [e.user_seq for e in await world.store.entries(one, after=1, limit=2)]
    assert numbers == [2, 4]
    assert await world.store.floor(SeqKey.of_user(one)) == 0


async def test_queues_of_many_are_read_as_each_would_be(world: World) -> None:
    """More than one statement takes, two spans of one user among them, and one without anything."""
    one, other = world.people[:2]
    group = await world.make_group("cnv_g", [one, other])
    numbers = (1, 2, 4, 5)
    await world.store.commit(batch(*(item(group, n, {one: n, other: n}) for n in numbers)))
    wants = [QueueSpan(one, after, limit) for after in range(6) for limit in range(1, 14)]
    wants += [QueueSpan(other, 1, 2), QueueSpan(UserKey(999_999), 0, 5)]
    found = await world.store.entries_of(wants)
    assert [e.user_seq for e in found[QueueSpan(other, 1, 2)]] == [2, 4]
    assert found[wants[-1]] == []
    for want in wants:
        alone = await world.store.entries(want.user, after=want.after, limit=want.limit)
        assert found[want] == list(alone), want
    assert await world.store.entries_of(wants[:3]) == {want: found[want] for want in wants[:3]}


async def test_history_pages_forward_and_backward(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    await world.store.commit(batch(*(item(group, n, {one: n}, expires_at=NOW) for n in range(1, 8))))

    async def page(after: int | None, before: int | None, limit: int) -> list[int]:
        found = await world.store.history(group, after=after, before=before, limit=limit)
        return [message.seq for message in found]

    assert await page(None, None, 3) == [5, 6, 7]
    assert await page(None, 5, 2) == [3, 4]
    assert await page(2, None, 3) == [3, 4, 5]
    assert await page(2, 5, 9) == [3, 4]
    assert await page(7, None, 9) == []


async def test_an_inbox_shows_each_what_was_sent_to_them(world: World) -> None:
    one, other = world.people[:2]
    await world.store.commit(
        batch(
            item(inbox().id, 1, {one: 1}, inbox=True),
            item(inbox().id, 2, {other: 1}, inbox=True),
            item(inbox().id, 3, {one: 2, other: 2}, inbox=True),
            item(inbox().id, 4, {one: 3}, inbox=True),
            made=[inbox()],
        )
    )

    async def page(user: UserKey, after: int | None, before: int | None, limit: int) -> list[int]:
        found = await world.store.inbox_history(user, inbox().id, after=after, before=before, limit=limit)
        return [message.seq for message in found]

    assert await page(one, None, None, 9) == [1, 3, 4]
    assert await page(other, None, None, 9) == [2, 3]
    assert await page(one, None, 4, 1) == [3]
    assert await page(one, 1, None, 1) == [3]


async def test_a_gap_in_a_queue_is_closed_once(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    await world.store.commit(batch(item(group, 1, {one: 1}), item(group, 2, {one: 4})))
    for _ in range(2):
        await world.store.close_gaps([(SeqKey.of_user(one), 1, 4)], new_id=new_id, now=NOW)
    entries = await world.store.entries(one, after=0, limit=9)
    assert [(e.user_seq, e.message is None) for e in entries] == [
        (1, False),
        (2, True),
        (3, True),
        (4, False),
    ]
    with pytest.raises(SequenceTaken):
        await world.store.commit(batch(item(group, 3, {one: 2})))


async def test_a_gap_in_a_conversation_is_closed_by_tombstones(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    await world.store.commit(batch(item(group, 1, {one: 1}), item(group, 3, {one: 2})))
    await world.store.close_gaps([(SeqKey.of_conversation(group), 1, 3)], new_id=new_id, now=NOW)
    page = await world.store.history(group, after=0, before=None, limit=9)
    assert [message.kind for message in page] == ["text", TOMBSTONE, "text"]
    closed = page[1]
    assert closed == Message(closed.id, APP, group, 2, SYSTEM, None, TOMBSTONE, "null", NOW)
    with pytest.raises(SequenceTaken):
        await world.store.commit(batch(item(group, 2, {one: 3})))
    nowhere = SeqKey.of_conversation(ConversationId("cnv_none"))
    await world.store.close_gaps([(nowhere, 1, 2)], new_id=new_id, now=NOW)


async def test_a_late_writer_and_the_closing_of_its_gap_never_both_win(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    key = SeqKey.of_user(one)
    for n in range(1, 6):
        late = batch(item(group, n, {one: n}))
        writing = asyncio.ensure_future(world.store.commit(late))
        closing = world.sibling().close_gaps([(key, n, n)], new_id=new_id, now=NOW)
        answers = await asyncio.gather(writing, closing, return_exceptions=True)
        (entry,) = await world.store.entries(one, after=n - 1, limit=1)
        assert (entry.message is None) == isinstance(answers[0], SequenceTaken)
        await world.store.close_gaps([(SeqKey.of_conversation(group), n, n)], new_id=new_id, now=NOW)


async def test_a_wide_gap_is_closed_in_parts(world: World) -> None:
    one = world.people[0]
    await world.store.close_gaps([(SeqKey.of_user(one), 1, 10**9)], new_id=new_id, now=NOW)
    assert await world.store.heads([SeqKey.of_user(one)]) == {SeqKey.of_user(one): 1_000}


async def test_many_gaps_are_closed_at_once(world: World) -> None:
    people = await world.make_people(30)
    group = await world.make_group("cnv_g", people)
    other = await world.make_group("cnv_h", people)
    await world.store.commit(batch(item(group, 3, dict.fromkeys(people, 4)), item(other, 2, {people[0]: 6})))
    gaps = [(SeqKey.of_user(one), 1, 4) for one in reversed(people)]
    gaps += [(SeqKey.of_conversation(ConversationId("cnv_none")), 1, 2)]
    gaps += [(SeqKey.of_conversation(other), 1, 1), (SeqKey.of_conversation(group), 1, 3)]
    gaps += [(SeqKey.of_user(people[0]), 5, 5)]
    for _ in range(2):
        await world.store.close_gaps(gaps, new_id=new_id, now=NOW)
    await world.store.close_gaps([], new_id=new_id, now=NOW)
    for one in people:
        entries = await world.store.entries(one, after=0, limit=9)
        closed = [1, 2, 3, 5] if one == people[0] else [1, 2, 3]
        assert [entry.user_seq for entry in entries if entry.message is None] == closed
    for conversation, seqs in ((group, [1, 2]), (other, [1])):
        page = await world.store.history(conversation, after=0, before=None, limit=9)
        assert [message.seq for message in page if message.kind == TOMBSTONE] == seqs
        assert len(page) == len(seqs) + 1


async def test_two_nodes_close_the_same_gaps_at_once(world: World) -> None:
    people = await world.make_people(20)
    gaps = [(SeqKey.of_user(one), 1, 5) for one in people]
    await asyncio.gather(
        world.store.close_gaps(gaps, new_id=new_id, now=NOW),
        world.sibling().close_gaps(gaps[::-1], new_id=new_id, now=NOW),
    )
    keys = [key for key, _, _ in gaps]
    assert await world.store.heads(keys) == dict.fromkeys(keys, 5)


async def test_device_cursors_only_move_forward(world: World) -> None:
    devices = [await world.make_device(world.people[0]) for _ in range(3)]
    await world.store.move_cursors(dict(zip(devices, (5, 6, 7), strict=True)))
    await world.store.move_cursors({devices[0]: 4, devices[1]: 60})
    assert [await world.cursor(device) for device in devices] == [5, 60, 7]
    await world.store.move_cursors({})
    assert await world.store.acknowledged(world.people[:2]) == {world.people[0]: 60}
    assert await world.store.acknowledged([]) == {}


async def test_read_cursors_only_move_forward_and_never_past_the_end(world: World) -> None:
    one, other, third = world.people[:3]
    group = await world.make_group("cnv_g", [one, other, third])
    senders = (one, other, SYSTEM, third, other)
    await world.store.commit(batch(*(item(group, n, {}, sender=who) for n, who in enumerate(senders, 1))))
    assert await world.store.move_read(one, group, 3) == (0, 3, {other})
    assert await world.store.move_read(one, group, 3) is None
    assert await world.store.move_read(one, group, 2) is None
    assert await world.store.move_read(one, group, 99) == (3, 5, {other, third})
    assert await world.store.move_read(one, group, 100) is None
    membership = await world.store.membership(group, one)
    assert membership is not None
    assert membership.read_seq == 5


async def test_who_is_not_a_member_has_no_read_cursor(world: World) -> None:
    group = await world.make_group("cnv_g", [world.people[0]])
    await world.store.commit(batch(item(group, 1, {})))
    assert await world.store.move_read(world.people[1], group, 1) is None
    assert await world.store.move_read(world.people[1], ConversationId("cnv_none"), 1) is None


async def test_everybody_has_a_read_cursor_in_the_inbox(world: World) -> None:
    one, other, third = world.people[:3]
    await world.store.commit(
        batch(
            item(inbox().id, 1, {one: 1}, sender=other, inbox=True),
            item(inbox().id, 2, {other: 1}, sender=third, inbox=True),
            made=[inbox()],
        )
    )
    assert await world.store.move_read(one, inbox().id, 2) == (0, 2, {other})
    assert await world.store.move_read(one, inbox().id, 2) is None


async def test_a_read_reported_by_two_devices_at_once_is_told_once(world: World) -> None:
    one = world.people[0]
    await world.store.commit(batch(item(inbox().id, 1, {one: 1}, inbox=True), made=[inbox()]))
    stores = [world.store, world.sibling()]
    moved = await asyncio.gather(*(stores[n % 2].move_read(one, inbox().id, 1) for n in range(6)))
    assert len([move for move in moved if move is not None]) == 1


async def test_what_is_not_marked_is_published_again(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    first = batch(item(group, 1, {one: 1}), item(group, 2, {}, grew=True), at=NOW)
    second = batch(item(inbox().id, 1, {one: 2}, inbox=True), made=[inbox()], at=NOW + SECOND)
    third = batch(item(group, 3, {one: 3}), done=[first.id], at=NOW + 2 * SECOND)
    await world.store.commit(first)
    assert await world.store.unpublished(before=NOW + SECOND, limit=9) == [(first.id, list(first.published))]
    assert await world.store.unpublished(before=NOW, limit=9) == []
    await world.store.commit(second)
    await world.store.commit(third)
    late = NOW + timedelta(minutes=1)
    assert [id_ for id_, _ in await world.store.unpublished(before=late, limit=9)] == [second.id, third.id]
    assert [id_ for id_, _ in await world.store.unpublished(before=late, limit=1)] == [second.id]
    await world.store.mark_published([second.id, third.id, "bat_unknown"])
    await world.store.mark_published([])
    assert await world.store.unpublished(before=late, limit=9) == []
    since = await world.store.committed_since(NOW + SECOND, limit=9)
    assert since == [(second.id, list(second.published)), (third.id, list(third.published))]
    assert [id_ for id_, _ in await world.store.committed_since(NOW, limit=2)] == [first.id, second.id]
