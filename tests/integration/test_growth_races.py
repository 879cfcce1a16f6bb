"""A large conversation grows on one node without a pause, while on another its members connect, join and are cut off:
nobody is left without the newest number, whatever comes between."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

from hub.channels.ws.broker import Receiver, open_broker
from hub.channels.ws.frames import encode
from hub.channels.ws.nodes import Nodes
from hub.channels.ws.presence import open_presence
from hub.core.errors import QueueUnavailable
from hub.core.message import AppId, ConversationId, Message, MessageId, Published, UserKey
from hub.redis_link import LinkLimits, open_redis
from tests.integration.nodes_of_test import LEASE, LIMITS, NodeOfTest, now, until
from tests.services import AnyRedis
from tests.unit.ws.rig import ROOM, Rig, Socket, a_rig

SEED = int(os.environ.get("HUB_TEST_SEED", "1"))
ROUNDS = int(os.environ.get("HUB_TEST_ROUNDS", "6"))


class Listener:
    """A client that pulls when it hears of growth: how far it has the conversation."""

    def __init__(self, stage: Stage, name: str, socket: Socket) -> None:
        self.name = name
        self.known = 0
        self.socket = socket
        self._stage = stage
        write = socket.transport.write

        def written(data: bytes) -> None:
            write(data)
            for frame in socket.frames():
                if isinstance(frame, dict) and frame["type"] == "grew":
                    # Without a number it asks what there is now; with one it has that, and perhaps no more.
                    self.known = max(self.known, frame["seq"] or stage.committed)

        socket.transport.write = written  # type: ignore[method-assign]


class Stage:
    """A node that speaks, and one with a gateway that listens."""

    def __init__(self, speaker: NodeOfTest, rig: Rig, receiver: Receiver, dice: random.Random) -> None:
        self.speaker, self.rig, self.receiver, self.dice = speaker, rig, receiver, dice
        self.committed = 0
        self.listeners: list[Listener] = []
        self.members: list[UserKey] = rig.hub.rooms.setdefault(ROOM, [])
        rig.hub.diffused.add(ROOM)
        self._read = rig.hub.read_diffused
        rig.hub.read_diffused = self._slowly  # type: ignore[method-assign]

    async def _slowly(self, user: UserKey) -> Mapping[ConversationId, int]:
        await asyncio.sleep(self.dice.random() * 0.01)
        found = await self._read(user)
        await asyncio.sleep(self.dice.random() * 0.01)
        return found

    async def speak(self, count: int) -> None:
        """Each is committed, then published until that is done, as the publisher and the sweep do."""
        for _ in range(count):
            self.committed += 1
            seq = self.rig.hub.unread[ROOM] = self.committed
            message = Message(
                MessageId(f"m{seq}"), AppId("app"), ROOM, seq, UserKey(1), "u", "text", "{}", now()
            )
            while True:
                try:
                    await self.speaker.broker.publish([Published(message, (), grew=True)])
                    break
                except QueueUnavailable:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(self.dice.random() * 0.004)

    async def connect(self, name: str) -> None:
        await asyncio.sleep(self.dice.random() * 0.05)
        listener = Listener(self, name, self.rig.socket())
        hello = {
            "type": "hello",
            "token": name,
            "device": {"id": f"d{len(self.listeners)}", "platform": "web"},
        }
        self.listeners.append(listener)
        listener.socket.say(hello)

    async def join(self, name: str) -> None:
        await asyncio.sleep(self.dice.random() * 0.05)
        user = self.rig.hub.key(name)
        self.members.append(user)
        with suppress(QueueUnavailable):  # then it is told later
            await self.speaker.broker.drop_user(user, ROOM)

    async def cut(self, server: AnyRedis) -> None:
        await asyncio.sleep(self.dice.random() * 0.05)
        await asyncio.to_thread(server.command, "CLIENT", "KILL", "TYPE", "pubsub")

    def lacking(self) -> list[str]:
        """Members whose clients have not heard of the newest."""
        mine = {self.rig.hub.key(listener.name): listener for listener in self.listeners}
        return [
            f"{listener.name} has {listener.known} of {self.committed}"
            for user, listener in mine.items()
            if user in self.members and listener.known < self.committed
        ]


@asynccontextmanager
async def a_stage(server: AnyRedis, dice: random.Random) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(a_rig(frames_per_second=1_000))
        link = await stack.enter_async_context(
            open_redis(server.url, LinkLimits(pause=timedelta(milliseconds=50)))
        )
        nodes = Nodes(link, node="listening", lease=LEASE)
        presence = await stack.enter_async_context(open_presence(link, nodes, limits=LIMITS, clock=now))
        opened = open_broker(link, nodes, presence, encode=encode, local=rig.node)
        _, receiver = await stack.enter_async_context(opened)
        rig.node.on_rooms = receiver.hear
        speaker = NodeOfTest("speaking", server.url)
        stack.push_async_callback(speaker.stack.aclose)
        await (await speaker.start()).ready()
        speaker.broker._encode = encode
        await until(lambda: receiver.healthy)
        yield Stage(speaker, rig, receiver, dice)


async def play(stage: Stage, server: AnyRedis, *, cuts: bool) -> None:
    for round_ in range(ROUNDS):
        old = [f"u{round_}.{number}" for number in range(3)]
        new = [f"n{round_}.{number}" for number in range(2)]
        # Some are members when they connect, some connect and are brought in then, and some both at once.
        stage.members += [stage.rig.hub.key(name) for name in old]
        await asyncio.gather(
            stage.speak(25),
            *(stage.connect(name) for name in (*old, *new)),
            *(stage.join(name) for name in new),
            *([stage.cut(server)] if cuts and round_ % 2 else []),
        )
        try:
            await until(lambda: not stage.lacking(), within=10)
        except TimeoutError:
            raise AssertionError(f"round {round_} of seed {SEED}: {stage.lacking()}") from None
        if stage.dice.random() < 0.5:
            # Everybody goes: after that nobody here wants it, and it must be asked for anew.
            for listener in stage.listeners:
                listener.socket.transport.abort()
            stage.listeners.clear()
            await asyncio.sleep(0.01)
            await stage.speak(2)


async def test_members_who_connect_and_join_while_it_grows_hear_of_the_newest(any_redis: AnyRedis) -> None:
    async with a_stage(any_redis, random.Random(SEED)) as stage:
        await play(stage, any_redis, cuts=False)
        assert stage.receiver._metrics.subscriptions == 1


async def test_whoever_is_cut_off_meanwhile_hears_of_it_too(any_redis: AnyRedis) -> None:
    async with a_stage(any_redis, random.Random(SEED)) as stage:
        await play(stage, any_redis, cuts=True)
        assert stage.receiver._metrics.subscriptions > 1
