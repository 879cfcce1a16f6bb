"""Presence over two nodes and a real engine: exact when asked, told once, and no ghosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from hub.channels.ws import presence as presence_module
from hub.channels.ws import scribe as scribe_module
from hub.channels.ws.nodes import Nodes
from hub.channels.ws.sightings import Sightings, sessions_key
from hub.core.errors import QueueUnavailable, Unavailable
from hub.core.identity import Platform
from hub.core.message import UserKey
from hub.redis_link import open_redis
from tests.integration.nodes_of_test import (
    ANN,
    BEN,
    EVE,
    LEASE,
    REGISTER,
    NodeOfTest,
    now,
    seat,
    until,
    watch_key,
)
from tests.services import AnyRedis, RedisServer, start_redis

Start = Callable[[AnyRedis, str], Awaitable[NodeOfTest]]


@pytest.fixture
def server(any_redis: AnyRedis) -> AnyRedis:
    return any_redis


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that may be killed."""
    with start_redis(tmp_path) as server:
        yield server


@pytest.fixture
async def cluster() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(server: AnyRedis, name: str) -> NodeOfTest:
            node = NodeOfTest(name, server.url)
            stack.push_async_callback(node.stack.aclose)
            await node.start()
            return await node.ready() if server.running else node

        yield start


class TestSessions:
    async def test_a_session_is_seen_everywhere_at_once_and_gone_at_once(
        self, server: AnyRedis, cluster: Start
    ) -> None:
        a, b = await cluster(server, "a"), await cluster(server, "b")
        await a.presence.register(seat("s1"))
        await b.presence.register(seat("s2", platform=Platform.WEB))
        assert await a.sees(ANN) == await b.sees(ANN) == ["s1", "s2"]
        (info,) = (s for s in (await b.presence.sessions([ANN]))[ANN] if s.session == "s1")
        assert (info.node, info.boot, info.platform) == ("a", a.nodes.boot, Platform.APP)
        assert info.device == "device-s1"
        assert abs(info.since - now()) < timedelta(seconds=5)
        assert await b.presence.online([ANN, BEN]) == {
            ANN: {"online": True, "platforms": ["app", "web"]},
            BEN: {"online": False},
        }
        await a.presence.unregister(seat("s1"))
        assert await b.sees(ANN) == ["s2"]

    async def test_the_nodes_of_users_are_the_others(self, server: AnyRedis, cluster: Start) -> None:
        a = await cluster(server, "a")
        await a.presence.register(seat("s1"))
        assert await a.presence.others() == frozenset()
        assert await a.presence.nodes_of([ANN, BEN]) == {}
        b = await cluster(server, "b")
        await b.presence.register(seat("s2"))
        await b.presence.register(seat("s3", BEN))
        assert await a.presence.nodes_of([ANN, BEN, EVE]) == {"b": [ANN, BEN]}
        assert await b.presence.nodes_of([ANN, BEN, EVE]) == {"a": [ANN]}

    async def test_a_process_without_sockets_may_ask(self, server: AnyRedis, cluster: Start) -> None:
        a = await cluster(server, "a")
        async with open_redis(server.url) as link:
            worker = Sightings(link, Nodes(link, node="worker", lease=LEASE))
            assert await worker.nodes_of([ANN]) == {}
            await a.presence.register(seat("s1"))
            assert await worker.nodes_of([ANN]) == {"a": [ANN]}
            assert await a.presence.others() == frozenset()

    async def test_twice_is_harmless(self, server: AnyRedis, cluster: Start) -> None:
        a = await cluster(server, "a")
        for _ in range(2):
            await a.presence.register(seat("s1"))
        assert await a.sees(ANN) == ["s1"]
        for _ in range(2):
            await a.presence.unregister(seat("s1"))
        assert await a.sees(ANN) == []

    async def test_coming_and_going_without_waiting_ends_as_it_was_told(
        self, server: AnyRedis, cluster: Start
    ) -> None:
        a = await cluster(server, "a")
        sessions = [seat(f"s{number}", UserKey(number)) for number in range(100)]
        await asyncio.gather(
            *(a.presence.register(session) for session in sessions),
            *(a.presence.unregister(session) for session in sessions[::2]),
        )
        found = await a.presence.sessions([session.user.key for session in sessions])
        assert [bool(found[UserKey(number)]) for number in range(100)] == [False, True] * 50

    async def test_a_node_that_stops_takes_its_sessions_with_it(
        self, server: AnyRedis, cluster: Start
    ) -> None:
        a, b = await cluster(server, "a"), await cluster(server, "b")
        await a.presence.watch([ANN])
        await b.presence.register(seat("s1"))
        await until(lambda: a.heard == [(ANN, True)])
        await b.stack.aclose()
        assert await a.sees(ANN) == []
        assert a.heard == [(ANN, True)]  # she has the grace to come back elsewhere
        assert b.seen.keys() == {ANN}
        await until(lambda: a.heard == [(ANN, True), (ANN, False)])

    async def test_what_redis_threw_away_is_entered_again_in_time(
        self, server: AnyRedis, cluster: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(presence_module, "REFRESH", 0.2)
        a = await cluster(server, "a")
        await a.presence.watch([ANN])
        await a.presence.register(seat("s1"))
        await a.link.ask("DEL", sessions_key(ANN), watch_key(ANN))
        await until(lambda: a.agrees(ANN, "s1"))
        assert await a.link.ask("SCARD", watch_key(ANN)) == 1
        assert a.presence.lives == 1

    async def test_more_changes_than_may_wait_are_entered_anew(
        self, server: AnyRedis, cluster: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scribe_module, "_WAITING", 10)
        a = await cluster(server, "a")
        users = [UserKey(number) for number in range(100)]
        await asyncio.gather(*(a.presence.register(seat(f"s{user}", user)) for user in users))
        assert a.presence.scribe.dropped >= 10

        async def all_there() -> bool:
            return all((await a.presence.sessions(users)).values())

        await until(all_there)

    async def test_nothing_stays_for_ever(self, server: AnyRedis, cluster: Start) -> None:
        a = await cluster(server, "a")
        await a.presence.watch([ANN])
        await a.presence.register(seat("s1"))
        await a.presence.register(seat("s2", BEN))
        await a.presence.unregister(seat("s1"))
        for key in await a.link.ask("KEYS", "*"):
            if key != REGISTER.encode():
                assert await a.link.ask("PTTL", key) > 0, key


class TestTelling:
    async def test_watchers_hear_of_coming_and_going_once(self, server: AnyRedis, cluster: Start) -> None:
        a, b = await cluster(server, "a"), await cluster(server, "b")
        await a.presence.watch([ANN, BEN])
        await b.presence.watch([ANN])
        await a.presence.register(seat("s1"))
        await a.presence.register(seat("s2"))
        await a.presence.unregister(seat("s1"))
        await asyncio.sleep(0.6)
        assert a.heard == b.heard == [(ANN, True)]
        await a.presence.unregister(seat("s2"))
        await asyncio.sleep(1.0)
        assert a.heard == b.heard == [(ANN, True), (ANN, False)]
        assert a.offline == [ANN]

    async def test_who_comes_back_within_the_grace_was_never_away(
        self, server: AnyRedis, cluster: Start
    ) -> None:
        a, b = await cluster(server, "a"), await cluster(server, "b")
        await a.presence.watch([ANN])
        await a.presence.register(seat("s1"))
        await a.presence.unregister(seat("s1"))
        assert await a.presence.online([ANN]) == {ANN: {"online": False}}  # the answer does not wait
        await b.presence.register(seat("s2"))
        await asyncio.sleep(0.8)
        assert a.heard == [(ANN, True)]
        assert a.offline == b.offline == []

    async def test_nobody_hears_who_does_not_watch_any_more(self, server: AnyRedis, cluster: Start) -> None:
        a, b = await cluster(server, "a"), await cluster(server, "b")
        await a.presence.watch([ANN])
        await a.presence.unwatch([ANN])
        await b.presence.register(seat("s1"))
        await asyncio.sleep(0.2)
        assert a.heard == []

    async def test_a_recheck_tells_how_it_is(self, server: AnyRedis, cluster: Start) -> None:
        a = await cluster(server, "a")
        await a.presence.watch([ANN, BEN])
        await a.presence.register(seat("s1"))
        a.heard.clear()
        a.presence.recheck()
        await until(lambda: sorted(a.heard) == [(ANN, True), (BEN, False)])

    async def test_last_seen_is_reported_and_kept_while_it_cannot_be(
        self, server: AnyRedis, cluster: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(presence_module, "_SEEN_EVERY", 0.1)
        a = await cluster(server, "a")

        async def refuse(_: Mapping[UserKey, datetime]) -> None:
            raise Unavailable("database_away", "")

        monkeypatch.setattr(a.presence.last_seen, "_report", refuse)
        await a.presence.register(seat("s1"))
        await a.presence.unregister(seat("s1"))
        await asyncio.sleep(0.4)
        assert a.seen == {}
        monkeypatch.setattr(a.presence.last_seen, "_report", a.note_seen)
        await until(lambda: a.seen.keys() == {ANN})


class TestDeath:
    async def test_the_sessions_of_a_killed_node_end_with_its_lease_and_are_told_once(
        self, server: AnyRedis, cluster: Start
    ) -> None:
        a, b, c = [await cluster(server, name) for name in "abc"]
        await a.presence.watch([ANN, BEN, EVE])
        await b.presence.register(seat("s1", ANN))
        await b.presence.register(seat("s2", BEN))
        await c.presence.register(seat("s3", BEN))
        await until(lambda: len(a.heard) == 2)
        a.heard.clear()
        await b.die()
        killed = asyncio.get_running_loop().time()
        await until(lambda: a.agrees(ANN))
        assert asyncio.get_running_loop().time() - killed < LEASE.total_seconds() + 0.6
        assert await a.sees(BEN) == ["s3"]
        await asyncio.sleep(1.5)
        assert a.presence.reaper.reaped + c.presence.reaper.reaped == 1
        assert a.offline + c.offline == [ANN]
        assert a.heard == [(ANN, False)]
        assert [key for key in await a.link.ask("KEYS", "hub:node-users:*") if b":b/" in key] == []
        assert await a.link.ask("HLEN", REGISTER) == 2

    async def test_a_node_that_was_taken_for_dead_comes_back_with_everything(
        self, server: AnyRedis, cluster: Start
    ) -> None:
        a, b = await cluster(server, "a"), await cluster(server, "b")
        await b.presence.register(seat("s1"))
        old, caught_up = b.nodes.instance, b.caught_up
        await b.nodes.end(old)
        await until(lambda: a.agrees(ANN))
        await until(lambda: a.agrees(ANN, "s1"))
        assert b.nodes.instance != old
        await until(lambda: b.caught_up == caught_up + 1)
        await until(lambda: a.presence.reaper.reaped + b.presence.reaper.reaped == 1)
        assert await a.sees(ANN) == ["s1"]
        await b.presence.unregister(seat("s1"))
        assert await a.sees(ANN) == []

    async def test_everything_is_entered_again_after_redis_was_emptied(
        self, server: AnyRedis, cluster: Start
    ) -> None:
        a, b = await cluster(server, "a"), await cluster(server, "b")
        await a.presence.watch([ANN, BEN])
        await b.presence.register(seat("s1", ANN))
        await b.presence.register(seat("s2", BEN))
        server.flush()
        await until(lambda: a.agrees(ANN, "s1"))
        await until(lambda: a.presence.lives == 2)
        await b.presence.unregister(seat("s2", BEN))
        await until(lambda: b.offline == [BEN])
        assert await a.link.ask("SMEMBERS", watch_key(ANN)) == [b"a"]
        await until(lambda: a.heard[-1:] == [(BEN, False)])

    async def test_who_left_while_redis_was_away_and_emptied_is_told_of(
        self, own_server: RedisServer, cluster: Start
    ) -> None:
        a = await cluster(own_server, "a")
        await a.presence.watch([ANN])
        await a.presence.register(seat("s1"))
        own_server.kill()
        await a.presence.unregister(seat("s1"))
        own_server.start()
        own_server.flush()
        await until(lambda: (ANN, False) in a.heard)
        assert await a.sees(ANN) == []


class TestRedisAway:
    async def test_sessions_that_came_while_it_was_away_are_entered_when_it_is_back(
        self, own_server: RedisServer, cluster: Start
    ) -> None:
        a, b = await cluster(own_server, "a"), await cluster(own_server, "b")
        await a.presence.register(seat("s1"))
        await a.presence.register(seat("s2"))
        own_server.kill()
        await asyncio.wait_for(a.presence.register(seat("s3")), 1)
        await asyncio.wait_for(a.presence.unregister(seat("s1")), 1)
        with pytest.raises(QueueUnavailable):
            await a.presence.sessions([ANN])
        own_server.start()
        await until(lambda: b.agrees(ANN, "s2", "s3"))
        await until(lambda: a.presence.lives >= 2 and b.presence.lives >= 2)

    async def test_a_node_may_start_without_it(self, own_server: RedisServer, cluster: Start) -> None:
        own_server.kill()
        a = await cluster(own_server, "a")
        await asyncio.wait_for(a.presence.register(seat("s1")), 1)
        own_server.start()
        await until(lambda: a.agrees(ANN, "s1"))

    async def test_an_old_file_brings_no_ghosts(self, own_server: RedisServer, cluster: Start) -> None:
        a = await cluster(own_server, "a")
        await a.presence.register(seat("s1", ANN))
        await asyncio.sleep(1.2)
        await a.presence.unregister(seat("s1", ANN))
        await a.presence.register(seat("s2", BEN))
        own_server.kill()  # within the second that is not in the file
        own_server.start()
        await until(lambda: a.agrees(BEN, "s2"))
        await until(lambda: a.agrees(ANN))
