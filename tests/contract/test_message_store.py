"""What a MessageStore promises about commits, over memory and every database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from hub.core.conversation import ConversationKind, Fanout, Role
from hub.core.errors import SequenceTaken, StaleConversation
from hub.core.message import (
    SYSTEM,
    TOMBSTONE,
    ConversationId,
    Entry,
    IdempotencyClaim,
    Message,
    MessageId,
    SeqKey,
    UserKey,
)
from tests.contract.store_builders import batch, direct, inbox, item, new_id, notification
from tests.contract.store_world import APP, NOW, TTL, World

SECOND = timedelta(seconds=1)


async def test_what_is_committed_is_read_back_as_it_was(world: World) -> None:
    one, other = world.people[:2]
    room = direct(one, other)
    chat = item(
        room.id,
        1,
        {one: 1, other: 1},
        sender=one,
        body='{"text":"明天九点开会 🎉👨‍👩‍👧 \\u0000 \\"引号\\" \\\\ %s :x"}',
        client="c-1",
        mentions=("u2", "张三"),
        expires_at=NOW + timedelta(days=3, microseconds=7),
    )
    await world.store.commit(batch(chat, made=[room]))
    message = chat[1].message
    assert await world.store.messages([message.id, MessageId("msg_none")]) == {message.id: message}
    assert await world.store.entries(other, after=0, limit=10) == [Entry(other, 1, message.id)]
    assert await world.store.history(room.id, after=None, before=None, limit=10) == [message]


async def test_a_direct_conversation_is_made_with_its_first_message(world: World) -> None:
    one, other = world.people[:2]
    room = direct(one, other)
    await world.store.commit(batch(item(room.id, 1, {one: 1, other: 1}, sender=one), made=[room]))
    assert await world.store.conversations([room.id]) == {room.id: replace(room, version=1)}
    membership = await world.store.membership(room.id, other)
    assert membership is not None
    assert (membership.role, membership.joined_seq, membership.read_seq) == (Role.MEMBER, 0, 0)
    assert await world.store.membership(room.id, world.people[2]) is None


async def test_a_conversation_that_a_rival_made_meanwhile_is_used(world: World) -> None:
    one, other = world.people[:2]
    room = direct(one, other)
    await world.store.commit(batch(item(room.id, 1, {one: 1}, sender=one), made=[room]))
    await world.store.commit(batch(item(room.id, 2, {one: 2}, sender=other), made=[room]))
    assert await world.store.heads([SeqKey.of_conversation(room.id)]) == {SeqKey.of_conversation(room.id): 2}
    await world.change_group(room.id)
    with pytest.raises(StaleConversation):
        await world.store.commit(batch(item(room.id, 3, {one: 3}, sender=other), made=[room]))


async def test_one_can_talk_to_oneself(world: World) -> None:
    me = world.people[0]
    room = replace(direct(me, me), members=(me, me))
    await world.store.commit(batch(item(room.id, 1, {me: 1}, sender=me), made=[room]))
    assert (await world.store.conversations([room.id]))[room.id].members == (me,)


async def test_the_inbox_is_everybodys_and_lists_nobody(world: World) -> None:
    one = world.people[0]
    await world.store.commit(batch(item(inbox().id, 1, {one: 1}, inbox=True), made=[inbox()]))
    await world.store.move_read(one, inbox().id, 1)
    snapshot = (await world.store.conversations([inbox().id]))[inbox().id]
    assert snapshot == replace(inbox(), version=1)
    assert snapshot.kind is ConversationKind.INBOX


async def test_snapshots_name_members_and_who_may_not_write(world: World) -> None:
    one, other, third = world.people[:3]
    small = await world.make_group("cnv_small", [one, other, third], readonly=[third])
    large = await world.make_group("cnv_large", [one, other], fanout=Fanout.READ)
    found = await world.store.conversations([small, large, ConversationId("cnv_none")])
    assert found.keys() == {small, large}
    assert (found[small].members, found[small].readonly) == ((one, other, third), frozenset({third}))
    assert (found[large].members, found[large].fanout) == ((), Fanout.READ)
    assert await world.store.membership(large, other) is not None


async def test_a_number_is_given_once(world: World) -> None:
    one, other = world.people[:2]
    group = await world.make_group("cnv_g", [one, other])
    first = item(group, 1, {one: 1}, client="c-1", sender=one, notification=notification(dedupe="d-1"))
    first = (replace(first[0], idempotency=IdempotencyClaim("k" * 64, "f")), first[1])
    await world.store.commit(batch(first))
    rivals = {
        "the conversation's number": item(group, 1, {other: 1}),
        "the user's number": item(group, 2, {other: 1, one: 1}),
        "the client's id": item(group, 2, {other: 1}, client="c-1", sender=one),
        "the business key": item(group, 2, {other: 1}, notification=notification(dedupe="d-1")),
        "the idempotency key": item(group, 2, {other: 1}, claim=IdempotencyClaim("k" * 64, "f2")),
    }
    for what, rival in rivals.items():
        innocent = item(group, 7, {other: 7})
        with pytest.raises(SequenceTaken):
            await world.store.commit(batch(innocent, rival))
        assert await world.store.entries(other, after=0, limit=9) == [], f"{what}: all or nothing"
    assert await world.store.heads([SeqKey.of_conversation(group)]) == {SeqKey.of_conversation(group): 1}


async def test_the_same_batch_twice_is_refused_and_changes_nothing(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    same = batch(item(group, 1, {one: 1}))
    await world.store.commit(same)
    with pytest.raises(SequenceTaken):
        await world.store.commit(same)
    assert len(await world.store.entries(one, after=0, limit=9)) == 1


async def test_client_ids_belong_to_their_sender(world: World) -> None:
    one, other = world.people[:2]
    group = await world.make_group("cnv_g", [one, other])
    await world.store.commit(batch(item(group, 1, {one: 1}, sender=one, client="same")))
    await world.store.commit(batch(item(group, 2, {one: 2}, sender=other, client="same")))
    await world.store.commit(batch(item(group, 3, {one: 3}, sender=other, client="Same")))
    assert len(await world.store.entries(one, after=0, limit=9)) == 3


async def test_a_changed_membership_is_told(world: World) -> None:
    one = world.people[0]
    calm = await world.make_group("cnv_calm", [one])
    moved = await world.make_group("cnv_moved", [one])
    await world.change_group(moved)
    stale = batch(item(calm, 1, {one: 1}), item(moved, 1, {one: 2}))
    with pytest.raises(StaleConversation) as told:
        await world.store.commit(stale)
    assert told.value.conversations == {moved}
    assert await world.store.entries(one, after=0, limit=9) == []
    await world.store.commit(replace(stale, versions={calm: 1, moved: 2}))


async def test_a_conversation_that_is_gone_is_stale(world: World) -> None:
    gone = ConversationId("cnv_gone")
    with pytest.raises(StaleConversation):
        await world.store.commit(batch(item(gone, 1, {world.people[0]: 1})))


async def test_of_rivals_with_one_client_id_one_is_accepted(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    rivals = [item(group, n, {one: n}, sender=one, client="c-1") for n in range(1, 9)]
    stores = [world.store, world.sibling()]
    answers = await asyncio.gather(
        *(stores[n % 2].commit(batch(rival)) for n, rival in enumerate(rivals)), return_exceptions=True
    )
    assert [type(answer) for answer in answers].count(SequenceTaken) == len(rivals) - 1
    prior = await world.store.prior([draft for draft, _ in rivals])
    assert len({found.accepted.message for found in prior.values()}) == 1
    assert len(prior) == len(rivals)


async def test_rivals_for_one_number_leave_no_hole_and_no_double(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    stores = [world.store, world.sibling()]
    key = SeqKey.of_user(one)
    room = SeqKey.of_conversation(group)

    async def send(store_number: int) -> None:
        store = stores[store_number % 2]
        while True:
            heads = await store.heads([key, room])
            try:
                await store.commit(batch(item(group, heads[room] + 1, {one: heads[key] + 1})))
            except SequenceTaken:
                continue
            return

    await asyncio.gather(*map(send, range(10)))
    entries = await world.store.entries(one, after=0, limit=99)
    assert [entry.user_seq for entry in entries] == list(range(1, 11))


async def test_a_thousand_recipients_are_one_batch(world: World) -> None:
    people = await world.make_people(1_000)
    wide = item(inbox().id, 1, dict.fromkeys(people, 40), inbox=True)
    await world.store.commit(batch(wide, made=[inbox()]))
    heads = await world.store.heads([SeqKey.of_user(user) for user in people])
    assert len(heads) == 1_000
    assert set(heads.values()) == {40}
    assert await world.store.entries(people[-1], after=0, limit=1) == [wide[1].entries[-1]]


async def test_many_messages_keep_their_order(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    many = [item(group, n, {one: n}, body=f'"{n}"') for n in range(1, 301)]
    await world.store.commit(batch(*many))
    page = await world.store.history(group, after=0, before=None, limit=500)
    assert [message.body for message in page] == [f'"{n}"' for n in range(1, 301)]


async def test_heads_of_what_is_unknown_are_zero(world: World) -> None:
    keys = [SeqKey.of_user(UserKey(404)), SeqKey.of_conversation(ConversationId("cnv_none"))]
    assert await world.store.heads(keys) == dict.fromkeys(keys, 0)
    assert await world.store.heads([]) == {}


async def test_a_repeat_is_known_by_its_client_id(world: World) -> None:
    one, other = world.people[:2]
    group = await world.make_group("cnv_g", [one, other])
    first = item(group, 1, {one: 1}, sender=one, client="c-1")
    await world.store.commit(batch(first))
    repeat = item(group, 9, {}, sender=one, client="c-1")[0]
    stranger = item(group, 9, {}, sender=other, client="c-1")[0]
    prior = await world.store.prior([repeat, stranger])
    assert prior.keys() == {repeat.id}
    accepted = prior[repeat.id].accepted
    assert (accepted.message, accepted.conversation, accepted.seq, accepted.at) == (
        first[0].id,
        group,
        1,
        NOW,
    )
    assert accepted.duplicate
    assert prior[repeat.id].fingerprint is None


async def test_a_repeat_is_known_by_its_business_key(world: World) -> None:
    one = world.people[0]
    told = notification(dedupe="oa:1")
    await world.store.commit(
        batch(item(inbox().id, 1, {one: 1}, notification=told, inbox=True), made=[inbox()])
    )
    repeat = item(inbox().id, 2, {}, notification=notification(dedupe="oa:1"))[0]
    other = item(inbox().id, 2, {}, notification=notification(dedupe="oa:2"))[0]
    prior = await world.store.prior([repeat, other])
    assert prior.keys() == {repeat.id}
    assert prior[repeat.id].accepted.notification == told.id


async def test_a_repeat_is_known_by_its_idempotency_key(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    first = item(group, 1, {one: 1}, claim=IdempotencyClaim("a" * 64, "fp-1"))
    await world.store.commit(batch(first))
    repeat = item(group, 2, {}, claim=IdempotencyClaim("a" * 64, "fp-2"), at=NOW + TTL)[0]
    prior = await world.store.prior([repeat])
    assert prior[repeat.id].accepted.message == first[0].id
    assert prior[repeat.id].fingerprint == "fp-1"


async def test_an_old_idempotency_key_may_be_used_again(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    await world.store.commit(batch(item(group, 1, {one: 1}, claim=IdempotencyClaim("a" * 64, "fp-1"))))
    later = NOW + TTL + SECOND
    second = item(group, 2, {one: 2}, claim=IdempotencyClaim("a" * 64, "fp-2"), at=later)
    assert await world.store.prior([second[0]]) == {}
    await world.store.commit(batch(second, at=later))
    repeat = item(group, 3, {}, claim=IdempotencyClaim("a" * 64, "fp-2"), at=later)[0]
    assert (await world.store.prior([repeat]))[repeat.id].accepted.message == second[0].id


async def test_entries_come_ascending_past_a_cursor(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    await world.store.commit(batch(*(item(group, n, {one: n}) for n in (1, 2, 4, 5))))
    numbers = [e.user_seq for e in await world.store.entries(one, after=1, limit=2)]
    assert numbers == [2, 4]
    assert await world.store.floor(SeqKey.of_user(one)) == 0


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
        await world.store.close_gap(SeqKey.of_user(one), 1, 4, new_id=new_id, now=NOW)
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
    await world.store.close_gap(SeqKey.of_conversation(group), 1, 3, new_id=new_id, now=NOW)
    page = await world.store.history(group, after=0, before=None, limit=9)
    assert [message.kind for message in page] == ["text", TOMBSTONE, "text"]
    closed = page[1]
    assert closed == Message(closed.id, APP, group, 2, SYSTEM, None, TOMBSTONE, "null", NOW)
    with pytest.raises(SequenceTaken):
        await world.store.commit(batch(item(group, 2, {one: 3})))
    nowhere = SeqKey.of_conversation(ConversationId("cnv_none"))
    await world.store.close_gap(nowhere, 1, 2, new_id=new_id, now=NOW)


async def test_a_late_writer_and_the_closing_of_its_gap_never_both_win(world: World) -> None:
    one = world.people[0]
    group = await world.make_group("cnv_g", [one])
    key = SeqKey.of_user(one)
    for n in range(1, 6):
        late = batch(item(group, n, {one: n}))
        writing = asyncio.ensure_future(world.store.commit(late))
        closing = world.sibling().close_gap(key, n, n, new_id=new_id, now=NOW)
        answers = await asyncio.gather(writing, closing, return_exceptions=True)
        (entry,) = await world.store.entries(one, after=n - 1, limit=1)
        assert (entry.message is None) == isinstance(answers[0], SequenceTaken)
        await world.store.close_gap(SeqKey.of_conversation(group), n, n, new_id=new_id, now=NOW)


async def test_a_wide_gap_is_closed_in_parts(world: World) -> None:
    one = world.people[0]
    await world.store.close_gap(SeqKey.of_user(one), 1, 10**9, new_id=new_id, now=NOW)
    assert await world.store.heads([SeqKey.of_user(one)]) == {SeqKey.of_user(one): 1_000}


async def test_device_cursors_only_move_forward(world: World) -> None:
    devices = [await world.make_device(world.people[0]) for _ in range(3)]
    await world.store.move_cursors(dict(zip(devices, (5, 6, 7), strict=True)))
    await world.store.move_cursors({devices[0]: 4, devices[1]: 60})
    assert [await world.cursor(device) for device in devices] == [5, 60, 7]
    await world.store.move_cursors({})


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
    since = await world.store.committed_since(NOW + SECOND, 9)
    assert since == [(second.id, list(second.published)), (third.id, list(third.published))]
    assert [id_ for id_, _ in await world.store.committed_since(NOW, 2)] == [first.id, second.id]
