"""Notes of long polls in Redis: nodes send there, and nobody takes them for presence."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.nodes_of_test import ANN, BEN, NodeOfTest, seat, until
from tests.services import AnyRedis


@pytest.fixture
async def pair(any_redis: AnyRedis) -> AsyncIterator[tuple[NodeOfTest, NodeOfTest]]:
    one, two = NodeOfTest("one", any_redis.url), NodeOfTest("two", any_redis.url)
    for node in (one, two):
        await node.start()
        await node.ready()
    yield one, two
    for node in (one, two):
        await node.stack.aclose()


async def test_a_note_leads_here_and_is_no_presence(pair: tuple[NodeOfTest, NodeOfTest]) -> None:
    one, two = pair
    await one.presence.poll(ANN)
    assert await two.presence.nodes_of([ANN, BEN]) == {"one": [ANN]}
    assert await two.sees(ANN) == []
    assert (await two.presence.online([ANN]))[ANN] == {"online": False}
    await one.presence.unpoll([ANN])
    assert await two.presence.nodes_of([ANN]) == {}


async def test_watchers_hear_of_sessions_beside_a_note_as_ever(pair: tuple[NodeOfTest, NodeOfTest]) -> None:
    one, two = pair
    await two.presence.watch([ANN])
    await one.presence.poll(ANN)
    assert two.heard == []
    await one.presence.register(seat("s1"))
    await until(lambda: two.heard == [(ANN, True)])
    await one.presence.unregister(seat("s1"))
    await until(lambda: two.heard == [(ANN, True), (ANN, False)])
    assert await two.presence.nodes_of([ANN]) == {"one": [ANN]}


async def test_a_note_of_a_dead_node_leads_nowhere_and_is_cleaned_up(
    pair: tuple[NodeOfTest, NodeOfTest],
) -> None:
    one, two = pair
    await two.presence.watch([ANN])
    await one.presence.poll(ANN)
    await one.die()
    await until(lambda: two.presence.reaper.reaped == 1)
    assert await two.presence.nodes_of([ANN]) == {}
    assert two.heard == []


async def test_notes_are_entered_again_after_redis_was_emptied(
    pair: tuple[NodeOfTest, NodeOfTest], any_redis: AnyRedis
) -> None:
    one, two = pair
    await one.presence.poll(ANN)
    any_redis.flush()

    async def found() -> bool:
        return await two.presence.nodes_of([ANN]) == {"one": [ANN]}

    await until(found)
