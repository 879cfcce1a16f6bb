"""Redis killed, emptied, given an old file, replaced by a replica, silent or full: nothing wrong is believed."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from hub.core.errors import QueueUnavailable
from hub.core.message import Entry, SeqKey, UserKey
from hub.redis_link import LinkLimits, RedisLink, open_redis
from hub.redis_pool import FixedPlace
from hub.store.queue_redis import RedisSequencer
from tests.integration.queue_of_test import (
    ANN,
    KEY,
    TAIL,
    TTL,
    another_life,
    back,
    copy_of,
    entries,
    entry,
    fail_over,
    tail_of,
    trusted,
    until,
)
from tests.services import RedisServer, start_redis


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    redis_server.flush()
    return redis_server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that may be killed."""
    with start_redis(tmp_path) as server:
        yield server


@pytest.fixture
async def link(server: RedisServer) -> AsyncIterator[RedisLink]:
    async with open_redis(server.url) as link:
        yield link


@pytest.fixture
async def own_link(own_server: RedisServer) -> AsyncIterator[RedisLink]:
    async with open_redis(own_server.url, LinkLimits(pause=timedelta(milliseconds=50))) as link:
        yield link


class TestAnotherServer:
    async def test_after_sigkill_nothing_is_believed_until_rebuilt(
        self, own_server: RedisServer, own_link: RedisLink
    ) -> None:
        changes: list[tuple[str, str]] = []
        own_link.on_epoch(lambda old, new: changes.append((old, new)))
        tail = tail_of(own_link)
        await trusted(tail, 5)
        own_server.kill()
        own_server.start()
        assert list(await tail.heads([ANN])) == [None]  # the very first call, without a word from anybody
        assert await tail.read(ANN, after=0, limit=9) is None
        assert len(changes) == 1
        await trusted(tail, 5)
        assert await tail.read(ANN, after=0, limit=9) == entries(1, 5)

    async def test_an_old_file_is_not_believed(
        self, own_server: RedisServer, own_link: RedisLink, tmp_path: Path
    ) -> None:
        tail = tail_of(own_link)
        await trusted(tail, 5)
        files, copy = tmp_path / "redis" / "appendonlydir", tmp_path / "copy"
        await asyncio.sleep(1.1)  # appendfsync everysec
        shutil.copytree(files, copy)
        await tail.append(entries(6, 8))
        own_server.kill()
        shutil.rmtree(files)
        shutil.copytree(copy, files)
        own_server.start()
        await back(own_link)
        assert await own_link.ask("ZCARD", TAIL) == 6, "the old file should hold five entries and a mark"
        assert list(await tail.heads([ANN])) == [None]
        assert await tail.read(ANN, after=5, limit=9) is None
        await tail.append([entry(9)])
        assert await tail.read(ANN, after=8, limit=9) is None
        await tail.rebuild(ANN, entries(2, 8), head=8)
        assert await tail.read(ANN, after=1, limit=9) == entries(2, 9)

    async def test_who_read_the_store_before_a_restart_cannot_vouch_after(
        self, own_server: RedisServer, own_link: RedisLink
    ) -> None:
        tail = tail_of(own_link)
        assert await tail.read(ANN, after=0, limit=9) is None
        own_server.kill()
        own_server.start()
        await tail.rebuild(ANN, entries(1, 5), head=5)
        assert list(await tail.heads([ANN])) == [None]

    async def test_nothing_is_drawn_from_a_counter_of_an_earlier_server(
        self, link: RedisLink, server: RedisServer
    ) -> None:
        sequencer, other = RedisSequencer(link, tail_ttl=TTL), SeqKey.of_user(UserKey(2))
        await sequencer.raise_to({KEY: 5, other: 5})
        copy = await copy_of(link)
        await sequencer.draw({KEY: 2, other: 4})
        await fail_over(server, link, copy)
        assert await sequencer.draw({KEY: 1}) == {}
        await sequencer.raise_to({KEY: 7})
        assert await sequencer.draw({KEY: 1}) == {KEY: 8}
        assert await sequencer.draw({KEY: 1, other: 1}) == {}
        await sequencer.raise_to({KEY: 7, other: 9})
        assert await sequencer.draw({KEY: 1, other: 1}) == {KEY: 9, other: 10}

    async def test_what_an_earlier_server_drew_last_is_not_drawn_again(
        self, link: RedisLink, server: RedisServer
    ) -> None:
        sequencer = RedisSequencer(link, tail_ttl=TTL)
        await sequencer.raise_to({KEY: 5})
        await sequencer.draw({KEY: 2})  # not committed yet
        another_life(server)
        await sequencer.give_back({KEY: (6, 7)})
        await sequencer.raise_to({KEY: 5})
        assert await sequencer.draw({KEY: 1}) == {KEY: 8}

    async def test_a_store_that_was_asked_before_a_failover_cannot_vouch_after(
        self, link: RedisLink, server: RedisServer
    ) -> None:
        sequencer = RedisSequencer(link, tail_ttl=TTL)
        assert await sequencer.draw({KEY: 1}) == {}
        witness = sequencer.witness()
        another_life(server)
        await sequencer.raise_to({KEY: 5}, witness=witness)
        assert await sequencer.draw({KEY: 1}) == {}
        await sequencer.raise_to({KEY: 5}, witness=sequencer.witness())
        assert await sequencer.draw({KEY: 1}) == {KEY: 6}

    async def test_emptied_under_the_same_epoch(self, link: RedisLink, server: RedisServer) -> None:
        changes: list[tuple[str, str]] = []
        link.on_epoch(lambda old, new: changes.append((old, new)))
        tail, sequencer = tail_of(link), RedisSequencer(link, tail_ttl=TTL)
        await trusted(tail, 5)
        await sequencer.raise_to({KEY: 5})
        server.flush()
        assert list(await tail.heads([ANN])) == [None]
        await tail.append(entries(1, 2))  # published again
        assert await tail.read(ANN, after=2, limit=9) is None
        assert await sequencer.draw({KEY: 1}) == {}
        assert changes == []

    async def test_flushed_scripts_are_loaded_again_and_nothing_else_happens(
        self, link: RedisLink, server: RedisServer
    ) -> None:
        changes: list[tuple[str, str]] = []
        link.on_epoch(lambda old, new: changes.append((old, new)))
        tail = tail_of(link)
        await trusted(tail, 5)
        server.command("SCRIPT", "FLUSH")
        users = [UserKey(number) for number in range(2_000)]
        await tail.append([entry(6), *(entry(1, user) for user in users if user != ANN)])
        assert await tail.read(ANN, after=4, limit=9) == entries(5, 6)
        assert changes == []

    async def test_a_promoted_replica_is_not_believed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (
            start_redis(tmp_path / "old", tcp=True) as old,
            start_redis(tmp_path / "new", tcp=True) as new,
        ):
            assert old.tcp_url is not None
            assert new.tcp_url is not None
            async with open_redis(old.tcp_url) as link:
                old.command("CONFIG", "SET", "repl-diskless-sync-delay", "0")
                tail = tail_of(link)
                await trusted(tail, 5)
                new.command("REPLICAOF", "127.0.0.1", old.tcp_url.rpartition(":")[2].partition("/")[0])
                await until(lambda: new.command("ZCARD", TAIL) == b":6\r\n")
                new.command("REPLICAOF", "NO", "ONE")
                await tail.append(entries(6, 8))  # never reaches the one that takes over
                old.kill()
                # As its name is resolved now.
                monkeypatch.setattr(link, "place", FixedPlace(new.tcp_url, LinkLimits()))
                assert list(await tail.heads([ANN])) == [None]
                assert await tail.read(ANN, after=5, limit=9) is None
                assert await link.ask("ZCARD", TAIL) == 6
            new.kill()  # it would not stop while it writes its first file as a master

    async def test_demoted_and_promoted_again_is_another_server(
        self, own_server: RedisServer, own_link: RedisLink
    ) -> None:
        tail = tail_of(own_link)
        await trusted(tail, 5)
        own_server.command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(QueueUnavailable):
            await tail.append([entry(6)])
        own_server.command("REPLICAOF", "NO", "ONE")
        await back(own_link)
        assert list(await tail.heads([ANN])) == [None]


class TestRedisAway:
    async def test_refused_at_once_and_back_by_itself(
        self, own_server: RedisServer, own_link: RedisLink
    ) -> None:
        tail, sequencer = tail_of(own_link), RedisSequencer(own_link, tail_ttl=TTL)
        await trusted(tail, 1)
        own_server.kill()
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(QueueUnavailable):
                await tail.append([entry(2)])
            with pytest.raises(QueueUnavailable):
                await sequencer.draw({KEY: 1})
        assert time.monotonic() - began < 1
        assert not own_link.available
        own_server.start()
        await back(own_link)
        assert own_link.available

    async def test_a_silent_server_costs_each_caller_one_time_out_at_most(
        self, own_server: RedisServer
    ) -> None:
        limits = LinkLimits(command=timedelta(milliseconds=200), pause=timedelta(milliseconds=300))
        async with open_redis(own_server.url, limits) as link:
            tail = tail_of(link)
            await trusted(tail, 1)
            with own_server.paused():
                began = time.monotonic()
                results = await asyncio.gather(
                    *(tail.append([entry(2)]) for _ in range(50)), return_exceptions=True
                )
                assert all(isinstance(result, QueueUnavailable) for result in results)
                assert time.monotonic() - began < 0.5
                began = time.monotonic()
                with pytest.raises(QueueUnavailable):
                    await tail.append([entry(2)])
                assert time.monotonic() - began < 0.05
            await back(link)
            await tail.append([entry(2)])
            assert await tail.read(ANN, after=0, limit=9) == entries(1, 2)

    async def test_a_full_memory_is_the_queue_being_away(self, link: RedisLink, server: RedisServer) -> None:
        tail = tail_of(link)
        await trusted(tail, 1)
        server.command("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(QueueUnavailable, match="maxmemory"):
                await tail.append([entry(2)])
            assert await tail.read(ANN, after=0, limit=9) == [entry(1)]  # and reading goes on
        finally:
            server.command("CONFIG", "SET", "maxmemory", "0")

    async def test_a_cancelled_call_does_not_leave_its_answer_to_the_next(self, link: RedisLink) -> None:
        tail = tail_of(link)
        await trusted(tail, 3)

        async def impatient() -> Sequence[Entry] | None:
            async with asyncio.timeout(0):
                return await tail.read(ANN, after=0, limit=9)

        for _ in range(20):
            with pytest.raises(TimeoutError):
                await impatient()
            assert list(await tail.heads([ANN])) == [3]

    async def test_a_wrong_type_is_a_bug_and_says_so(self, link: RedisLink) -> None:
        await link.ask("SET", TAIL, "not a tail")
        with pytest.raises(Exception, match="WRONGTYPE"):
            await tail_of(link).append([entry(1)])
