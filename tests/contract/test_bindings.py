"""What every book of bindings promises: who is who at which account, and how union ids are followed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from hub.core.accounts import AccountId, BindingState, Sighting, Ticket, TicketKind
from hub.core.errors import NotFound, Refused
from hub.core.message import UserKey
from tests.contract.books_world import ALONE, MINI, MP, OTHER_APP, THEIRS, U1, U2, BooksWorld
from tests.contract.store_world import APP, NOW


async def test_what_is_learnt_adds_up(shelf: BooksWorld) -> None:
    bindings = shelf.books.bindings
    (first,) = await bindings.note([Sighting(MP, "o_1", "event")])
    assert (first.user, first.union_id, first.state, first.source) == (
        None,
        None,
        BindingState.ACTIVE,
        "event",
    )
    await shelf.note(MP, "o_1", union_id="un_1", state=BindingState.UNFOLLOWED)
    (bound,) = await bindings.note([Sighting(MP, "o_1", "qr", user=U1)])
    assert (bound.user, bound.union_id, bound.state, bound.source) == (
        U1,
        "un_1",
        BindingState.UNFOLLOWED,
        "qr",
    )
    await shelf.note(MP, "o_1", state=BindingState.ACTIVE, source="send")
    found = await bindings.binding(MP, "o_1")
    assert found is not None
    assert (found.user, found.state, found.source) == (U1, BindingState.ACTIVE, "qr")
    assert found.updated_at > bound.updated_at > first.updated_at
    assert await bindings.binding(MP, "o_2") is None


async def test_a_repeat_that_says_nothing_new_changes_nothing(shelf: BooksWorld) -> None:
    await shelf.note(MP, "o_1", union_id="un_1", state=BindingState.BLOCKED)
    before = await shelf.books.bindings.binding(MP, "o_1")
    await shelf.note(MP, "o_1", union_id="un_1", state=BindingState.BLOCKED)
    assert await shelf.books.bindings.binding(MP, "o_1") == before


async def test_the_latest_proof_says_whose_an_address_is(shelf: BooksWorld) -> None:
    await shelf.note(MP, "o_1", user=U1)
    await shelf.note(MP, "o_1", user=U2)
    assert await shelf.user_of(MP, "o_1") == U2
    assert await shelf.books.bindings.addresses([MP], [U1]) == {}
    await shelf.books.bindings.note(
        [Sighting(MP, "o_2", "import", user=U1), Sighting(MP, "o_2", "import", user=U2)]
    )
    assert await shelf.user_of(MP, "o_2") == U2


async def test_of_several_addresses_the_one_proved_last_is_written_to(shelf: BooksWorld) -> None:
    for address in ("o_b", "o_a", "o_b"):
        await shelf.note(MP, address, user=U1)
    await shelf.note(MP, "o_a", state=BindingState.UNFOLLOWED)
    await shelf.note(MINI, "p_2", user=U2, state=BindingState.INVALID)
    await shelf.note(ALONE, "q_1", user=U1)
    found = await shelf.books.bindings.addresses([MP, MINI], [U1, U2, UserKey(3)])
    assert {key: binding.address for key, binding in found.items()} == {(MP, U1): "o_b", (MINI, U2): "p_2"}
    assert found[MINI, U2].state is BindingState.INVALID
    assert await shelf.books.bindings.addresses([], [U1]) == {}
    assert await shelf.books.bindings.addresses([MP], []) == {}


async def test_a_users_bindings_are_listed_newest_first(shelf: BooksWorld) -> None:
    await shelf.note(MP, "o_1", user=U1)
    await shelf.note(MINI, "p_1", user=U1)
    await shelf.note(MINI, "p_2", user=U2)
    await shelf.note(MP, "o_1", state=BindingState.BLOCKED)
    assert [b.address for b in await shelf.books.bindings.bindings_of(APP, U1)] == ["o_1", "p_1"]
    assert await shelf.books.bindings.bindings_of(OTHER_APP, U1) == []


async def test_a_user_bound_at_the_mini_program_is_known_at_the_official_account(shelf: BooksWorld) -> None:
    await shelf.note(MP, "o_1", union_id="un_1")
    login = Sighting(MINI, "p_1", "code", user=U1, union_id="un_1")
    written = await shelf.books.bindings.note([login])
    assert [(b.account, b.address, b.user, b.source) for b in written] == [
        (MINI, "p_1", U1, "code"),
        (MP, "o_1", U1, "union"),
    ]
    assert await shelf.user_of(MP, "o_1") == U1


async def test_a_follower_with_a_known_union_id_is_that_user(shelf: BooksWorld) -> None:
    await shelf.note(MINI, "p_1", user=U1, union_id="un_1")
    (follower,) = await shelf.books.bindings.note([Sighting(MP, "o_1", "event", union_id="un_1")])
    assert (follower.user, follower.source) == (U1, "union")
    found = await shelf.books.bindings.addresses([MP, MINI], [U1])
    assert {key[0] for key in found} == {MP, MINI}


async def test_a_union_id_that_is_learnt_later_is_followed_too(shelf: BooksWorld) -> None:
    await shelf.note(MP, "o_1", user=U1)
    await shelf.note(MINI, "p_1", union_id="un_1")
    await shelf.note(MP, "o_1", union_id="un_1")
    assert await shelf.user_of(MINI, "p_1") == U1


async def test_a_newer_proof_moves_all_addresses_with_the_union_id(shelf: BooksWorld) -> None:
    await shelf.note(MINI, "p_1", user=U1, union_id="un_1")
    await shelf.note(MP, "o_1", union_id="un_1")
    await shelf.note(MP, "o_1", user=U2)
    assert await shelf.user_of(MINI, "p_1") == U2
    await shelf.note(MINI, "p_9", user=U1)
    await shelf.note(MINI, "p_9", union_id="un_1")
    assert await shelf.user_of(MP, "o_1") == U1, "p_9 was proved last"


async def test_union_ids_end_at_the_family_and_at_the_app(shelf: BooksWorld) -> None:
    await shelf.note(MINI, "p_1", user=U1, union_id="un_1")
    for account in (ALONE, THEIRS):
        await shelf.note(account, "x_1", union_id="un_1")
        assert await shelf.user_of(account, "x_1") is None


async def test_an_import_follows_union_ids_among_itself(shelf: BooksWorld) -> None:
    people = [
        Sighting(MINI, f"p_{n}", "import", user=UserKey(n), union_id=f"un_{n}") for n in range(1, 1_001)
    ]
    fans = [Sighting(MP, f"o_{n}", "import", union_id=f"un_{n}") for n in range(1, 1_001)]
    assert len(await shelf.books.bindings.note(people)) == 1_000
    written = await shelf.books.bindings.note(fans)
    assert [b.user for b in written] == list(range(1, 1_001))


async def test_the_two_ends_of_a_union_id_learnt_at_once_meet(shelf: BooksWorld) -> None:
    ends = []
    for n in range(1, 11):
        ends.append((shelf.books, Sighting(MP, f"o_{n}", "event", union_id=f"un_{n}")))
        login = Sighting(MINI, f"p_{n}", "code", user=UserKey(n), union_id=f"un_{n}")
        ends.append((shelf.sibling, login))
    await asyncio.gather(*(books.bindings.note([sighting]) for books, sighting in ends))
    assert [await shelf.user_of(MP, f"o_{n}") for n in range(1, 11)] == list(range(1, 11))


async def test_one_address_noted_by_many_at_once_is_one(shelf: BooksWorld) -> None:
    books = [shelf.books, shelf.sibling] * 10
    await asyncio.gather(*(b.bindings.note([Sighting(ALONE, "q_1", "event", user=U1)]) for b in books))
    assert [b.address for b in await shelf.books.bindings.bindings_of(APP, U1)] == ["q_1"]


async def test_unbinding_holds_until_there_is_a_newer_proof(shelf: BooksWorld) -> None:
    bindings = shelf.books.bindings
    await shelf.note(MINI, "p_1", user=U1, union_id="un_1")
    await shelf.note(MP, "o_1", union_id="un_1")
    assert await bindings.unbind(MP, U1)
    assert not await bindings.unbind(MP, U1)
    await shelf.note(MP, "o_1", union_id="un_1", state=BindingState.UNFOLLOWED)
    assert await shelf.user_of(MP, "o_1") is None
    assert await shelf.user_of(MINI, "p_1") == U1
    await shelf.note(MINI, "p_1", user=U1)
    assert await shelf.user_of(MP, "o_1") == U1


async def test_nothing_is_written_down_for_an_account_that_is_not_there(shelf: BooksWorld) -> None:
    with pytest.raises(NotFound) as told:
        await shelf.books.bindings.note(
            [Sighting(MP, "o_1", "event"), Sighting(AccountId("no"), "x", "event")]
        )
    assert told.value.code == "account_not_found"
    assert await shelf.books.bindings.binding(MP, "o_1") is None
    assert await shelf.books.bindings.note([]) == []


@pytest.mark.parametrize("address", ["", "o" * 129, "o\n1", "微信"])
async def test_what_no_provider_calls_an_address_is_refused(shelf: BooksWorld, address: str) -> None:
    with pytest.raises(Refused) as told:
        await shelf.books.bindings.note([Sighting(MP, address, "event")])
    assert told.value.code == "address_invalid"


def a_ticket(token: str = "t" * 32) -> Ticket:
    return Ticket(token, TicketKind.QR_SCENE, MP, U1, NOW + timedelta(minutes=10), "/done?用=1")


async def test_a_ticket_is_redeemed_once(shelf: BooksWorld) -> None:
    bindings = shelf.books.bindings
    await bindings.issue_ticket(a_ticket())
    assert await bindings.redeem_ticket("x", TicketKind.QR_SCENE, now=NOW) is None
    assert await bindings.redeem_ticket("t" * 32, TicketKind.OAUTH_STATE, now=NOW) is None
    assert await bindings.redeem_ticket("t" * 32, TicketKind.QR_SCENE, now=NOW) == a_ticket()
    assert await bindings.redeem_ticket("t" * 32, TicketKind.QR_SCENE, now=NOW) is None


async def test_a_ticket_has_its_time(shelf: BooksWorld) -> None:
    bindings = shelf.books.bindings
    ends = a_ticket().expires_at
    await bindings.issue_ticket(a_ticket())
    assert await bindings.redeem_ticket("t" * 32, TicketKind.QR_SCENE, now=ends) is None
    for token in ("a", "b"):
        await bindings.issue_ticket(a_ticket(token))
    assert await bindings.forget_tickets(ends) == 0
    assert await bindings.forget_tickets(ends + timedelta(seconds=1)) == 2
    assert await bindings.redeem_ticket("a", TicketKind.QR_SCENE, now=NOW) is None


async def test_of_two_who_bring_a_ticket_at_once_one_gets_it(shelf: BooksWorld) -> None:
    await shelf.books.bindings.issue_ticket(a_ticket())
    books = [shelf.books, shelf.sibling] * 5
    got = await asyncio.gather(
        *(b.bindings.redeem_ticket("t" * 32, TicketKind.QR_SCENE, now=NOW) for b in books)
    )
    assert [ticket for ticket in got if ticket is not None] == [a_ticket()]
