"""What a MessageStore promises about commits, over memory and every database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from hub.core.conversation import ConversationKind, Fanout, Role
from hub.core.errors import SequenceTaken, StaleConversation
from hub.core.message import (
    ConversationId,
    Entry,
    IdempotencyClaim,
    MessageId,
    SeqKey,
    UserKey,
)
from tests.contract.store_builders import batch, direct, inbox, item, notification
from tests.contract.store_world import NOW, TTL, World

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
