"""A link to a real Cluster: slots that move, nodes that die, and that nothing else is touched by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from hub.channels.ws import broker as broker_module
from hub.channels.ws import bus
from hub.channels.ws.nodes import Nodes
from hub.core.errors import QueueUnavailable
from hub.core.message import SeqKey, UserKey
from hub.partitions import user_tag
from hub.redis_link import LinkLimits, RedisLink, open_redis
from hub.redis_slots import slot_of
from hub.redis_wire import Script
from hub.store.queue_redis import RedisSequencer, RedisTail
from tests.integration.nodes_of_test import NodeOfTest, seat, until
from tests.integration.queue_of_test import TTL, back, entries, entry
from tests.integration.test_broker import ROOM, published
from tests.services import RedisCluster, start_redis, start_redis_cluster
from tests.services.redis_node import RedisNode, wait_until

LIMITS = LinkLimits(pause=timedelta(milliseconds=50))
SET = Script("set", "redis.call('SET', KEYS[1], EPOCH .. '/' .. ARGV[1]) return EPOCH")


@pytest.fixture
def cluster(redis_cluster: RedisCluster) -> RedisCluster:
    redis_cluster.flush()
    return redis_cluster


@pytest.fixture
async def link(cluster: RedisCluster) -> AsyncIterator[RedisLink]:
    async with open_redis(cluster.url, LIMITS) as link:
        yield link


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """One whose nodes may be killed: every master has a replica."""
    with start_redis_cluster(tmp_path, replicas=3) as cluster:
        yield cluster


def tail_key(user: UserKey) -> str:
    return f"hub:tail:{user_tag(user)}:{user}"


def a_user_at(cluster: RedisCluster, node: RedisNode, key: Callable[[UserKey], str] = tail_key) -> UserKey:
    return next(user for user in map(UserKey, range(1, 500)) if cluster.owner(key(user)) is node)


async def a_tail(link: RedisLink, *users: UserKey) -> RedisTail:
    """Trusted up to 5, for each of them."""
    tail = RedisTail(link, size=127, ttl=TTL)
    for user in users:
        await tail.rebuild(user, entries(1, 5, user), head=5)
    assert list(await tail.heads(users)) == [5 for _ in users]
    return tail


class TestManyNodes:
    async def test_answers_come_in_order_whatever_node_gives_them(self, link: RedisLink) -> None:
        commands = [("SET", f"k{number}", number) for number in range(200)]
        assert await link.run(commands) == [b"OK"] * 200
        mixed = [word for number in range(200) for word in (("GET", f"k{number}"), ("PING",))]
        answers = await link.run(mixed)
        assert answers[::2] == [str(number).encode() for number in range(200)]
        assert set(answers[1::2]) == {b"PONG"}
        assert len(await link.ask("KEYS", "k*")) == 200

    async def test_a_script_knows_the_epoch_of_its_own_node(self, link: RedisLink) -> None:
        keys = [f"k{number}" for number in range(30)]
        epochs = [epoch.decode() for epoch in await link.run([(SET, 1, key, "x") for key in keys])]
        assert len(set(epochs)) == 3
        assert [link.epoch_of(key) for key in keys] == epochs

    async def test_keys_of_two_slots_in_one_script_are_a_bug_and_say_so(self, link: RedisLink) -> None:
        with pytest.raises(ResponseError, match="same slot"):
            await link.ask(SET, 2, "a", "b", "x")

    async def test_no_node_is_the_queue_being_away(self) -> None:
        async with open_redis("redis+cluster://127.0.0.1:1,127.0.0.1:2", LIMITS) as link:
            with pytest.raises(QueueUnavailable, match=r"127\.0\.0\.1:2"):
                await link.ask("PING")
            assert link.failures == 1

    async def test_one_server_that_is_no_cluster_says_so(self, tmp_path: Path) -> None:
        with start_redis(tmp_path, tcp=True) as server:
            assert server.tcp_url is not None
            async with open_redis(server.tcp_url.replace("redis://", "redis+cluster://"), LIMITS) as link:
                with pytest.raises(QueueUnavailable, match="cluster support disabled"):
                    await link.ask("GET", "k")

    async def test_draws_of_rivals_agree_with_numbers_of_others_between(self, cluster: RedisCluster) -> None:
        """A conversation's and its members' numbers, by two processes: no order contradicts another."""
        keys = [SeqKey.of_user(UserKey(number)) for number in range(40)]
        async with AsyncExitStack() as stack:
            sequencers = [
                RedisSequencer(await stack.enter_async_context(open_redis(cluster.url)), tail_ttl=TTL)
                for _ in range(2)
            ]
            assert len({cluster.owner(sequencers[0].counter(key)).port for key in keys}) == 1
            await sequencers[0].raise_to(dict.fromkeys(keys, 0))

            async def draw(number: int) -> list[int]:
                some = [key for i, key in enumerate(keys) if i % 4 != number % 4] if number % 5 else keys
                drawn = await sequencers[number % 2].draw(dict.fromkeys(some, 1))
                return [drawn.get(key, 0) for key in keys]

            draws = sorted(await asyncio.gather(*(draw(number) for number in range(200))))
        for i in range(len(keys)):
            numbers = [drawn[i] for drawn in draws if drawn[i]]
            assert sorted(numbers) == list(range(1, len(numbers) + 1))
        # Any two draws compare the same way in every key that both have.
        for one in draws:
            for other in draws:
                signs = {a < b for a, b in zip(one, other, strict=True) if a and b and a != b}
                assert len(signs) <= 1


class TestSlotsThatMove:
    async def test_exactly_its_keys_are_not_believed_and_nothing_else_happens(
        self, link: RedisLink, cluster: RedisCluster
    ) -> None:
        changes: list[tuple[str, str]] = []
        link.on_epoch(lambda old, new: changes.append((old, new)))
        source, target, _ = cluster.masters()
        moving, staying = a_user_at(cluster, source), a_user_at(cluster, target)
        tail = await a_tail(link, moving, staying)
        cluster.move(tail_key(moving), target)
        try:
            assert list(await tail.heads([moving, staying])) == [None, 5]
            assert await link.ask("ZCARD", tail_key(moving)) == 6, "its entries came with it"
            await tail.rebuild(moving, entries(1, 5, moving), head=5)
            assert list(await tail.heads([moving, staying])) == [5, 5]
            assert changes == []
            assert link.available
        finally:
            cluster.move(tail_key(moving), source)

    async def test_what_is_on_its_way_is_asked_for_where_it_goes(
        self, link: RedisLink, cluster: RedisCluster
    ) -> None:
        source, target, _ = cluster.masters()
        user = a_user_at(cluster, source)
        key, fresh = tail_key(user), f"fresh:{user_tag(user)}"
        tail = await a_tail(link, user)
        cluster.begin_move(key, target)
        try:
            assert list(await tail.heads([user])) == [5], "still at home"
            target.command("SCRIPT", "FLUSH")
            # Not at home: the other node is asked, and taught the script.
            assert await link.ask("GET", fresh) is None
            epoch = await link.ask(SET, 1, fresh, "x")
            assert await link.run([("GET", fresh), ("ZCARD", key)]) == [epoch + b"/x", 6]
            assert target.command("CLUSTER", "COUNTKEYSINSLOT", slot_of(key)) == b":1\r\n"
            cluster.migrate(source, target, key)
            await tail.append([entry(6, user)])
            assert list(await tail.heads([user])) == [None]
        finally:
            cluster.settle(key, target)
            cluster.move(key, source)

    async def test_counters_half_on_their_way_are_away_and_then_healed(
        self, link: RedisLink, cluster: RedisCluster
    ) -> None:
        sequencer = RedisSequencer(link, tail_ttl=TTL)
        keys = [SeqKey.of_user(UserKey(number)) for number in (1, 2)]
        names = [sequencer.counter(key) for key in keys]
        await sequencer.raise_to(dict.fromkeys(keys, 5))
        source = cluster.owner(names[0])
        target = next(node for node in cluster.masters() if node is not source)
        cluster.begin_move(names[0], target)
        try:
            cluster.migrate(source, target, names[0])
            with pytest.raises(QueueUnavailable):
                await sequencer.draw(dict.fromkeys(keys, 1))
            cluster.migrate(source, target, names[1])
            cluster.settle(names[0], target)
            witness = sequencer.witness()
            assert await sequencer.draw(dict.fromkeys(keys, 1)) == {}, "counters of another server"
            assert sequencer.witness() != witness
            await sequencer.raise_to(dict.fromkeys(keys, 7), witness=witness)
            assert await sequencer.draw(dict.fromkeys(keys, 1)) == {}, "vouched for by who asked too early"
            await sequencer.raise_to(dict.fromkeys(keys, 7), witness=sequencer.witness())
            assert await sequencer.draw(dict.fromkeys(keys, 1)) == dict.fromkeys(keys, 8)
        finally:
            cluster.settle(names[0], target)
            cluster.move(names[0], source)

    async def test_nobody_is_dead_because_the_lease_is_on_its_way(
        self, link: RedisLink, cluster: RedisCluster
    ) -> None:
        nodes = Nodes(link, node="a", lease=timedelta(seconds=30))
        await nodes.join()
        register, lease = sorted(key.decode() for key in await link.ask("KEYS", "hub:*"))[::-1]
        assert "lease" in lease
        source = cluster.owner(lease)
        target = next(node for node in cluster.masters() if node is not source)
        cluster.begin_move(lease, target)
        try:
            cluster.migrate(source, target, lease)
            with pytest.raises(QueueUnavailable):
                await nodes.census(fresh=True)
            cluster.migrate(source, target, register)
            cluster.settle(lease, target)
            assert (await nodes.census(fresh=True)).alive == {nodes.instance}
        finally:
            cluster.settle(lease, target)
            cluster.move(lease, source)


class TestHearing:
    @pytest.fixture
    async def pair(self, cluster: RedisCluster) -> AsyncIterator[tuple[NodeOfTest, NodeOfTest]]:
        async with AsyncExitStack() as stack:
            nodes = [NodeOfTest(name, cluster.url) for name in ("a", "b")]
            for node in nodes:
                stack.push_async_callback(node.stack.aclose)
                await (await node.start()).ready()
            await nodes[1].presence.register(seat("s2", UserKey(2)))
            await nodes[1].enter(ROOM)
            nodes[1].caught_up = 0
            yield nodes[0], nodes[1]

    @pytest.mark.parametrize("channel", [bus.channel_of("b"), bus.EVERYBODY])
    async def test_a_channel_that_moves_is_heard_at_its_new_place(
        self, cluster: RedisCluster, pair: tuple[NodeOfTest, NodeOfTest], channel: str
    ) -> None:
        a, b = pair
        source = cluster.owner(channel)
        target = next(node for node in cluster.masters() if node is not source)
        cluster.move(channel, target)
        try:
            await until(lambda: b.caught_up > 0 and b.receiver.healthy)
            await a.broker.publish([published(1, [UserKey(2)]), published(2, [], grew=True)])
            await until(lambda: sorted(parcel.seq for parcel in b.pushed) == [1, 2])
        finally:
            cluster.move(channel, source)

    async def test_each_line_must_be_heard_for_health(
        self, pair: tuple[NodeOfTest, NodeOfTest], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, b = pair
        subscription = b.receiver._subscription
        assert subscription is not None
        assert subscription.lines == 2, "b's channel and EVERYBODY lie on different nodes"
        monkeypatch.setattr(broker_module, "_SILENCE", 1.0)
        monkeypatch.setattr(broker_module, "_PROBE_EVERY", 0.2)
        await asyncio.sleep(1.5)
        assert b.receiver.healthy, "both echo"
        for line in range(2):
            b.receiver._heard_at[line] -= 60
            assert not b.receiver.healthy
            await until(lambda: b.receiver.healthy)


class TestNodesThatDie:
    async def test_a_replica_takes_over_and_only_its_keys_are_not_believed(
        self, own_cluster: RedisCluster
    ) -> None:
        dying, living, _ = own_cluster.masters()
        theirs, ours = a_user_at(own_cluster, dying), a_user_at(own_cluster, living)
        # Its only seed is the one that dies: by then it knows the others.
        async with open_redis(f"redis+cluster://127.0.0.1:{dying.port}", LIMITS) as link:
            changes: list[tuple[str, str]] = []
            link.on_epoch(lambda old, new: changes.append((old, new)))
            tail = await a_tail(link, theirs, ours)
            before = link.epoch_of(tail_key(theirs))
            own_cluster.replica_of(dying).command("WAIT", 0, 0)
            dying.kill()
            with pytest.raises(QueueUnavailable):
                await tail.heads([theirs])
            assert list(await tail.heads([ours])) == [5], "others go on meanwhile"
            assert not link.available
            async with asyncio.timeout(15):
                while True:
                    try:
                        assert list(await tail.heads([theirs, ours])) == [None, 5]
                        break
                    except QueueUnavailable:
                        await asyncio.sleep(0.05)
            after = link.epoch_of(tail_key(theirs))
            assert changes == [(before, after)]
            assert link.available
            dying.start()  # comes back as a replica, and nobody asks it
            await asyncio.to_thread(wait_until, lambda: b"role:slave" in dying.command("INFO", "replication"))
            assert list(await tail.heads([theirs, ours])) == [None, 5]
            await back(link)

    async def test_nodes_hear_each_other_again(self, own_cluster: RedisCluster) -> None:
        async with AsyncExitStack() as stack:
            a, b = (NodeOfTest(name, own_cluster.url) for name in ("a", "b"))
            for node in (a, b):
                stack.push_async_callback(node.stack.aclose)
                await (await node.start()).ready()
            await b.presence.register(seat("s2", UserKey(2)))
            b.caught_up = 0
            own_cluster.owner(bus.channel_of("b")).kill()
            await until(lambda: b.caught_up > 0 and b.receiver.healthy, within=15)

            async def reached() -> bool:
                try:
                    await a.broker.publish([published(1, [UserKey(2)])])
                except QueueUnavailable:
                    return False
                await asyncio.sleep(0.1)
                return bool(b.pushed)

            await until(reached, within=15)
