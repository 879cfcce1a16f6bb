"""What a WebhookBook promises of the way to an endpoint: who hears an event, who sends it and how that ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from hub.core.webhooks import HookAnswer, HookState
from hub.settings import Settings
from hub.store.sql_engine import open_database
from hub.store.webhook_outbox import put_events
from tests.contract.hooks_world import BAD, GOOD, LATER, MINUTE, OTHER, SECOND, Hooks, claim, event, way
from tests.contract.store_world import APP, NOW


async def test_an_event_goes_to_every_endpoint_that_subscribes_and_to_no_other(hooks: Hooks) -> None:
    all_of_it, some, one, other = [
        await hooks.make(*events)
        for events in (("*",), ("delivery.*",), ("task.decided", "delivery.failed"), ("delivery",))
    ]
    foreign = await hooks.make("*", app=OTHER)
    events = [event(1), event(2, "task.decided"), event(3, "deliveries.x"), event(4, "delivery.read")]
    await hooks.book.put_events(events)
    heard = {(out.event.id, out.delivery.endpoint) for out in await claim(hooks.book, LATER)}
    assert heard == {
        ("evt_0001", all_of_it),
        ("evt_0001", some),
        ("evt_0001", one),
        ("evt_0002", all_of_it),
        ("evt_0002", one),
        ("evt_0003", all_of_it),
        ("evt_0004", all_of_it),
        ("evt_0004", some),
    }
    assert other not in {endpoint for _, endpoint in heard}
    assert foreign not in {endpoint for _, endpoint in heard}


async def test_an_event_for_one_endpoint_goes_there_subscribed_or_not(hooks: Hooks) -> None:
    chosen, other = await hooks.make("nothing.else"), await hooks.make("*")
    foreign = await hooks.make("*", app=OTHER)
    await hooks.book.put_events([event(1, endpoint=chosen), event(2, endpoint=foreign)])
    (out,) = await claim(hooks.book, LATER)
    assert out.delivery.endpoint == chosen != other
    assert (out.event.id, out.event.type, out.event.data) == ("evt_0001", "delivery.failed", '{"号":1}')
    assert out.event.at == NOW + SECOND
    assert out.url.startswith("https://example.com/")
    assert [one.secret[:6] for one in out.secrets] == ["whsec_"]


async def test_the_same_event_twice_is_once(hooks: Hooks) -> None:
    endpoint = await hooks.make("*")
    await hooks.book.put_events([event(1), event(1)])
    (out,) = await claim(hooks.book, LATER)
    assert await hooks.book.settle(out.delivery, GOOD, next_due=None, now=LATER)
    await hooks.book.put_events([event(1, data='{"other":true}')])
    assert await claim(hooks.book, LATER + timedelta(days=1)) == []
    found = await hooks.book.event(APP, event(1).id)
    assert found is not None
    assert found[0].data == '{"号":1}'
    assert (await way(hooks.book, "evt_0001", endpoint)).state is HookState.DELIVERED


async def test_what_nobody_wants_is_not_kept(hooks: Hooks) -> None:
    await hooks.make("task.*")
    await hooks.book.put_events([event(1)])
    await hooks.book.put_events([])
    assert await hooks.book.event(APP, event(1).id) is None


async def test_a_claim_lasts_until_its_lease_ends(hooks: Hooks) -> None:
    await hooks.make("*")
    await hooks.book.put_events([event(1)])
    assert await claim(hooks.book, NOW) == [], "not due yet"
    (first,) = await claim(hooks.book, LATER)
    assert first.delivery.attempts == 1
    assert await claim(hooks.book, LATER + SECOND) == []
    (second,) = await claim(hooks.book, LATER + MINUTE)
    assert (second.delivery.attempts, second.event.id) == (2, first.event.id)
    assert not await hooks.book.settle(first.delivery, GOOD, next_due=None, now=LATER), "overtaken"
    assert await hooks.book.settle(second.delivery, GOOD, next_due=None, now=LATER)
    assert not await hooks.book.settle(second.delivery, BAD, next_due=None, now=LATER)


async def test_of_two_claims_at_once_each_event_is_in_one(hooks: Hooks) -> None:
    await hooks.make("*")
    await hooks.make("delivery.*")
    await hooks.book.put_events([event(number) for number in range(40)])
    books = [hooks.book, hooks.sibling(), hooks.book, hooks.sibling()]
    taken: list[tuple[str, str]] = []
    for _ in range(20):
        found = await asyncio.gather(*(claim(book, LATER, limit=30) for book in books))
        taken += [(out.event.id, out.delivery.endpoint) for claimed in found for out in claimed]
        if len(taken) == 80:
            break
    assert len(taken) == len(set(taken)) == 80


async def test_none_fills_a_claim_alone(hooks: Hooks) -> None:
    loud, quiet = await hooks.make("loud"), await hooks.make("quiet")
    await hooks.book.put_events([event(number, "loud") for number in range(50)])
    await hooks.book.put_events([event(number, "quiet") for number in range(50, 53)])
    first = await claim(hooks.book, LATER, limit=20, each=8)
    assert [out.delivery.endpoint for out in first] == [loud] * 8 + [quiet] * 3
    assert [out.event.id for out in first[:8]] == [f"evt_{number:04}" for number in range(8)]
    assert await claim(hooks.book, LATER, each=8, busy={loud: 8, quiet: 3}) == []
    assert len(await claim(hooks.book, LATER, each=8, busy={loud: 6, quiet: 3})) == 2
    assert len(await claim(hooks.book, LATER, limit=5)) == 5
    assert await claim(hooks.book, LATER, limit=0) == []


async def test_a_failed_try_is_due_again_and_the_last_one_is_told(hooks: Hooks) -> None:
    endpoint = await hooks.make("*")
    await hooks.book.put_events([event(1)])
    (out,) = await claim(hooks.book, LATER)
    assert await hooks.book.settle(out.delivery, BAD, next_due=LATER + 5 * SECOND, now=LATER)
    waiting = await way(hooks.book, "evt_0001", endpoint)
    assert (waiting.state, waiting.status, waiting.error) == (HookState.PENDING, 500, "HTTP 500: 坏了")
    assert waiting.due_at == LATER + 5 * SECOND
    assert await claim(hooks.book, LATER + 4 * SECOND) == []
    (again,) = await claim(hooks.book, LATER + 5 * SECOND)
    long = HookAnswer(None, error="错" * 2_000)
    assert await hooks.book.settle(again.delivery, long, next_due=None, now=LATER + MINUTE)
    ended = await way(hooks.book, "evt_0001", endpoint)
    assert (ended.state, ended.status, ended.due_at) == (HookState.FAILED, None, None)
    assert ended.error == "错" * 512
    assert (ended.attempts, ended.updated_at, ended.created_at) == (2, LATER + MINUTE, NOW + SECOND)


async def test_a_disabled_endpoint_hears_nothing_and_what_waited_comes_when_it_is_enabled(
    hooks: Hooks,
) -> None:
    endpoint, other = await hooks.make("*"), await hooks.make("*")
    await hooks.book.put_events([event(1), event(2)])
    held = next(out for out in await claim(hooks.book, LATER, limit=1, busy={other: 9}, each=1))
    await hooks.book.disable(endpoint, "410 Gone", now=LATER)
    known = await hooks.book.endpoint(APP, endpoint)
    assert known is not None
    assert (known.disabled_at, known.disabled_reason) == (LATER, "410 Gone")
    await hooks.book.disable(endpoint, "again", now=LATER + SECOND)
    assert (await hooks.book.endpoint(APP, endpoint)) == known
    await hooks.book.put_events([event(3)])
    assert {out.delivery.endpoint for out in await claim(hooks.book, LATER + MINUTE)} == {other}
    assert await hooks.book.settle(held.delivery, GOOD, next_due=None, now=LATER), "its answer still counts"
    hooks.now = LATER + 2 * MINUTE
    await hooks.enable(endpoint)
    heard = await claim(hooks.book, LATER + 2 * MINUTE, busy={other: 100})
    assert [(out.event.id, out.delivery.endpoint) for out in heard] == [("evt_0002", endpoint)]


async def test_a_deleted_endpoint_hears_nothing_more(hooks: Hooks) -> None:
    endpoint = await hooks.make("*")
    await hooks.book.put_events([event(1)])
    (held,) = await claim(hooks.book, LATER)
    await hooks.book.put_events([event(2)])
    await hooks.drop(endpoint)
    assert await claim(hooks.book, LATER + MINUTE) == []
    assert await hooks.book.endpoint(APP, endpoint) is None
    found = await hooks.book.event(APP, event(1).id)
    assert found is not None
    assert found[1] == []
    await hooks.book.settle(held.delivery, GOOD, next_due=None, now=LATER)
    assert await hooks.book.replay(APP, events=[event(1).id], now=LATER) == 0


async def test_a_transaction_that_is_rolled_back_tells_nobody(
    hooks: Hooks, request: pytest.FixtureRequest, store_kind: str
) -> None:
    if store_kind == "memory":
        return
    await hooks.make("*")
    settings = Settings(database_url=request.getfixturevalue("migrated_url"))
    async with open_database(settings) as database:

        async def fail() -> None:
            async with database.writing() as connection:
                await put_events(connection, database.dialect, [event(number) for number in range(300)])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await claim(hooks.book, LATER) == []
        async with database.writing() as connection:
            await put_events(connection, database.dialect, [event(number) for number in range(300)])
    assert len(await claim(hooks.book, LATER, limit=500)) == 300
