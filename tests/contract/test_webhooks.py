"""What a WebhookBook promises, over memory and every database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, insert

from hub.core.message import AppId
from hub.core.records import PageRequest
from hub.core.webhooks import (
    Endpoint,
    EndpointId,
    HookAnswer,
    HookDelivery,
    HookState,
    Outgoing,
    WebhookBook,
    WebhookEvent,
    WebhookEventId,
    WebhookSecret,
    new_webhook_secret,
)
from hub.settings import Settings
from hub.store.directory_sql import DirectoryRooms, directory_rooms
from hub.store.ids import new_id
from hub.store.memory_webhooks import MemoryWebhooks
from hub.store.schema import metadata
from hub.store.sql_engine import open_database
from hub.store.webhook_outbox import put_events
from tests.contract.conftest import SQL
from tests.contract.store_world import APP, NOW
from tests.support.cluster import SECRET

pytestmark = pytest.mark.parametrize("store_kind", ["memory", *SQL], indirect=True)

OTHER = AppId("app_2")
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
GOOD, BAD = HookAnswer(204), HookAnswer(500, error="HTTP 500: 坏了")


class Hooks(Protocol):
    """A book, with the ways to change endpoints that the directory has."""

    book: WebhookBook
    now: datetime

    async def make(self, *events: str, app: AppId = APP) -> EndpointId: ...

    async def enable(self, endpoint: EndpointId) -> None: ...

    async def drop(self, endpoint: EndpointId) -> None: ...

    def sibling(self) -> WebhookBook: ...


class MemoryHooks:
    """Over memory."""

    def __init__(self) -> None:
        self.now = NOW
        self._memory = MemoryWebhooks(clock=lambda: self.now)
        self.book: WebhookBook = self._memory

    async def make(self, *events: str, app: AppId = APP) -> EndpointId:
        id_ = EndpointId(new_id("whe"))
        endpoint = Endpoint(id_, app, "https://example.com/钩".encode().decode(), events, "", self.now)
        self._memory.put_endpoint(endpoint, WebhookSecret(new_webhook_secret()))
        return id_

    async def enable(self, endpoint: EndpointId) -> None:
        known = await self.book.endpoint(APP, endpoint)
        assert known is not None
        secret = WebhookSecret(new_webhook_secret())
        self._memory.put_endpoint(replace(known, disabled_at=None, disabled_reason=""), secret)

    async def drop(self, endpoint: EndpointId) -> None:
        self._memory.drop_endpoint(endpoint)

    def sibling(self) -> WebhookBook:
        return self.book


class SqlHooks:
    """Over a database."""

    def __init__(self, rooms: DirectoryRooms, sibling: WebhookBook) -> None:
        self.now = NOW
        self._rooms = rooms
        self.book: WebhookBook = rooms.webhooks
        self._sibling = sibling

    async def make(self, *events: str, app: AppId = APP) -> EndpointId:
        async with self._rooms.directory.change(app, actor="test") as change:
            made, _ = await change.create_webhook("https://example.com/hook", events, "办公")
        return made.id

    async def enable(self, endpoint: EndpointId) -> None:
        async with self._rooms.directory.change(APP, actor="test") as change:
            await change.patch_webhook(endpoint, enabled=True)

    async def drop(self, endpoint: EndpointId) -> None:
        async with self._rooms.directory.change(APP, actor="test") as change:
            await change.delete_webhook(endpoint)

    def sibling(self) -> WebhookBook:
        return self._sibling


@pytest.fixture
async def hooks(request: pytest.FixtureRequest, store_kind: str) -> AsyncIterator[Hooks]:
    """A book of each kind."""
    if store_kind == "memory":
        yield MemoryHooks()
        return
    url = request.getfixturevalue("migrated_url")
    settings = Settings(database_url=url, secret_key=SecretStr(SECRET))
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(open_database(settings)) for _ in range(2)]
        made: list[SqlHooks] = []

        def clock() -> datetime:
            return made[0].now if made else NOW

        rooms = [directory_rooms(database, settings, clock=clock, new_id=new_id) for database in databases]
        async with databases[0].writing() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(delete(table))
            for app in (APP, OTHER):
                row = {"id": app, "name": "", "settings": "{}", "created_at": NOW}
                await connection.execute(insert(metadata.tables["app"]).values(row))
        made.append(SqlHooks(rooms[0], rooms[1].webhooks))
        yield made[0]


def event(number: int, type_: str = "delivery.failed", **more: object) -> WebhookEvent:
    """The n-th event, a second after the one before."""
    plain = WebhookEvent(
        WebhookEventId(f"evt_{number:04}"), APP, type_, NOW + number * SECOND, f'{{"号":{number}}}'
    )
    return replace(plain, **more)  # type: ignore[arg-type]


async def claim(book: WebhookBook, now: datetime, *, limit: int = 100, **more: object) -> Sequence[Outgoing]:
    return await book.claim(now=now, lease_until=now + MINUTE, limit=limit, **more)  # type: ignore[arg-type]


async def way(book: WebhookBook, event_id: str, endpoint: EndpointId) -> HookDelivery:
    found = await book.event(APP, WebhookEventId(event_id))
    assert found is not None
    return next(one for one in found[1] if one.endpoint == endpoint)


LATER = NOW + timedelta(hours=1)


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


async def test_events_are_replayed_by_name_or_by_failure(hooks: Hooks) -> None:
    endpoint, other = await hooks.make("*"), await hooks.make("*")
    await hooks.book.put_events([event(number) for number in range(1, 5)])
    for out in await claim(hooks.book, LATER):
        answer = GOOD if out.event.id == "evt_0001" else BAD
        moment = LATER + (2 * MINUTE if out.event.id == "evt_0003" else SECOND)
        ends = None if out.event.id != "evt_0004" else LATER + timedelta(days=9)
        await hooks.book.settle(out.delivery, answer, next_due=ends, now=moment)
    replay, now = hooks.book.replay, LATER + 3 * MINUTE
    assert await replay(APP, now=now) == 0
    assert await replay(OTHER, events=[event(1).id], now=now) == 0
    assert await replay(APP, failed_since=LATER + MINUTE, endpoint=endpoint, now=now) == 1
    assert await replay(APP, failed_since=LATER + MINUTE, now=now) == 1, "one is pending already"
    ids = [event(1).id, event(4).id, WebhookEventId("evt_none")]
    assert await replay(APP, events=ids, endpoint=other, now=now) == 1
    heard = {
        (out.event.id, out.delivery.endpoint, out.delivery.attempts) for out in await claim(hooks.book, now)
    }
    assert heard == {("evt_0003", endpoint, 1), ("evt_0003", other, 1), ("evt_0001", other, 1)}
    assert await replay(APP, failed_since=LATER, endpoint=endpoint, now=now) == 1


async def test_deliveries_are_listed_newest_first_page_by_page(hooks: Hooks) -> None:
    endpoint = await hooks.make("*")
    same = NOW + 99 * SECOND
    await hooks.book.put_events([event(number) for number in range(5)])
    await hooks.book.put_events([event(number, at=same) for number in range(5, 8)])
    seen: list[str] = []
    after = None
    while True:
        page = await hooks.book.deliveries(endpoint, PageRequest(3, after))
        seen += [one.event for one in page.items]
        after = page.next
        if after is None:
            break
    assert seen == [f"evt_{number:04}" for number in range(7, -1, -1)]
    (out, *_) = await claim(hooks.book, LATER)
    await hooks.book.settle(out.delivery, GOOD, next_due=None, now=LATER)
    done = await hooks.book.deliveries(endpoint, PageRequest(), state=HookState.DELIVERED)
    assert [one.event for one in done.items] == [out.event.id]
    assert (await hooks.book.deliveries(EndpointId("whe_none"), PageRequest())).items == []


async def test_how_an_endpoint_does_is_told(hooks: Hooks) -> None:
    endpoint = await hooks.make("*")
    await hooks.make("*")
    health = await hooks.book.health(endpoint)
    assert (health.pending, health.failed, health.waiting_since, health.last_error) == (0, 0, None, "")
    await hooks.book.put_events([event(number) for number in range(1, 4)])
    claimed = [out for out in await claim(hooks.book, LATER) if out.delivery.endpoint == endpoint]
    await hooks.book.settle(claimed[0].delivery, BAD, next_due=None, now=LATER)
    timeout = HookAnswer(None, error="no answer within 15 s")
    await hooks.book.settle(claimed[1].delivery, timeout, next_due=LATER + MINUTE, now=LATER + SECOND)
    health = await hooks.book.health(endpoint)
    assert (health.pending, health.failed, health.waiting_since) == (2, 1, NOW + 2 * SECOND)
    assert (health.last_status, health.last_error) == (None, "no answer within 15 s")
    assert health.last_failure_at == LATER + SECOND


async def test_an_app_is_asked_cheaply_whether_it_wants_to_hear(hooks: Hooks) -> None:
    assert not await hooks.book.wants(APP, "delivery.")
    endpoint = await hooks.make("task.*", "delivery.failed")
    for prefix, wanted in {"delivery.": True, "task.": True, "task.decided": True, "user.": False}.items():
        assert await hooks.book.wants(APP, prefix) is wanted, prefix
    assert not await hooks.book.wants(OTHER, "delivery.")
    await hooks.drop(endpoint)
    assert not await hooks.book.wants(APP, "delivery.")
    await hooks.make("*")
    assert await hooks.book.wants(APP, "delivery.")


async def test_old_events_are_forgotten_with_their_deliveries(hooks: Hooks) -> None:
    endpoint = await hooks.make("*")
    await hooks.book.put_events([event(number) for number in range(500)])
    assert await hooks.book.forget_events(NOW + 450 * SECOND) == 450
    assert await hooks.book.forget_events(NOW + 450 * SECOND) == 0
    left = await hooks.book.deliveries(endpoint, PageRequest(200))
    assert len(left.items) == 50


async def test_endpoints_are_listed_oldest_first_and_only_ones_own(hooks: Hooks) -> None:
    made = []
    for number in range(3):
        hooks.now = NOW + number * SECOND
        made.append(await hooks.make("*"))
    await hooks.make("*", app=OTHER)
    assert [one.id for one in await hooks.book.endpoints(APP)] == made
    assert await hooks.book.endpoint(OTHER, made[0]) is None
    assert await hooks.book.signed(OTHER, made[0]) is None
    found = await hooks.book.signed(APP, made[0])
    assert found is not None
    assert found[0].id == made[0]
    assert len(found[1]) == 1
    assert found[1][0].secret not in repr(found)


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
