"""What a WebhookBook tells of what was sent, what it replays of it, and when it forgets."""

from __future__ import annotations

from datetime import timedelta

from hub.core.records import PageRequest
from hub.core.webhooks import EndpointId, HookAnswer, HookState, WebhookEventId
from tests.contract.hooks_world import BAD, GOOD, LATER, MINUTE, OTHER, SECOND, Hooks, claim, event
from tests.contract.store_world import APP, NOW


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
