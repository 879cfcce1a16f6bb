"""Who hears that a large conversation grew: the nodes with sessions of its members, always, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hub.channels.ws import broker as broker_module
from hub.channels.ws import bus
from hub.channels.ws import drops as drops_module
from hub.channels.ws import growth as growth_module
from hub.core.errors import QueueUnavailable
from hub.core.message import AppId, ConversationId, Entry, Message, MessageId, Published, UserKey
from hub.redis_link import Subscription, open_redis
from hub.redis_slots import slot_of
from tests.integration.nodes_of_test import ANN, BEN, EVE, NodeOfTest, now, seat, until
from tests.services import AnyRedis, RedisCluster, RedisServer, start_redis

SMALL, LARGE, OTHER = (ConversationId(f"cnv_{name}") for name in ("small", "large", "other"))
Start = Callable[..., Awaitable[NodeOfTest]]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that may be killed."""
    with start_redis(tmp_path) as server:
        yield server


class Ear:
    """All that really came to a node through Redis and was not its own or housekeeping."""

    def __init__(self, node: NodeOfTest) -> None:
        self.frames: list[bus.Frame] = []
        self.own = 0
        hear, name = node.receiver._hear, node.name

        def hearing(payload: bytes) -> None:
            frame = bus.decode(payload)
            if isinstance(frame, bus.Pushed | bus.Signaled | bus.Changed | bus.Dropped | bus.Forgot):
                self.frames.append(frame)
                self.own += frame.origin == name
            hear(payload)

        node.receiver._hear = hearing  # type: ignore[method-assign]

    @property
    def seqs(self) -> list[int]:
        """Of the messages that came."""
        return [p.seq for frame in self.frames if isinstance(frame, bus.Pushed) for p in frame.parcels]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(server: AnyRedis, name: str, *rooms: ConversationId) -> NodeOfTest:
            node = NodeOfTest(name, server.url)
            node.rooms.update(rooms)
            stack.push_async_callback(node.stack.aclose)
            await (await node.start()).ready()
            await until(lambda: node.caught_up > 0)
            node.caught_up = 0
            return node

        yield start


def said(seq: int, room: ConversationId = LARGE, users: Sequence[UserKey] = ()) -> Published:
    """In a large conversation, unless it is for certain users."""
    message = Message(MessageId(f"msg_{seq}"), AppId("app"), room, seq, ANN, "ann", "text", "hello", now())
    return Published(message, tuple(Entry(user, 100 + seq, message.id) for user in users), grew=not users)


def channels(node: NodeOfTest) -> int:
    return len(node.receiver._growth)


class TestWhoHears:
    async def test_a_node_without_sessions_of_the_members_receives_nothing(
        self, any_redis: AnyRedis, start: Start
    ) -> None:
        """Three nodes, small and large conversations: what each is sent is exactly what its sessions are to have."""
        nodes = a, b, _ = [await start(any_redis, name) for name in "abc"]
        ears = [Ear(node) for node in nodes]
        await a.presence.register(seat("s1", ANN))
        await b.presence.register(seat("s2", BEN))
        await b.enter(LARGE)
        await b.presence.poll(EVE)
        batch = [said(1, SMALL, [ANN, BEN]), said(2), said(3, SMALL, [EVE]), said(4, OTHER), said(5)]
        await a.broker.publish(batch)
        await a.broker.signal([ANN, BEN], {"type": "typing"})
        await until(lambda: sorted(ears[1].seqs) == [1, 2, 3, 5] and len(b.signals) == 1)
        await a.broker.publish([said(seq) for seq in range(6, 106)])
        await until(lambda: ears[1].seqs[-1] == 105)
        for node in nodes:  # what was sent before this has come
            await node.link.ask("PUBLISH", bus.EVERYBODY, bus.encode(bus.Dropped("x", EVE, None)))
        await until(lambda: all(len(node.dropped) == 3 for node in nodes))
        assert [len(ear.frames) - 3 for ear in ears] == [0, 4, 0]
        assert ears[2].seqs == ears[0].seqs == []
        assert [channels(node) for node in nodes] == [0, 1, 0]

    async def test_each_of_many_nodes_hears_of_its_own_conversations(
        self, any_redis: AnyRedis, start: Start
    ) -> None:
        rooms = [ConversationId(f"cnv_{number}") for number in range(3)]
        assert len({bus.growth_of(room) for room in rooms}) == 3
        nodes = [await start(any_redis, name) for name in "abc"]
        for node, room in zip(nodes, rooms, strict=True):
            await node.enter(room)
        ears = [Ear(node) for node in nodes]
        for node in nodes:
            await node.broker.publish([said(number, room) for number, room in enumerate(rooms)])
        await until(lambda: all(len(ear.frames) == 3 for ear in ears))
        assert [ear.seqs for ear in ears] == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
        assert [ear.own for ear in ears] == [1, 1, 1]

    async def test_conversations_that_share_a_channel_share_a_frame(
        self, any_redis: AnyRedis, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bus, "GROWTH_CHANNELS", 1)
        a, b = await start(any_redis, "a"), await start(any_redis, "b")
        await b.enter(LARGE)
        ear = Ear(b)
        await a.broker.publish([said(1), said(2, OTHER), said(3)])
        await until(lambda: ear.seqs == [1, 2, 3])
        assert len(ear.frames) == 1

    async def test_a_node_hears_at_most_so_many_channels(
        self, any_redis: AnyRedis, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bus, "GROWTH_CHANNELS", 1_200)
        a, b = await start(any_redis, "a"), await start(any_redis, "b")
        rooms = [ConversationId(f"cnv_{number}") for number in range(20_000)]
        await b.enter(*rooms)
        assert channels(b) == 1_200
        await a.broker.publish([said(seq, rooms[seq * 100]) for seq in range(200)])
        await until(lambda: sorted(parcel.seq for parcel in b.pushed) == list(range(200)))

    async def test_who_publishes_asks_nobody_and_goes_once(
        self, any_redis: AnyRedis, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, b = await start(any_redis, "a"), await start(any_redis, "b")
        await b.enter(LARGE, OTHER)
        await a.presence.others()
        runs: list[int] = []
        run = a.link.run

        async def counted(commands: Sequence[object]) -> list[object]:
            runs.append(len(commands))
            return await run(commands)  # type: ignore[arg-type]

        monkeypatch.setattr(a.presence, "others", lambda: asyncio.sleep(0, frozenset({"b"})))
        monkeypatch.setattr(a.link, "run", counted)
        monkeypatch.setattr(broker_module, "_PROBE_EVERY", 60.0)
        await a.broker.publish([said(seq, (LARGE, OTHER)[seq % 2]) for seq in range(100)])
        assert [n for n in runs if n == 2] == [2]
        await until(lambda: len(b.pushed) == 100)


class TestNothingIsLost:
    async def test_what_is_published_after_it_is_heard_of_comes(
        self, any_redis: AnyRedis, start: Start
    ) -> None:
        """Others publish while conversations come and go: each is heard from the moment of the promise."""
        a, b = await start(any_redis, "a"), await start(any_redis, "b")
        for number in range(60):
            room = ConversationId(f"cnv_{number}")
            await asyncio.gather(b.enter(room), a.broker.publish([said(1, room), said(1, OTHER)]))
            await a.broker.publish([said(2, room)])
            await until(lambda: any(p.seq == 2 and p.conversation == room for p in b.pushed))  # noqa: B023
        assert channels(b) == 60

    async def test_what_nobody_wants_is_not_heard_and_heard_again_when_wanted(
        self, any_redis: AnyRedis, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(growth_module, "_TIDY_EVERY", 0.02)
        a, b = await start(any_redis, "a"), await start(any_redis, "b", OTHER)
        for seq in range(1, 30):
            await b.enter(LARGE)
            await a.broker.publish([said(seq)])
            await until(lambda: b.pushed[-1:] != [] and b.pushed[-1].seq == seq)  # noqa: B023
            b.rooms.discard(LARGE)
            if seq % 3 == 0:
                await until(lambda: channels(b) == 1)
            await asyncio.sleep(0.01 * (seq % 5))
        await until(lambda: channels(b) == 1)
        ear = Ear(b)
        await a.broker.publish([said(98), said(99, OTHER)])
        await until(lambda: ear.seqs == [99])
        assert b.caught_up == 0, "the same subscription all the time"

    async def test_a_broken_line_is_made_again_with_everything_before_heads_are_compared(
        self, any_redis: AnyRedis, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, b = await start(any_redis, "a"), await start(any_redis, "b", LARGE)
        heard: list[int] = []
        monkeypatch.setattr(b, "catch_up", lambda: heard.append(channels(b)))
        for _ in range(3):
            any_redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            count = len(heard) + 1
            await until(lambda: len(heard) == count)  # noqa: B023
            assert heard == [1] * count
            await a.broker.publish([said(count)])
            await until(lambda: [p.seq for p in b.pushed][-1:] == [count])  # noqa: B023

    async def test_who_comes_while_nothing_can_be_heard_does_not_wait_and_is_caught_up_with(
        self, own_server: RedisServer, start: Start
    ) -> None:
        a, b = await start(own_server, "a"), await start(own_server, "b")
        own_server.kill()
        await until(lambda: not b.receiver.healthy)
        async with asyncio.timeout(1):
            await b.enter(LARGE)
        own_server.start()
        await until(lambda: b.caught_up > 0)
        assert channels(b) == 1

        async def reached() -> bool:
            try:
                await a.broker.publish([said(1)])
            except QueueUnavailable:
                return False
            return any(parcel.seq == 1 for parcel in b.pushed)

        await until(reached)

    async def test_a_server_that_does_not_confirm_is_left(
        self, any_redis: AnyRedis, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        b = await start(any_redis, "b")
        subscription = b.receiver._subscription
        assert subscription is not None

        async def refused(_self: Subscription, *_channels: str) -> None:
            raise QueueUnavailable("not confirmed")

        with monkeypatch.context() as patched:
            patched.setattr(type(subscription), "add", refused)
            await b.enter(LARGE)
        await until(lambda: b.caught_up == 1 and channels(b) == 1)
        assert b.receiver._subscription is not subscription

    async def test_a_waiter_that_gives_up_takes_nothing_from_the_others(
        self, any_redis: AnyRedis, start: Start
    ) -> None:
        b = await start(any_redis, "b")
        hasty, patient = (asyncio.create_task(b.enter(LARGE)) for _ in range(2))
        await asyncio.sleep(0)
        hasty.cancel()
        await patient
        assert channels(b) == 1


class TestOnACluster:
    async def test_its_channels_are_on_a_line_that_is_probed_anyway(self) -> None:
        rooms = [f"cnv_{number}" for number in range(50)]
        assert {slot_of(bus.growth_of(room)) for room in rooms} == {slot_of(bus.EVERYBODY)}

    async def test_a_slot_that_moves_takes_them_along(
        self, redis_cluster: RedisCluster, start: Start
    ) -> None:
        redis_cluster.flush()
        a, b = await start(redis_cluster, "a"), await start(redis_cluster, "b", LARGE)
        source = redis_cluster.owner(bus.EVERYBODY)
        target = next(node for node in redis_cluster.masters() if node is not source)
        redis_cluster.move(bus.EVERYBODY, target)
        try:
            await asyncio.gather(b.enter(OTHER), until(lambda: b.caught_up > 0 and b.receiver.healthy))
            await until(lambda: channels(b) == 2)
            await a.broker.publish([said(1), said(2, OTHER)])
            await until(lambda: sorted(parcel.seq for parcel in b.pushed) == [1, 2])
        finally:
            redis_cluster.move(bus.EVERYBODY, source)

    async def test_a_channel_of_a_slot_that_no_line_leads_to_is_refused(
        self, redis_cluster: RedisCluster
    ) -> None:
        async with open_redis(redis_cluster.url) as link, link.subscribe(bus.EVERYBODY) as subscription:
            with pytest.raises(QueueUnavailable, match="no line"):
                await subscription.add("hub:elsewhere")


class TestChangesOfMemberships:
    async def test_what_could_not_be_told_is_told_when_redis_is_back_and_once_more(
        self, own_server: RedisServer, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drops_module, "_AGAIN", 0.1)
        monkeypatch.setattr(drops_module, "_ONCE_MORE", 0.5)
        a, b = await start(own_server, "a"), await start(own_server, "b")
        own_server.kill()
        for conversation in (LARGE, None):
            with pytest.raises(QueueUnavailable):
                await a.broker.drop_user(BEN, conversation)
        assert a.dropped == [(BEN, LARGE), (BEN, None)], "those here are told at once"
        assert len(a.broker._drops) == 2
        own_server.start()
        await until(lambda: len(a.broker._drops) == 0)
        await until(lambda: {(BEN, LARGE), (BEN, None)} <= set(b.dropped))
        assert len(b.dropped) <= 4

    async def test_only_so_many_are_remembered(
        self, own_server: RedisServer, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drops_module, "_OWED", 10)
        a = await start(own_server, "a")
        own_server.kill()
        with pytest.raises(QueueUnavailable):
            await a.broker.drop_users([UserKey(number) for number in range(25)], LARGE)
        assert len(a.broker._drops) == 10
