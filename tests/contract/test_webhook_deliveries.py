"""A delivery that somebody asked to hear of is told in the transaction that changes it, on every database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.delivery import Attempt, Delivery, DeliveryId, DeliveryState
from hub.core.outcome import Reason, Rejected
from hub.store.schema import metadata
from hub.store.webhook_deliveries import put_delivery_events
from tests.contract.store_world import APP, NOW, SqlWorld, World, sql_world
from tests.contract.test_delivery_store import planned

State = DeliveryState


@pytest.fixture
async def heard_by(migrated_url: str) -> Any:
    """A database with two endpoints: one hears of deliveries, one of nothing."""
    async with sql_world(migrated_url) as world:
        table = metadata.tables["webhook_endpoint"]
        async with world.database.writing() as connection:
            for id_, events in (("whe_all", '["delivery.*"]'), ("whe_none", '["task.*"]')):
                row = {"id": id_, "app_id": APP, "url": "https://example.com", "events": events}
                row |= {"description": "", "secrets": "sealed", "disabled_reason": ""}
                await connection.execute(insert(table).values(**row, created_at=NOW))
        yield world


async def told(world: SqlWorld) -> list[tuple[str, str, str]]:
    """(type, event, endpoint) of all that was put."""
    event, way = metadata.tables["webhook_event"], metadata.tables["webhook_delivery"]
    query = select(event.c.type, event.c.id, way.c.endpoint_id).join(way, way.c.event_id == event.c.id)
    return [tuple(row) for row in await world.database.rows(query.order_by(event.c.id, way.c.endpoint_id))]


async def rows_of(world: World, count: int) -> Sequence[Delivery]:
    rows = await planned(world, world.people[:count])
    return [replace(row, callback="*") for row in rows]


def event_id(delivery: Delivery, version: str) -> str:
    return f"evt_{delivery.id.removeprefix('dlv_')}_{version}"


async def test_each_end_is_told_and_what_is_on_its_way_is_not(heard_by: SqlWorld) -> None:
    rows = await rows_of(heard_by, 5)
    states = (State.DELIVERED, State.FAILED, State.UNKNOWN, State.SKIPPED, State.ATTEMPTING)
    await heard_by.store.save([replace(row, state=state) for row, state in zip(rows, states, strict=True)])
    assert await told(heard_by) == sorted(
        [
            ("delivery.delivered", event_id(rows[0], "1"), "whe_all"),
            ("delivery.failed", event_id(rows[1], "1"), "whe_all"),
            ("delivery.unknown", event_id(rows[2], "1"), "whe_all"),
            ("delivery.skipped", event_id(rows[3], "1"), "whe_all"),
        ],
        key=lambda one: one[1],
    )


async def test_reading_is_told_beside_the_state_and_each_once(heard_by: SqlWorld) -> None:
    (row,) = await rows_of(heard_by, 1)
    await heard_by.store.save([replace(row, state=State.DELIVERED, read=True)])
    await heard_by.store.save([replace(row, version=1, state=State.DELIVERED, read=True, escalated=True)])
    assert await told(heard_by) == [
        ("delivery.delivered", event_id(row, "1"), "whe_all"),
        ("delivery.read", event_id(row, "1r"), "whe_all"),
    ]


async def test_an_event_says_who_where_how_and_why(heard_by: SqlWorld) -> None:
    (row,) = await rows_of(heard_by, 1)
    failed = replace(
        row, state=State.FAILED, reason=Reason.UNSUBSCRIBED, provider_id="m1", callback="whe_none"
    )
    refused = Rejected(Reason.UNSUBSCRIBED, "用户拒收", "43101")
    await heard_by.store.save([failed], attempts=[Attempt(row.id, 1, NOW, NOW, refused)])
    assert await told(heard_by) == [("delivery.failed", event_id(row, "1"), "whe_none")]
    event = metadata.tables["webhook_event"]
    (stored,) = await heard_by.database.rows(select(event))
    assert (stored.app_id, stored.at) == (APP, NOW)
    assert json.loads(stored.data) == {
        "notification": row.notification,
        "delivery": row.id,
        "user_id": f"u{row.user}",
        "channel": "wechat_mp",
        "state": "failed",
        "reason": "unsubscribed",
        "code": "43101",
        "provider_id": "m1",
        "at": "2026-03-01T09:12:30.123457Z",
    }


async def test_what_nobody_asked_to_hear_of_and_what_was_overtaken_is_not_told(heard_by: SqlWorld) -> None:
    row, silent, other = await rows_of(heard_by, 3)
    changes = [
        replace(row, state=State.FAILED),
        replace(silent, state=State.FAILED, callback=None),
        replace(other, state=State.FAILED, version=7),
    ]
    await heard_by.store.save(changes)
    assert await told(heard_by) == [("delivery.failed", event_id(row, "1"), "whe_all")]


async def test_a_hop_that_is_planned_as_skipped_is_told(heard_by: SqlWorld) -> None:
    (row,) = await rows_of(heard_by, 1)
    follower = replace(row, id=DeliveryId("dlv_f"), hop=1, state=State.SKIPPED)
    await heard_by.store.save([replace(row, escalated=True)], new=[follower])
    assert await told(heard_by) == [("delivery.skipped", "evt_f_0", "whe_all")]


async def test_where_the_change_is_not_committed_nothing_is_told(heard_by: SqlWorld) -> None:
    (row,) = await rows_of(heard_by, 1)
    dialect = heard_by.database.dialect

    async def fail(connection: AsyncConnection) -> None:
        await put_delivery_events(connection, dialect, [(replace(row, state=State.FAILED), 1)], {}, at=NOW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await heard_by.database.write(fail)
    assert await told(heard_by) == []


async def test_many_changes_are_told_in_few_statements(heard_by: SqlWorld) -> None:
    people = await heard_by.make_people(600)
    rows = [replace(row, callback="*", state=State.DELIVERED) for row in await planned(heard_by, people)]
    await heard_by.store.save(rows)
    assert len(await told(heard_by)) == 600
    async with heard_by.database.writing() as connection:
        await connection.execute(delete(metadata.tables["webhook_endpoint"]))
    await heard_by.store.save([replace(row, version=1, read=True) for row in rows])
    assert len(await told(heard_by)) == 600
