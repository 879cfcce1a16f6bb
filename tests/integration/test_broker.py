"""The broker between two nodes on a real engine: who gets what, and that no break of the line goes unnoticed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from hub.channels.ws import broker as broker_module
from hub.channels.ws import bus
from hub.channels.ws.broker import NodeBroker
from hub.channels.ws.nodes import Nodes
from hub.channels.ws.parcel import Parcel
from hub.channels.ws.sightings import Sightings
from hub.core.bodies import EDIT
from hub.core.errors import QueueUnavailable
from hub.core.message import AppId, ConversationId, Entry, Message, MessageId, Published, UserKey
from hub.redis_ears import Ears
from hub.redis_link import Subscription, _OneLine, open_redis
from tests.integration.nodes_of_test import ANN, BEN, EVE, LEASE, NodeOfTest, now, parcel_of, seat, until
from tests.services import AnyRedis, RedisServer, start_redis

ROOM = ConversationId("cnv_1")
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
            return await node.ready()

        yield start


@pytest.fixture
async def pair(server: AnyRedis, cluster: Start) -> tuple[NodeOfTest, NodeOfTest]:
    """Ann is on a and b, Ben on b, Eve nowhere."""
    return await two(server, cluster)


async def two(server: AnyRedis, cluster: Start) -> tuple[NodeOfTest, NodeOfTest]:
    a, b = await cluster(server, "a"), await cluster(server, "b")
    await a.presence.register(seat("s1", ANN))
    await b.presence.register(seat("s2", ANN))
    await b.presence.register(seat("s3", BEN))
    a.caught_up = b.caught_up = 0
    return a, b


def published(seq: int, users: Sequence[UserKey], *, body: str = "hello", grew: bool = False) -> Published:
    message = Message(MessageId(f"msg_{seq}"), AppId("app"), ROOM, seq, ANN, "ann", "text", body, now())
    entries = tuple(Entry(user, 100 + seq, message.id) for user in users)
    return Published(message, entries, grew=grew)


class TestWhoGetsWhat:
    async def test_local_sessions_at_once_others_only_what_is_theirs(
        self, pair: tuple[NodeOfTest, NodeOfTest]
    ) -> None:
        a, b = pair
        batch = [published(1, [ANN, BEN, EVE]), published(2, [EVE]), published(3, [BEN])]
        await a.broker.publish(batch)
        assert a.pushed == [parcel_of(item) for item in batch]
        await until(lambda: len(b.pushed) == 2)
        assert b.pushed == [
            Parcel(b"hello", ROOM, 1, [(ANN, 101), (BEN, 101)]),
            Parcel(b"hello", ROOM, 3, [(BEN, 103)]),
        ]

    async def test_a_conversation_without_entries_is_told_once_to_who_hears_of_it(
        self, pair: tuple[NodeOfTest, NodeOfTest]
    ) -> None:
        a, b = pair
        await b.enter(ROOM)
        await a.broker.publish([published(1, [], grew=True)])
        await until(lambda: len(b.pushed) == 1)
        await asyncio.sleep(0.1)
        assert a.pushed == b.pushed == [Parcel(b"hello", ROOM, 1, [], grew=True)]

    async def test_who_is_named_has_the_message_and_everybody_hears_that_it_grew(
        self, pair: tuple[NodeOfTest, NodeOfTest]
    ) -> None:
        a, b = pair
        await b.enter(ROOM)
        await a.broker.publish([published(1, [BEN], grew=True)])
        await until(lambda: len(b.pushed) == 2)
        for node in (a, b):
            told = [(parcel.grew, parcel.users) for parcel in node.pushed]
            assert sorted(told) == [(False, [(BEN, 101)]), (True, [])]

    async def test_signals_go_where_their_users_are(self, pair: tuple[NodeOfTest, NodeOfTest]) -> None:
        a, b = pair
        await a.broker.signal({BEN, ANN, EVE}, {"type": "typing"})
        assert a.signals == [([ANN, BEN, EVE], b'{"type":"typing"}')]
        await until(lambda: b.signals == [([ANN, BEN], b'{"type":"typing"}')])

    async def test_a_changed_membership_reaches_every_node(self, pair: tuple[NodeOfTest, NodeOfTest]) -> None:
        a, b = pair
        await a.broker.drop_user(BEN, ROOM)
        await a.broker.drop_user(ANN, None)
        await until(lambda: b.dropped == [(BEN, ROOM), (ANN, None)])
        assert a.dropped == b.dropped

    async def test_what_has_changed_is_forgotten_before_anybody_hears_of_it(
        self, pair: tuple[NodeOfTest, NodeOfTest], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, b = pair
        await b.enter(ROOM)
        told: list[str] = []
        monkeypatch.setattr(b, "forget", lambda messages: told.extend(f"forget {name}" for name in messages))
        monkeypatch.setattr(
            b, "push", lambda parcels: told.extend(f"push {parcel.seq}" for parcel in parcels)
        )
        for seq in range(2, 40):
            told.clear()
            plain = published(seq, [BEN], grew=True)
            edit = replace(plain.message, kind=EDIT, control=True, reply_to=MessageId("msg_1"))
            await a.broker.publish([replace(plain, message=edit)])
            await until(lambda: told.count(f"push {seq}") == 2)  # noqa: B023  it waits here
            assert told[0] == "forget msg_1"

    async def test_order_is_kept_and_large_batches_are_cut(self, pair: tuple[NodeOfTest, NodeOfTest]) -> None:
        a, b = pair
        batch = [published(seq, [BEN], body="x" * 20_000) for seq in range(1, 61)]
        await a.broker.publish(batch)
        await until(lambda: len(b.pushed) == 60)
        assert [parcel.seq for parcel in b.pushed] == list(range(1, 61))
        assert 5 <= b.broker.metrics.frames_heard <= 10

    async def test_a_worker_publishes_too(
        self, server: AnyRedis, pair: tuple[NodeOfTest, NodeOfTest]
    ) -> None:
        a, b = pair
        async with open_redis(server.url) as link:
            sightings = Sightings(link, Nodes(link, node="worker", lease=LEASE))
            await NodeBroker(link, sightings, encode=parcel_of).publish([published(1, [ANN])])
        await until(lambda: len(a.pushed) == len(b.pushed) == 1)

    async def test_a_node_alone_asks_redis_nothing(self, server: AnyRedis, cluster: Start) -> None:
        a = await cluster(server, "a")
        await a.presence.register(seat("s1", ANN))
        await a.presence.others()
        before = await calls(a)
        for seq in range(100):
            await a.broker.publish([published(seq, [ANN, BEN])])
        assert len(a.pushed) == 100
        assert await calls(a) - before < 20  # its own housekeeping

    async def test_frames_of_another_release_are_counted_and_passed_over(
        self, pair: tuple[NodeOfTest, NodeOfTest]
    ) -> None:
        a, b = pair
        for payload in (b"", b"\x00", b"\x92\xa6future\x01"):
            await a.link.ask("PUBLISH", bus.channel_of("b"), payload)
        await a.broker.publish([published(1, [BEN])])
        await until(lambda: len(b.pushed) == 1)
        assert b.broker.metrics.frames_unknown == 3


async def calls(node: NodeOfTest) -> int:
    info: bytes = await node.link.ask("INFO", "stats")
    fields = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)
    return int(fields[b"total_commands_processed"])


async def deafen(subscription: Subscription) -> None:
    """Its connections stay, and nothing comes from them any more."""
    if isinstance(subscription, Ears):
        # Of one line only: the other goes on as if nothing were wrong.
        next(
            task for task in asyncio.all_tasks() if task.get_name() == f"redis-ear-{id(subscription)}"
        ).cancel()
    else:
        assert isinstance(subscription, _OneLine)
        await subscription._wire.send("UNSUBSCRIBE")


class TestBrokenLines:
    async def test_a_restart_is_survived_and_caught_up_with(
        self, own_server: RedisServer, cluster: Start
    ) -> None:
        a, b = await two(own_server, cluster)
        own_server.kill()
        await refused(a)
        assert [parcel.seq for parcel in a.pushed] == [1], "local sessions need no Redis"
        own_server.start()
        await until(lambda: a.caught_up > 0 and b.caught_up > 0)
        await until(lambda: b.agrees(BEN, "s3"))
        await until(lambda: reaches(a, b))

    async def test_a_cut_subscription_is_made_again(
        self, server: AnyRedis, pair: tuple[NodeOfTest, NodeOfTest]
    ) -> None:
        a, b = pair
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: a.caught_up == b.caught_up == 1)
        await a.broker.publish([published(1, [BEN])])
        await until(lambda: len(b.pushed) == 1)

    async def test_a_deaf_subscription_is_found_out(
        self, pair: tuple[NodeOfTest, NodeOfTest], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(broker_module, "_PROBE_EVERY", 0.3)
        monkeypatch.setattr(broker_module, "_SILENCE", 1.0)
        a, b = pair
        subscription = b.receiver._subscription
        assert subscription is not None
        # As after a failover that left the connection open: it leads to a server that nobody publishes on.
        await deafen(subscription)
        await until(lambda: b.broker.metrics.silences == 1)
        await until(lambda: b.receiver.healthy and b.caught_up == 1)
        await a.broker.publish([published(1, [BEN])])
        await until(lambda: len(b.pushed) == 1)
        await asyncio.sleep(1.2)
        assert b.broker.metrics.silences == 1, "its probes are heard again"

    async def test_health_is_told(self, own_server: RedisServer, cluster: Start) -> None:
        a = await cluster(own_server, "a")
        assert a.receiver.healthy
        assert a.receiver.last_frame_age < math.inf
        own_server.kill()
        await until(lambda: not a.receiver.healthy)
        own_server.start()
        await until(lambda: a.receiver.healthy)

    async def test_another_epoch_moves_the_subscription(
        self, pair: tuple[NodeOfTest, NodeOfTest], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, _ = pair
        before = a.broker.metrics.subscriptions
        subscription = a.receiver._subscription
        assert subscription is not None
        kind, current = type(subscription), type(subscription).current
        monkeypatch.setattr(
            kind, "current", property(lambda self: self is not subscription and current.__get__(self))
        )
        a.receiver._moved.set()
        await until(lambda: a.broker.metrics.subscriptions == before + 1)
        assert a.caught_up == 1


async def refused(node: NodeOfTest) -> None:
    await asyncio.sleep(0.6)  # what it knew of others is too old
    with pytest.raises(QueueUnavailable):
        await node.broker.publish([published(1, [ANN])])
    with pytest.raises(QueueUnavailable):
        await node.broker.signal([ANN], {"type": "typing"})
    assert node.broker.metrics.batches_dropped == 2
    assert len(node.signals) == 1


async def reaches(a: NodeOfTest, b: NodeOfTest) -> bool:
    try:
        await a.broker.publish([published(9, [BEN])])
    except QueueUnavailable:
        return False
    await asyncio.sleep(0.05)
    return any(parcel.seq == 9 for parcel in b.pushed)
