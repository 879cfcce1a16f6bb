"""What a Tail promises. An implementation's test class supplies the `tail` fixture, empty, of SIZE entries a queue."""

from __future__ import annotations

from collections.abc import Sequence

from hub.core.message import Entry, MessageId, UserKey
from hub.core.ports import Tail

SIZE = 16
USER = UserKey(1)
OTHER = UserKey(2)


def entry(number: int, user: UserKey = USER) -> Entry:
    """A reference; every third is a notification's."""
    return Entry(user, number, MessageId(f"msg_{number}"), number * 10 if number % 3 == 0 else None)


def entries(first: int, last: int, user: UserKey = USER) -> list[Entry]:
    """The references first..last."""
    return [entry(number, user) for number in range(first, last + 1)]


async def trusted(tail: Tail, head: int, user: UserKey = USER) -> None:
    """As the engine does it: the tail says that it is not sure, and is told what the store says."""
    assert await tail.heads([user]) == [None]
    await tail.rebuild(user, entries(max(1, head - SIZE + 1), head, user), head=head)


class TailContract:
    """Run by subclassing."""

    async def test_what_was_never_confirmed_is_not_believed(self, tail: Tail) -> None:
        assert await tail.read(USER, after=0, limit=10) is None
        await tail.append(entries(1, 3))
        assert await tail.read(USER, after=0, limit=10) is None
        assert await tail.heads([USER, OTHER]) == [None, None]
        assert await tail.heads([]) == []

    async def test_what_the_store_confirmed_is_read(self, tail: Tail) -> None:
        await trusted(tail, 5)
        assert _list(await tail.read(USER, after=0, limit=10)) == entries(1, 5)
        assert _list(await tail.read(USER, after=2, limit=2)) == entries(3, 4)
        assert _list(await tail.read(USER, after=5, limit=10)) == []
        assert await tail.heads([OTHER, USER]) == [None, 5]

    async def test_an_empty_queue_can_be_confirmed(self, tail: Tail) -> None:
        assert await tail.heads([USER]) == [None]
        await tail.rebuild(USER, [], head=0)
        assert await tail.heads([USER]) == [0]
        assert _list(await tail.read(USER, after=0, limit=10)) == []
        await tail.append([entry(1)])
        assert _list(await tail.read(USER, after=0, limit=10)) == [entry(1)]

    async def test_what_is_appended_is_read(self, tail: Tail) -> None:
        await trusted(tail, 5)
        await trusted(tail, 1, OTHER)
        await tail.append([entry(6), entry(2, OTHER), entry(7)])
        assert _list(await tail.read(USER, after=4, limit=10)) == entries(5, 7)
        assert await tail.heads([USER, OTHER]) == [7, 2]

    async def test_twice_is_harmless(self, tail: Tail) -> None:
        await trusted(tail, 5)
        await tail.append(entries(4, 6))
        await tail.append(entries(4, 6))
        assert _list(await tail.read(USER, after=0, limit=10)) == entries(1, 6)

    async def test_order_does_not_matter(self, tail: Tail) -> None:
        await trusted(tail, 5)
        await tail.append([entry(7)])
        await tail.append([entry(6)])
        assert _list(await tail.read(USER, after=0, limit=10)) == entries(1, 7)

    async def test_nothing_past_a_gap_is_answered(self, tail: Tail) -> None:
        await trusted(tail, 5)
        await tail.append([entry(7)])
        found = await tail.read(USER, after=3, limit=10)
        assert found is None or list(found) == entries(4, 5)
        assert await tail.read(USER, after=5, limit=10) in (None, [])

    async def test_a_closed_number_is_an_entry_too(self, tail: Tail) -> None:
        await trusted(tail, 2)
        await tail.append([Entry(USER, 3, None), entry(4)])
        found = await tail.read(USER, after=1, limit=10)
        assert _list(found) == [entry(2), Entry(USER, 3, None), entry(4)]

    async def test_only_the_newest_are_kept(self, tail: Tail) -> None:
        await trusted(tail, 3)
        for number in range(4, 3 * SIZE):
            await tail.append([entry(number)])
        head = 3 * SIZE - 1
        assert await tail.heads([USER]) == [head]
        assert _list(await tail.read(USER, after=head - SIZE + 1, limit=99)) == entries(head - SIZE + 2, head)
        assert await tail.read(USER, after=0, limit=10) is None

    async def test_an_old_entry_again_does_not_push_out_a_new_one(self, tail: Tail) -> None:
        await trusted(tail, 3)
        await tail.append(entries(4, 3 * SIZE))
        await tail.append([entry(1)])
        head = 3 * SIZE
        assert _list(await tail.read(USER, after=head - 8, limit=99)) == entries(head - 7, head)
        assert await tail.read(USER, after=0, limit=10) is None

    async def test_what_came_while_the_store_was_asked_is_kept(self, tail: Tail) -> None:
        assert await tail.read(USER, after=0, limit=10) is None
        await tail.append(entries(6, 7))
        await tail.rebuild(USER, entries(1, 5), head=5)
        assert _list(await tail.read(USER, after=0, limit=10)) == entries(1, 7)

    async def test_a_tail_with_a_hole_is_mended(self, tail: Tail) -> None:
        await trusted(tail, 5)
        await tail.append([entry(8)])
        await tail.rebuild(USER, entries(1, 8), head=8)
        assert _list(await tail.read(USER, after=0, limit=10)) == entries(1, 8)

    async def test_of_what_the_store_says_the_contiguous_end_counts(self, tail: Tail) -> None:
        assert await tail.read(USER, after=0, limit=10) is None
        await tail.rebuild(USER, [entry(1), entry(2), entry(4), entry(5)], head=5)
        assert _list(await tail.read(USER, after=3, limit=10)) == entries(4, 5)
        assert await tail.heads([USER]) == [5]
        assert await tail.read(USER, after=2, limit=10) is None

    async def test_a_batch_for_many_users_is_appended(self, tail: Tail) -> None:
        users = [UserKey(n) for n in range(1, 601)]
        for user in users[:3]:
            await tail.rebuild(user, [], head=0)
        await tail.append([entry(1, user) for user in users])
        assert await tail.heads(users[:4]) == [1, 1, 1, None]


def _list(found: Sequence[Entry] | None) -> list[Entry]:
    assert found is not None
    return list(found)
