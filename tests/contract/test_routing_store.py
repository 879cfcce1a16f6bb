"""What the routing store promises under concurrent callers, over every database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from hub.core.control import EventScope, ReplayFilter, ScheduledRow, ScheduledState
from hub.core.delivery import Delivery, DeliveryState
from hub.core.message import (
    AppId,
    Draft,
    IdempotencyClaim,
    NotificationDraft,
    ToConversation,
    ToInbox,
    ToUser,
    UserKey,
)
from hub.core.outcome import Reason
from hub.core.policy import Hop, Policy
from hub.core.records import AppSettings
from hub.core.routing_ports import CapWant, DigestPart, Facts
from hub.store.sql import SqlStore
from hub.store.sql_scheduled import decode, encode
from hub.store.tables import metadata
from tests.contract.store_builders import batch, delivery, inbox, item, notification
from tests.contract.store_world import APP, NOW, SqlWorld, sql_world

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
POLICY = Policy((Hop("wechat_mp"),))


@pytest.fixture
async def base(migrated_url: str, of_plan: dict[str, Any]) -> AsyncIterator[SqlWorld]:
    """A database of each kind, with either plan, with a few people."""
    async with sql_world(migrated_url, redis_url=of_plan.get("redis_url", "")) as made:
        yield made


def store_of(base: SqlWorld) -> SqlStore:
    assert isinstance(base.store, SqlStore)
    return base.store


def sibling_of(base: SqlWorld) -> SqlStore:
    sibling = base.sibling()
    assert isinstance(sibling, SqlStore)
    return sibling


async def told(
    base: SqlWorld, users: Sequence[UserKey], seq: int, **own: object
) -> tuple[NotificationDraft, list[Delivery]]:
    """A committed notification with a queued delivery for each user."""
    draft = replace(notification(POLICY), **own)  # type: ignore[arg-type]
    one = item(inbox().id, seq, dict.fromkeys(users, seq), notification=draft, inbox=True)
    rows = [delivery(one[1], user) for user in users]
    await base.store.commit(batch(one, made=[inbox()], deliveries=rows))
    return draft, rows


def want(row: Delivery, limit: int, *, rule: str = "r") -> CapWant:
    return CapWant(row.id, row.user, ((rule, NOW, NOW + DAY, limit),))


async def test_a_cap_is_not_overspent_by_many_at_once(base: SqlWorld) -> None:
    stores = [store_of(base), sibling_of(base)]
    user = base.people[0]
    rows = [(await told(base, [user], seq))[1][0] for seq in range(1, 13)]
    answers = await asyncio.gather(
        *(stores[n % 2].take_caps([want(row, 5)], NOW) for n, row in enumerate(rows))
    )
    denied = [id_ for answer in answers for id_ in answer]
    assert len(denied) == 7
    again = await store_of(base).take_caps([want(row, 5) for row in rows], NOW)
    assert again.keys() == set(denied)


async def test_a_delivery_is_counted_once_whoever_asks(base: SqlWorld) -> None:
    stores = [store_of(base), sibling_of(base)]
    first, second = [(await told(base, base.people[:1], seq))[1][0] for seq in (1, 2)]
    answers = await asyncio.gather(*(stores[n % 2].take_caps([want(first, 2)], NOW) for n in range(6)))
    assert not any(answers)
    assert await store_of(base).take_caps([want(second, 2)], NOW) == {}


async def test_all_rules_are_used_or_none(base: SqlWorld) -> None:
    store = store_of(base)
    rows = [(await told(base, base.people[:1], seq))[1][0] for seq in (1, 2, 3)]

    def both(row: Delivery) -> CapWant:
        return CapWant(row.id, row.user, (("a", NOW, NOW + DAY, 5), ("b", NOW, NOW + DAY, 1)))

    assert await store.take_caps([both(rows[0])], NOW) == {}
    assert await store.take_caps([both(rows[1])], NOW) == {rows[1].id: "b"}
    assert await store.take_caps([want(rows[2], 2, rule="a")], NOW) == {}


async def test_a_digest_is_sent_by_one_of_many_that_ask_at_once(base: SqlWorld) -> None:
    stores = [store_of(base), sibling_of(base)]
    rows = [(await told(base, base.people[:1], seq))[1][0] for seq in range(1, 9)]
    closes = NOW + MINUTE

    async def ask(n: int, row: Delivery, now: object = NOW) -> DigestPart:
        answer = await stores[n % 2].join_digest(row, key="k", closes_at=closes, now=now)  # type: ignore[arg-type]
        return answer.part

    joined = await asyncio.gather(*(ask(n, row) for n, row in enumerate(rows)))
    assert set(joined) == {DigestPart.WAITS}
    parts = await asyncio.gather(*(ask(n, row, closes) for n, row in enumerate([*rows, *rows])))
    senders = {row.id for row, part in zip([*rows, *rows], parts, strict=True) if part is DigestPart.SENDS}
    assert len(senders) == 1
    assert await store_of(base).digest_sizes([row.id for row in rows]) == dict.fromkeys(senders, 8)

    (late,) = (await told(base, base.people[:1], 9))[1]
    answer = await store_of(base).join_digest(late, key="k", closes_at=closes + MINUTE, now=closes)
    assert (answer.part, answer.until) == (DigestPart.WAITS, closes + MINUTE)


async def test_a_member_joins_once_its_sender_has_left_and_follows_one_that_never_will(
    base: SqlWorld,
) -> None:
    store = store_of(base)
    first, second, third = [(await told(base, base.people[:1], seq))[1][0] for seq in (1, 2, 3)]
    for row in (first, second, third):
        await store.join_digest(row, key="k", closes_at=NOW, now=NOW - MINUTE)

    async def part(row: Delivery) -> DigestPart:
        return (await store.join_digest(row, key="k", closes_at=NOW, now=NOW)).part

    assert [await part(row) for row in (first, second)] == [DigestPart.SENDS, DigestPart.WAITS]
    await store.save([replace(first, state=DeliveryState.CANCELED, reason=Reason.READ, due_at=None)])
    assert [await part(row) for row in (second, third)] == [DigestPart.SENDS, DigestPart.WAITS]
    assert await store.digest_sizes([first.id, second.id]) == {second.id: 2}
    trying = replace(second, state=DeliveryState.ATTEMPTING, attempts=1)
    await store.save([trying])
    assert await part(third) is DigestPart.WAITS
    refused = replace(trying, version=1, state=DeliveryState.FAILED, reason=Reason.USER_BLOCK, due_at=None)
    await store.save([refused])
    failed = await store.join_digest(third, key="k", closes_at=NOW, now=NOW)
    assert (failed.part, failed.reason) == (DigestPart.FAILED, Reason.USER_BLOCK)
    await store.save([replace(refused, version=2, state=DeliveryState.ACCEPTED, reason=None)])
    assert await part(third) is DigestPart.JOINED
    assert await store.forget_routing(NOW + MINUTE) == 1
    assert await store.digest_sizes([second.id]) == {}


async def test_facts_are_what_is_read_muted_and_superseded(base: SqlWorld) -> None:
    store = store_of(base)
    one, other, third = base.people[:3]
    _, rows = await told(base, [one, other, third], 1, collapse_key="k")
    await told(base, [one], 2, collapse_key="k")
    await store.move_read(other, inbox().id, 1)
    member = metadata.tables["member"]
    async with store.database.writing() as connection:
        await connection.execute(
            insert(member).values(
                conversation_id=inbox().id,
                user_id=third,
                role="member",
                joined_seq=0,
                read_seq=0,
                muted=True,
                joined_at=NOW,
            )
        )
    found = await store.facts(rows)
    assert [found[row.id] for row in rows] == [
        Facts(superseded=True),
        Facts(read=True),
        Facts(muted=True),
    ]
    assert await store.facts([]) == {}


async def test_older_ones_of_a_collapse_key_are_found_for_the_same_people_only(base: SqlWorld) -> None:
    store = store_of(base)
    one, other = base.people[:2]
    _, (mine, theirs, *_) = await told(base, [one, other], 1, collapse_key="k")
    _, (another,) = await told(base, [one], 2, collapse_key="K")
    await store.save([replace(another, state=DeliveryState.WAITING)])
    new, _ = await told(base, [one], 3, collapse_key="k")
    assert [row.id for row in await store.superseded_by([new.id])] == [mine.id]
    await store.save([replace(mine, state=DeliveryState.DELIVERED)])
    assert await store.superseded_by([new.id]) == []
    assert theirs.user == other


async def test_a_scope_finds_its_notifications_of_its_app(base: SqlWorld) -> None:
    store = store_of(base)
    one, _ = await told(base, base.people[:1], 1, thread="t")
    two, _ = await told(base, base.people[:1], 2, thread="t", dedupe_key="d")
    assert set(await store.in_scope(APP, EventScope(thread="t"))) == {one.id, two.id}
    assert await store.in_scope(APP, EventScope(dedupe_key="d")) == [two.id]
    assert await store.in_scope(APP, EventScope(notifications=(one.id,))) == [one.id]
    assert await store.in_scope(APP, EventScope()) == []
    assert await store.in_scope(AppId("app_other"), EventScope(thread="t", dedupe_key="d")) == []


async def test_dead_letters_are_found_by_what_they_are(base: SqlWorld) -> None:
    store = store_of(base)
    draft, rows = await told(base, base.people[:4], 1)
    failed = replace(rows[0], state=DeliveryState.FAILED, reason=Reason.USER_BLOCK, due_at=None)
    held = replace(rows[1], state=DeliveryState.UNKNOWN, due_at=None)
    waits = replace(rows[2], state=DeliveryState.UNKNOWN, due_at=NOW)
    await store.save([failed, held, waits])

    async def dead(**own: object) -> set[str]:
        return {row.id for row in await store.dead(APP, ReplayFilter(**own))}  # type: ignore[arg-type]

    assert await dead() == {failed.id, held.id}
    assert await dead(reason=Reason.USER_BLOCK) == await dead(state=DeliveryState.FAILED) == {failed.id}
    assert await dead(user=held.user) == await dead(ids=(held.id,)) == {held.id}
    assert await dead(notification=draft.id, channel="wechat_mp", limit=1) == {failed.id}
    assert await dead(since=NOW + MINUTE) == await dead(until=NOW) == set()
    assert await store.dead(AppId("app_other"), ReplayFilter()) == []


def appointment(base: SqlWorld, **own: object) -> ScheduledRow:
    draft = item(inbox().id, 1, {}, notification=notification(POLICY, dedupe="d"))[0]
    draft = replace(draft, to=ToInbox(base.people))
    assert draft.notification is not None
    row = ScheduledRow(
        draft.notification.id, APP, draft.id, ScheduledState.SCHEDULED, NOW, draft, NOW - MINUTE
    )
    return replace(row, **own)  # type: ignore[arg-type]


async def test_an_appointment_is_kept_once_for_its_keys(base: SqlWorld) -> None:
    store, sibling = store_of(base), sibling_of(base)
    rows = [appointment(base, idempotency_key="i", fingerprint="f") for _ in range(6)]
    kept = await asyncio.gather(*((store if n % 2 else sibling).schedule(row) for n, row in enumerate(rows)))
    assert len({row.id for row in kept}) == 1
    assert await store.scheduled(APP, kept[0].id) == kept[0]
    assert kept[0] in rows
    assert await store.scheduled(AppId("app_other"), kept[0].id) is None


async def test_an_appointment_is_taken_by_one_at_its_time(base: SqlWorld) -> None:
    stores = [store_of(base), sibling_of(base)]
    row = await stores[0].schedule(appointment(base))
    assert await stores[0].take_scheduled(now=NOW - MINUTE, lease_until=NOW, limit=5) == []
    taken = await asyncio.gather(
        *(stores[n % 2].take_scheduled(now=NOW, lease_until=NOW + MINUTE, limit=5) for n in range(4))
    )
    assert [one.id for some in taken for one in some] == [row.id]
    assert not await stores[0].end_scheduled(row.id, ScheduledState.CANCELED, now=NOW)
    later = NOW + 2 * MINUTE
    assert len(await stores[1].take_scheduled(now=later, lease_until=later + MINUTE, limit=5)) == 1
    assert await stores[0].end_scheduled(row.id, ScheduledState.REFUSED, now=later, detail="无")
    assert not await stores[0].end_scheduled(row.id, ScheduledState.SENT, now=later)
    ended = await stores[0].scheduled(APP, row.id)
    assert ended is not None
    assert (ended.state, ended.detail) == (ScheduledState.REFUSED, "无")
    assert await stores[0].forget_routing(later) == 0
    assert await stores[0].forget_routing(later + MINUTE) == 1


async def test_what_was_canceled_frees_its_keys(base: SqlWorld) -> None:
    store = store_of(base)
    first = await store.schedule(appointment(base, idempotency_key="i"))
    assert await store.end_scheduled(first.id, ScheduledState.CANCELED, now=NOW)
    second = await store.schedule(appointment(base, idempotency_key="i"))
    assert second.id != first.id


async def test_settings_are_read_with_what_older_hubs_left_out(base: SqlWorld) -> None:
    store, app = store_of(base), metadata.tables["app"]
    async with store.database.writing() as connection:
        found = (await connection.execute(select(app.c.id).where(app.c.id == APP))).first()
        values = {"id": APP, "name": "a", "created_at": NOW, "settings": '{"compression":true}'}
        change = insert(app).values(values) if found is None else update(app).values(values)
        await connection.execute(change)
    assert await store.settings_of(APP) == AppSettings(compression=True)
    assert await store.settings_of(AppId("app_none")) == AppSettings()


@pytest.mark.parametrize(
    "to", [ToInbox((UserKey(1), UserKey(2))), ToUser(UserKey(3)), ToConversation(inbox().id)]
)
def test_a_draft_is_kept_whole(to: ToInbox | ToUser | ToConversation) -> None:
    draft: Draft = item(
        inbox().id,
        1,
        {},
        body='{"标题":"申请"}',
        client="c",
        mentions=("u1",),
        expires_at=NOW,
        notification=replace(notification(POLICY), thread="t", data="{}"),
        claim=IdempotencyClaim("k", "f"),
    )[0]
    whole = replace(draft, to=to, control=True, as_member=False)
    assert decode(encode(whole)) == whole
