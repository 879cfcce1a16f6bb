"""What control messages change, in the commit that brings them: edits, recalls, reactions, pins, mentions, hiding."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from hub.core.chat_ports import ChatStore, Standing
from hub.core.message import (
    RECALLED,
    SYSTEM,
    Change,
    ConversationId,
    Edited,
    Hidden,
    MessageId,
    Pinned,
    Reacted,
    ReactionCount,
    Recalled,
    UserKey,
)
from hub.store.memory import MemoryStore
from hub.store.schema import metadata
from hub.store.sql_chat import SqlChat
from hub.store.sql_chat_gone import forget_messages, forget_user
from tests.contract.store_builders import Item, batch, item
from tests.contract.store_world import APP, NOW, MemoryWorld, SqlWorld, World, sql_world


@dataclass
class Room:
    """A group of the first three people, and short ways to change what is said in it."""

    world: World
    conversation: ConversationId
    chat: ChatStore
    _numbers: dict[UserKey, itertools.count[int]] = field(default_factory=dict)
    _seqs: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def people(self) -> tuple[UserKey, ...]:
        return self.world.people[:3]

    def entries(self) -> dict[UserKey, int]:
        return {u: next(self._numbers.setdefault(u, itertools.count(1))) for u in self.people}

    def made(
        self, change: Change | None = None, *, mentioned: Sequence[UserKey] = (), body: str = '"hi"'
    ) -> Item:
        """A message, or a control message with this change, at the next number."""
        draft, published = item(
            self.conversation, next(self._seqs), self.entries(), sender=self.people[0], body=body
        )
        target = getattr(change, "message", None)
        told = {
            "kind": "edit" if isinstance(change, Edited) else "recall",
            "control": True,
            "reply_to": target,
        }
        if change is not None:
            draft = replace(draft, change=change, **told)  # type: ignore[arg-type]
            published = replace(published, message=replace(published.message, **told))  # type: ignore[arg-type]
        return replace(draft, mentioned=tuple(mentioned)), published

    async def commit(self, *items: Item) -> None:
        await self.world.store.commit(batch(*items))

    async def say(self, *, mentioned: Sequence[UserKey] = (), body: str = '"hi"') -> MessageId:
        made = self.made(mentioned=mentioned, body=body)
        await self.commit(made)
        return made[0].id

    async def change(self, change: Change) -> int:
        made = self.made(change)
        await self.commit(made)
        return made[1].message.seq

    async def body(self, message: MessageId) -> tuple[str, str]:
        found = (await self.world.store.messages([message]))[message]
        return found.kind, found.body

    async def mentions(self) -> set[tuple[int, int]]:
        """(user, seq) of who is mentioned."""
        if isinstance(self.world, MemoryWorld):
            assert isinstance(self.world.store, MemoryStore)
            return {(user, seq) for _, user, seq in self.world.store.mentions}
        assert isinstance(self.world, SqlWorld)
        rows = await self.world.database.rows(select(metadata.tables["mention"]))
        return {(row.user_id, row.seq) for row in rows}


@pytest.fixture
async def room(world: World) -> Room:
    conversation = await world.make_group("cnv_room", world.people[:3])
    if isinstance(world, SqlWorld):
        return Room(world, conversation, SqlChat(world.database))
    assert isinstance(world.store, MemoryStore)
    return Room(world, conversation, world.store)


async def test_an_edit_changes_the_body_and_says_when(room: Room) -> None:
    said = await room.say()
    await room.change(Edited(said, '"改了 ✏️"', ("u2",), seq=1))
    found = (await room.world.store.messages([said]))[said]
    assert (found.kind, found.body, found.mentions, found.edited_at) == ("text", '"改了 ✏️"', ("u2",), NOW)
    assert found.created_at == NOW
    assert found.seq == 1


async def test_of_two_edits_the_higher_number_holds_whichever_comes_first(room: Room) -> None:
    said = await room.say()
    early, late = room.made(Edited(said, '"early"', seq=1)), room.made(Edited(said, '"late"', seq=1))
    await room.commit(late)
    await room.commit(early)
    assert await room.body(said) == ("text", '"late"')


async def test_several_changes_of_one_batch_are_taken_in_their_order(room: Room) -> None:
    said = await room.say()
    await room.commit(*(room.made(Edited(said, f'"{n}"', seq=1)) for n in range(5)))
    assert await room.body(said) == ("text", '"4"')


async def test_a_message_can_be_changed_by_the_batch_that_brings_it(room: Room) -> None:
    made = room.made()
    await room.commit(made, room.made(Edited(made[0].id, '"at once"', seq=1)))
    assert await room.body(made[0].id) == ("text", '"at once"')


async def test_a_recall_takes_everything_that_was_said(room: Room) -> None:
    said = await room.say(mentioned=[room.people[1], SYSTEM])
    await room.change(Pinned(said, room.people[0]))
    edit = room.made(Edited(said, '"secret"', seq=1, mentioned=room.people[1:2]), body='{"body":"secret"}')
    await room.commit(edit)
    await room.change(Recalled(said, 1))
    found = (await room.world.store.messages([said]))[said]
    assert (found.kind, found.body, found.mentions, found.seq) == (RECALLED, "{}", (), 1)
    assert "secret" not in (await room.body(edit[0].id))[1]
    assert await room.mentions() == set()
    assert await room.chat.pins(room.conversation, limit=10) == []


async def test_what_was_recalled_is_never_edited(room: Room) -> None:
    said = await room.say()
    early, recall, late = (
        room.made(Edited(said, '"early"', seq=1), body='{"body":"early"}'),
        room.made(Recalled(said, 1)),
        room.made(Edited(said, '"late"', seq=1), body='{"body":"late"}'),
    )
    await room.commit(recall)
    await room.commit(early)
    await room.commit(late)
    assert await room.body(said) == (RECALLED, "{}")
    for edit, word in ((early, "early"), (late, "late")):
        assert word not in (await room.body(edit[0].id))[1]


async def test_a_recall_twice_is_one(room: Room) -> None:
    said = await room.say()
    await room.change(Recalled(said, 1))
    await room.change(Recalled(said, 1))
    assert await room.body(said) == (RECALLED, "{}")


async def test_a_change_reaches_no_other_conversation(room: Room) -> None:
    other = await room.world.make_group("cnv_other", room.people)
    said = await room.say()
    for change in (Edited(said, '"forged"', seq=1), Recalled(said, 1)):
        draft, published = room.made(change)
        elsewhere = replace(published.message, conversation=other)
        await room.world.store.commit(batch((draft, replace(published, message=elsewhere))))
    assert await room.body(said) == ("text", '"hi"')


async def test_a_change_of_what_is_gone_changes_nothing(room: Room) -> None:
    nothing = MessageId("msg_none")
    for change in (Edited(nothing, '"x"'), Recalled(nothing), Pinned(nothing, room.people[0])):
        await room.change(change)
    assert await room.world.store.messages([nothing]) == {}


async def test_mentions_are_found_and_an_edit_takes_some_back(room: Room) -> None:
    _, two, three = room.people
    said = await room.say(mentioned=[two, three, SYSTEM])
    assert await room.mentions() == {(two, 1), (three, 1), (SYSTEM, 1)}
    await room.change(Edited(said, '"x"', seq=1, mentioned=(two,)))
    assert await room.mentions() == {(two, 1)}


async def test_reactions_are_counted_per_emoji_and_user_once(room: Room) -> None:
    one, two, three = room.people
    said, plain = await room.say(), await room.say()
    for user, emoji in ((one, "👍"), (two, "👍"), (two, "👍"), (three, "❤️")):
        await room.change(Reacted(said, user, emoji))
    found = await room.chat.reactions([said, plain], reader=three)
    assert found == {said: (ReactionCount("👍", 2), ReactionCount("❤️", 1, mine=True))}
    await room.change(Reacted(said, one, "👍", added=False))
    await room.change(Reacted(said, three, "❤️", added=False))
    assert await room.chat.reactions([said], reader=None) == {said: (ReactionCount("👍", 1),)}
    people = await room.chat.reacted(said, "👍", after=0, limit=10)
    assert [person.user for person in people] == [two]


async def test_emojis_that_look_alike_to_a_collation_are_different(room: Room) -> None:
    said = await room.say()
    for emoji in ("😀", "😁", "👍🏽", "👍"):
        await room.change(Reacted(said, room.people[0], emoji))
    found = await room.chat.reactions([said], reader=None)
    assert {one.emoji for one in found[said]} == {"😀", "😁", "👍🏽", "👍"}


async def test_of_adding_and_taking_back_the_higher_number_holds(room: Room) -> None:
    user, said = room.people[0], await room.say()
    add, remove = room.made(Reacted(said, user, "👍")), room.made(Reacted(said, user, "👍", added=False))
    await room.commit(remove)
    await room.commit(add)
    assert await room.chat.reactions([said], reader=None) == {}
    assert await room.chat.reaction(said, user, "👍") == Standing(added=False, seq=remove[1].message.seq)


async def test_many_who_react_at_once_are_all_counted(room: Room) -> None:
    said = await room.say()
    people = await room.world.make_people(12)
    makings = [room.made(Reacted(said, user, emoji)) for user in people for emoji in ("👍", "🎉")]
    stores = (room.world.store, room.world.sibling())
    await asyncio.gather(
        *(stores[n % 2].commit(batch(*makings[n * 4 : n * 4 + 4])) for n in range(len(makings) // 4))
    )
    found = await room.chat.reactions([said], reader=None)
    assert {one.emoji: one.count for one in found[said]} == {"👍": 12, "🎉": 12}


async def test_pins_are_listed_last_pinned_first_until_unpinned(room: Room) -> None:
    user = room.people[0]
    first, second = await room.say(), await room.say()
    await room.change(Pinned(first, user))
    seq = await room.change(Pinned(second, SYSTEM))
    pins = await room.chat.pins(room.conversation, limit=10)
    assert [(pin.message, pin.by_id) for pin in pins] == [(second, None), (first, f"u{user}")]
    assert (pins[0].seq, pins[0].at) == (seq, NOW)
    assert await room.chat.pin(room.conversation, second) == Standing(added=True, seq=seq)
    await room.change(Pinned(second, user, added=False))
    assert [pin.message for pin in await room.chat.pins(room.conversation, limit=10)] == [first]
    assert await room.chat.pin(room.conversation, MessageId("msg_none")) == Standing()


async def test_of_pinning_and_unpinning_the_higher_number_holds(room: Room) -> None:
    said = await room.say()
    pin, unpin = room.made(Pinned(said, room.people[0])), room.made(Pinned(said, room.people[1], added=False))
    await room.commit(unpin)
    await room.commit(pin)
    assert await room.chat.pins(room.conversation, limit=10) == []


async def test_what_one_hides_is_hidden_for_them_alone(room: Room) -> None:
    one, two, _ = room.people
    for _ in range(4):
        await room.say()
    await room.change(Hidden(one, room.conversation, (2, 3)))
    await room.change(Hidden(one, room.conversation, (3,)))
    assert await room.chat.hidden(one, room.conversation, low=1, high=10) == {2, 3}
    assert await room.chat.hidden(one, room.conversation, low=3, high=10) == {3}
    assert await room.chat.hidden(two, room.conversation, low=1, high=10) == set()
    mine, theirs = [await room.world.store.membership(room.conversation, user) for user in (one, two)]
    assert mine is not None
    assert theirs is not None
    assert (mine.hides, theirs.hides) == (True, False)


async def test_readers_come_from_cursors(room: Room) -> None:
    one, two, three = room.people
    for _ in range(3):
        await room.say()
    await room.world.store.move_read(two, room.conversation, 2)
    counts = await room.chat.reader_counts(room.conversation, 2, besides=one)
    assert (counts.read, counts.unread, counts.read_exact, counts.unread_exact) == (1, 1, True, True)
    for read, expected in ((True, [two]), (False, [three])):
        page = await room.chat.readers(room.conversation, 2, read=read, besides=one, after=(0, 0), limit=10)
        assert ([person.user for person in page.people], page.next) == (expected, None)


async def test_readers_are_read_page_by_page(room: Room) -> None:
    people = await room.world.make_people(7)
    group = await room.world.make_group("cnv_many", people)
    seen: list[UserKey] = []
    after: tuple[int, int] | None = (0, 0)
    while after is not None:
        page = await room.chat.readers(group, 1, read=False, besides=people[0], after=after, limit=2)
        seen += [person.user for person in page.people]
        assert len(page.people) == 2
        after = page.next
    assert seen == list(people[1:])


async def test_names_are_found_among_members_only(room: Room) -> None:
    one, *_ = room.people
    stranger = room.world.people[4]
    asked = [f"u{one}", f"u{stranger}", "nobody", "好"]
    assert await room.chat.named_members(room.conversation, asked) == {f"u{one}": one}
    assert await room.chat.named_users(APP, asked) == {f"u{one}": one, f"u{stranger}": stranger}


async def test_what_belongs_to_a_removed_message_goes_with_it(migrated_url: str) -> None:
    async with sql_world(migrated_url) as world:
        group = await world.make_group("cnv_room", world.people[:3])
        room = Room(world, group, SqlChat(world.database))
        user = room.people[1]
        said, kept = await room.say(mentioned=[user]), await room.say(mentioned=[user])
        for id_ in (said, kept):
            await room.change(Reacted(id_, user, "👍"))
            await room.change(Reacted(id_, room.people[0], "👍"))
            await room.change(Pinned(id_, user))
            await room.change(Edited(id_, '"x"', seq=1, mentioned=(user,)))
        async with world.database.writing() as connection:
            await forget_messages(connection, [(said, group, 1)])
        assert await room.chat.reactions([said, kept], reader=None) == {kept: (ReactionCount("👍", 2),)}
        assert [pin.message for pin in await room.chat.pins(group, limit=10)] == [kept]
        assert await room.mentions() == {(user, 2)}
        async with world.database.writing() as connection:
            await forget_user(connection, user)
        assert await room.chat.reactions([kept], reader=None) == {kept: (ReactionCount("👍", 1),)}
        assert [pin.by_id for pin in await room.chat.pins(group, limit=10)] == [None]


async def test_a_batch_published_again_says_what_holds_now(room: Room) -> None:
    said = await room.say(body='"secret"')
    await room.change(Recalled(said, 1))
    batches = await room.world.store.unpublished(before=NOW + timedelta(seconds=1), limit=10)
    bodies = {p.message.id: p.message.body for _, published in batches for p in published}
    assert bodies[said] == "{}"
