"""What every ledger of subscriptions promises: nothing is sent twice for one grant, and nothing is granted by us."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from hub.core.accounts import GrantKey, Reservation
from hub.core.books import GRANTS_MOST
from hub.core.delivery import DeliveryId
from tests.contract.books_world import KEY, MINI, BooksWorld
from tests.contract.store_world import NOW

D1, D2, D3 = DeliveryId("dlv_1"), DeliveryId("dlv_2"), DeliveryId("dlv_3")


async def granted(shelf: BooksWorld, count: int) -> None:
    assert await shelf.books.grants.add(KEY, count, once="first")


async def reserve(shelf: BooksWorld, delivery: DeliveryId, key: GrantKey = KEY) -> Reservation:
    return await shelf.books.grants.reserve(key, delivery, now=shelf.clock())


async def test_a_grant_is_set_aside_then_spent(shelf: BooksWorld) -> None:
    await granted(shelf, 1)
    assert await reserve(shelf, D1) is Reservation.MADE
    assert await shelf.remaining() == (0, 1)
    assert await reserve(shelf, D1) is Reservation.HELD
    assert await reserve(shelf, D2) is Reservation.NONE_LEFT
    for _ in range(2):
        await shelf.books.grants.commit(D1)
        assert await reserve(shelf, D1) is Reservation.SPENT
        await shelf.books.grants.release(D1)
    assert await shelf.remaining() == (0, 0)


async def test_what_was_not_sent_is_given_back_once(shelf: BooksWorld) -> None:
    await granted(shelf, 2)
    await reserve(shelf, D1)
    for _ in range(2):
        await shelf.books.grants.release(D1)
        assert await shelf.remaining() == (2, 0)
    await shelf.books.grants.commit(D1)
    assert await reserve(shelf, D1) is Reservation.MADE
    for unknown in (shelf.books.grants.commit, shelf.books.grants.release):
        await unknown(DeliveryId("dlv_none"))
    assert await shelf.remaining() == (1, 1)


async def test_nobody_who_granted_nothing_has_anything(shelf: BooksWorld) -> None:
    assert await reserve(shelf, D1) is Reservation.NONE_LEFT
    await shelf.books.grants.clear(KEY)
    assert await shelf.books.grants.balances(KEY.account, KEY.address) == []
    assert await shelf.books.grants.holders(KEY) == []


async def test_an_agreement_counts_once_within_its_key(shelf: BooksWorld) -> None:
    grants = shelf.books.grants
    books = [shelf.books, shelf.sibling] * 5
    added = await asyncio.gather(*(b.grants.add(KEY, 3, once="event_1") for b in books))
    assert sorted(added) == [False] * 9 + [True]
    assert await shelf.remaining() == (3, 0)
    for other in (replace(KEY, template="tpl_2"), replace(KEY, address="o_2"), replace(KEY, account=MINI)):
        assert await grants.add(other, 1, once="event_1")
        assert await shelf.remaining(other) == (1, 0)
    assert await grants.add(KEY, 1, once="event_2")
    assert await shelf.remaining() == (4, 0)


async def test_many_agreements_at_once_all_count(shelf: BooksWorld) -> None:
    books = [shelf.books, shelf.sibling] * 10
    await asyncio.gather(*(b.grants.add(KEY, 1, once=f"event_{n}") for n, b in enumerate(books)))
    assert await shelf.remaining() == (20, 0)


async def test_fifty_at_once_never_take_more_than_there_is(shelf: BooksWorld) -> None:
    await granted(shelf, 7)
    books = [shelf.books, shelf.sibling] * 25
    answers = await asyncio.gather(
        *(b.grants.reserve(KEY, DeliveryId(f"dlv_{n}"), now=NOW) for n, b in enumerate(books))
    )
    assert Counter(answers) == {Reservation.MADE: 7, Reservation.NONE_LEFT: 43}
    assert await shelf.remaining() == (0, 7)
    assert len(await shelf.books.grants.holders(KEY)) == 7


async def test_tries_of_one_delivery_at_once_take_one(shelf: BooksWorld) -> None:
    await granted(shelf, 7)
    books = [shelf.books, shelf.sibling] * 10
    answers = await asyncio.gather(*(b.grants.reserve(KEY, D1, now=NOW) for b in books))
    assert Counter(answers) == {Reservation.MADE: 1, Reservation.HELD: 19}
    await asyncio.gather(*(b.grants.release(D1) for b in books))
    assert await shelf.remaining() == (7, 0)


async def test_reserving_releasing_and_spending_at_once_adds_up(shelf: BooksWorld) -> None:
    await granted(shelf, 10)

    async def life(number: int) -> int:
        books = (shelf.books, shelf.sibling)[number % 2]
        delivery = DeliveryId(f"dlv_{number}")
        if await books.grants.reserve(KEY, delivery, now=NOW) is not Reservation.MADE:
            return 0
        if number % 3:
            await books.grants.release(delivery)
            return 0
        await books.grants.commit(delivery)
        return 1

    spent = sum(await asyncio.gather(*(life(number) for number in range(50))))
    assert await shelf.remaining() == (10 - spent, 0)


async def test_what_was_cleared_does_not_come_back(shelf: BooksWorld) -> None:
    grants = shelf.books.grants
    await granted(shelf, 5)
    await reserve(shelf, D1)
    await reserve(shelf, D2)
    await grants.clear(KEY)
    assert await shelf.remaining() == (0, 2)
    await grants.release(D1)
    assert await shelf.remaining() == (0, 1)
    await grants.add(KEY, 1, once="second")
    await grants.release(D2)
    assert await shelf.remaining() == (1, 0), "granted once since then, whatever was reserved before"
    assert await reserve(shelf, D3) is Reservation.MADE
    await grants.release(D3)
    assert await shelf.remaining() == (1, 0)


async def test_a_long_term_subscription_is_not_counted_and_holds_all_the_same(shelf: BooksWorld) -> None:
    grants = shelf.books.grants
    await grants.set_unlimited(KEY, True)
    assert [await reserve(shelf, d) for d in (D1, D2)] == [Reservation.MADE] * 2
    assert await grants.holders(KEY) == [D1, D2]
    (balance,) = await grants.balances(KEY.account, KEY.address)
    assert (balance.unlimited, balance.remaining, balance.reserved) == (True, 0, 2)
    await grants.commit(D1)
    assert await reserve(shelf, D1) is Reservation.SPENT
    await grants.set_unlimited(KEY, False)
    await grants.release(D2)
    assert await shelf.remaining() == (0, 0), "what was not counted is not given back"
    assert await reserve(shelf, D3) is Reservation.NONE_LEFT


async def test_clearing_ends_a_long_term_subscription(shelf: BooksWorld) -> None:
    await shelf.books.grants.set_unlimited(KEY, True)
    await shelf.books.grants.clear(KEY)
    assert await reserve(shelf, D1) is Reservation.NONE_LEFT


async def test_a_delivery_has_one_grant_wherever_it_goes(shelf: BooksWorld) -> None:
    await granted(shelf, 1)
    other = replace(KEY, address="o_2")
    await shelf.books.grants.add(other, 1, once="a")
    await reserve(shelf, D1)
    assert await reserve(shelf, D1, other) is Reservation.HELD
    assert await shelf.remaining(other) == (1, 0)


async def test_holders_are_listed_oldest_first_and_stale_ones_found(shelf: BooksWorld) -> None:
    grants = shelf.books.grants
    await granted(shelf, 3)
    for delivery, minutes in ((D2, 1), (D1, 2), (D3, 3)):
        await grants.reserve(KEY, delivery, now=NOW + timedelta(minutes=minutes))
    assert await grants.holders(KEY) == [D2, D1, D3]
    assert await grants.stale(NOW + timedelta(minutes=3), 10) == [D2, D1]
    assert await grants.stale(NOW + timedelta(minutes=3), 1) == [D2]
    await grants.commit(D2)
    assert await grants.holders(KEY) == [D1, D3]
    assert await grants.stale(NOW + timedelta(minutes=3), 10) == [D1]


async def test_balances_are_one_persons_by_template(shelf: BooksWorld) -> None:
    for template in ("b", "a"):
        await shelf.books.grants.add(replace(KEY, template=template), 1, once="x")
    await shelf.books.grants.add(replace(KEY, address="o_2"), 1, once="x")
    found = await shelf.books.grants.balances(KEY.account, KEY.address)
    assert [(b.key.template, b.remaining) for b in found] == [("a", 1), ("b", 1)]


async def test_a_count_has_bounds(shelf: BooksWorld) -> None:
    for count in (0, -1):
        with pytest.raises(ValueError, match=str(count)):
            await shelf.books.grants.add(KEY, count, once="x")
    for once in ("a", "b"):
        await shelf.books.grants.add(KEY, GRANTS_MOST, once=once)
    assert await shelf.remaining() == (GRANTS_MOST, 0)


async def test_what_only_guards_against_repeats_is_forgotten(shelf: BooksWorld) -> None:
    grants = shelf.books.grants
    await granted(shelf, 2)
    await grants.reserve(KEY, D1, now=NOW)
    await grants.reserve(KEY, D2, now=NOW)
    await grants.commit(D1)
    assert await grants.forget(NOW) == 0
    assert await grants.forget(NOW + timedelta(hours=1)) == 2
    assert await reserve(shelf, D2) is Reservation.HELD
    assert await grants.add(KEY, 1, once="first")


async def test_every_send_that_may_have_left_is_noted(shelf: BooksWorld) -> None:
    await granted(shelf, 3)
    for delivery in (D1, D2, D3):
        await reserve(shelf, delivery)
    await shelf.books.grants.commit(D1)
    await shelf.books.grants.release(D3)
    assert set(await shelf.books.grants.noted([D1, D2, D3, DeliveryId("dlv_9")])) == {D1, D2}
    assert await shelf.books.grants.noted([]) == []
