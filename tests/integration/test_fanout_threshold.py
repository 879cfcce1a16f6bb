"""A conversation crosses the fan-out limit both ways while messages flow."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hub.core.conversation import Fanout
from hub.core.groups import GroupWrite
from hub.core.message import Accepted, ConversationId, UserKey
from hub.settings import Settings
from tests.integration.group_town import Town, adding, doer, leaving, open_town, people, removing
from tests.services import RedisServer
from tests.support.engine import APP, test_settings

LIMIT = 6


@pytest.fixture
def settings(tmp_path: Path, storage: tuple[str, dict[str, Any]], redis_server: RedisServer) -> Settings:
    redis_server.flush()
    made = test_settings(tmp_path, storage[0], redis_server.url)
    return made.model_copy(update={"fanout_limit": LIMIT, **storage[1]})


@asynccontextmanager
async def talking(
    town: Town, conversation: ConversationId, *users: int
) -> AsyncIterator[tuple[asyncio.Event, list[Accepted]]]:
    """These users speak on two nodes, without a pause, until the block is left. The event is set by every answer."""
    accepted: list[Accepted] = []
    heard, stop = asyncio.Event(), asyncio.Event()

    async def talk(user: int, node: int) -> None:
        last, number = 0, 0
        while not stop.is_set():
            answer = await town.say(conversation, user, f"{user}.{node}.{number}", node=node)
            assert answer.seq > last
            last, number = answer.seq, number + 1
            accepted.append(answer)
            heard.set()

    tasks = [asyncio.create_task(talk(user, node)) for user in users for node in (0, 1)]
    try:
        yield heard, accepted
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def some_more(heard: asyncio.Event, accepted: list[Accepted], count: int = 4) -> None:
    """Wait until some more messages have been accepted."""
    goal = len(accepted) + count
    async with asyncio.timeout(20):
        while len(accepted) < goal:
            heard.clear()
            await heard.wait()


async def fanout(town: Town, conversation: ConversationId) -> Fanout:
    return (await town.rig.rooms.directory.conversation(APP, conversation)).fanout


async def test_crossings_while_messages_flow_lose_and_double_nothing(settings: Settings) -> None:
    async with open_town(settings, nodes=2) as town:
        group = await town.group(1, 2, 3)
        seen: list[Fanout] = []
        async with talking(town, group, 1, 2) as (heard, accepted):
            for round_ in range(3):
                await some_more(heard, accepted)
                await town.told(
                    lambda c: c.add_members(group, people(*range(4, 9)), by=doer(1)), node=round_ % 2
                )
                seen.append(await fanout(town, group))
                await some_more(heard, accepted)
                for user in range(3, 9):
                    await town.told(partial(removing, group, user, by=1))
                seen.append(await fanout(town, group))
                await some_more(heard, accepted)
                await town.told(lambda c: c.add_members(group, people(3), by=doer(1)))
        assert seen == [Fanout.READ, Fanout.WRITE] * 3
        for user in (1, 2):
            known = await town.client(group, user)
            texts = {s: m for s, m in known.seen.items() if m.kind == "text"}
            assert {(s, m.id) for s, m in texts.items()} == {(a.seq, a.message) for a in accepted}
            assert known.queued == sorted(known.queued)
        whole = [m.seq for m in await town.history(group, 1)]
        assert whole == sorted(set(whole))


async def test_who_comes_and_goes_at_any_time_hears_all_of_their_own_time(settings: Settings) -> None:
    """Members around the limit in random steps; whoever is in it at the end has all since they came the last time."""
    chance = random.Random(20_260_301)
    async with open_town(settings, nodes=2) as town:
        group = await town.group(1, 2)
        inside = {1, 2}
        async with talking(town, group, 1) as (heard, accepted):
            for _ in range(30):
                user = chance.randrange(3, 12)
                if user in inside:
                    await town.told(partial(leaving, group, user), node=chance.randrange(2))
                else:
                    await town.told(partial(adding, group, people(user)), node=chance.randrange(2))
                inside ^= {user}
            await some_more(heard, accepted)
        record = await town.rig.rooms.directory.conversation(APP, group)
        assert record.member_count == len(inside)
        for user in sorted(inside):
            own = await town.rig.store.membership(group, UserKey(user))
            assert own is not None
            known = await town.client(group, user)
            mine = {a.message for a in accepted if a.seq > own.joined_seq}
            assert mine <= {message.id for message in known.seen.values()}
        for user in set(range(3, 12)) - inside:
            told = await town.events(user)
            assert not told or told[-1]["event"] == "left"


async def test_members_who_are_away_learn_of_the_crossing_in_their_queues(settings: Settings) -> None:
    async with open_town(settings) as town:
        group = await town.group(1, 2, 3, 4)
        await town.say(group, 1, "klein")
        await town.told(lambda c: c.add_members(group, people(5, 6, 7, 8)))
        await town.say(group, 1, "groß")
        for user in (5, 6, 7, 8):
            await town.told(partial(removing, group, user))
        assert await fanout(town, group) is Fanout.READ
        for user in (3, 4):
            await town.told(partial(removing, group, user))
        assert await fanout(town, group) is Fanout.WRITE
        await town.say(group, 1, "wieder klein")
        crossings = [e for e in await town.events(2) if e["event"] == "fanout"]
        assert [e["fanout"] for e in crossings] == ["read", "write"]
        queued = [json.loads(m.body)["text"] for m in await town.queue(2) if m.kind == "text"]
        assert queued == ["klein", "wieder klein"]
        assert (await town.client(group, 2)).texts == ["klein", "groß", "wieder klein"]
        # Until it is read, every connection is told how far there is something to pull.
        until = crossings[-1]["read_until"]
        read_diffused = town.rig.rooms.people.read_diffused
        assert await read_diffused(UserKey(2)) == {group: until}
        await town.rig.store.move_read(UserKey(2), group, until)
        assert await read_diffused(UserKey(2)) == {}


async def test_named_users_have_it_in_their_queue_and_the_others_hear_that_it_grew(
    settings: Settings,
) -> None:
    async with open_town(settings) as town:
        group = await town.group(1, *range(2, 9))
        await town.told(lambda c: c.add_members(group, people(9), by=doer(1)))
        await town.rig.published()
        both = [p for p in town.rig.broker.published if p.grew and p.entries]
        assert [sorted(int(e.user) for e in p.entries) for p in both] == [list(range(1, 9)), [9]]
        # The same when it is published again from what the store remembers.
        town.rig.broker.published.clear()
        await town.rig.engine.republish_recent()
        again = [p for p in town.rig.broker.published if p.grew and p.entries]
        assert [[e.user_seq for e in p.entries] for p in again] == [
            [e.user_seq for e in p.entries] for p in both
        ]


async def test_a_group_that_begins_large_is_read_diffused_and_all_hear_of_it(settings: Settings) -> None:
    async with open_town(settings) as town:
        done = await town.told(lambda c: c.create_group(GroupWrite(title="groß"), people(*range(1, 11))))
        assert (done.record.fanout, done.record.member_count) == (Fanout.READ, 10)
        for user in (1, 10):
            assert [e["event"] for e in await town.events(user)] == ["created"]
