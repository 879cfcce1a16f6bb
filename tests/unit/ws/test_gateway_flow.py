"""Sockets that do not read or write too much, over transports that only remember; and what the node counts."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.unit.ws.rig import ROOM, a_rig, bye_of, numbers, types
from tests.unit.ws.test_wire import masked


async def test_a_full_socket_is_left_alone_and_then_brought_up_to_date() -> None:
    async with a_rig(slow_soft_bytes=10_000, slow_hard_bytes=100_000) as rig:
        slow, quick = await rig.user("ann"), await rig.user("bob")
        slow.transport.stuck = True
        for _ in range(50):
            rig.hub.write("ann", "bob", text="x" * 1_000)
        assert slow.transport.waiting < 13_000
        assert len(numbers(quick.frames())) == 50
        got = numbers(slow.frames())
        slow.transport.drain()
        frames = await slow.after(0.1)
        assert frames[0] == {"type": "behind", "head": 50}
        assert got + numbers(frames) == list(range(1, 51))


async def test_recovery_stops_where_the_socket_is_full() -> None:
    async with a_rig(slow_soft_bytes=10_000, slow_hard_bytes=1_000_000) as rig:
        for _ in range(100):
            rig.hub.write("ann", text="x" * 2_000)
        socket = rig.socket()
        socket.transport.stuck = True
        first = numbers(await socket.hello("ann"))
        assert 1 < len(first) < 50
        socket.transport.drain()
        assert first + numbers(await socket.after(0.2)) == list(range(1, 101))


async def test_who_asks_and_does_not_read_is_sent_away() -> None:
    async with a_rig(slow_soft_bytes=10_000, slow_hard_bytes=50_000, frames_per_second=1_000) as rig:
        for _ in range(100):
            rig.hub.write("ann", text="x" * 500)
        socket = await rig.user("ann", cursor=100)
        socket.transport.stuck = True
        for at in range(20):
            socket.say({"type": "sync", "id": at, "after": 0, "limit": 100})
        await asyncio.sleep(0.05)
        assert socket.transport.aborted
        assert socket.transport.waiting < 150_000
        assert len(rig.node.seats) == 0


async def test_a_socket_that_stays_full_is_sent_away() -> None:
    async with a_rig(slow_soft_bytes=10_000, heartbeat=timedelta(seconds=0.4)) as rig:
        socket = await rig.user("ann")
        socket.transport.stuck = True
        rig.hub.write("ann", text="x" * 20_000)
        await asyncio.sleep(1.0)
        assert bye_of(socket.frames()) == ("slow_consumer", 4413)


async def test_growth_of_large_conversations_is_told_and_not_forgotten_while_full() -> None:
    async with a_rig(slow_soft_bytes=5_000) as rig:
        ann = rig.hub.key("ann")
        rig.hub.rooms[ROOM] = [ann]
        rig.hub.diffused.add(ROOM)
        socket = await rig.user("ann")
        send = {
            "type": "send",
            "id": 1,
            "to": {"conversation": ROOM},
            "client_msg_id": "a",
            "kind": "text",
            "body": "hi",
        }
        socket.say(send)
        frames = await socket.after()
        assert {"type": "grew", "conversation": ROOM, "seq": 1} in frames
        socket.transport.stuck = True
        rig.hub.write("ann", text="x" * 6_000)
        socket.say({**send, "client_msg_id": "b"})
        await asyncio.sleep(0.02)
        assert "grew" not in types(socket.frames())
        socket.transport.drain()
        assert {"type": "grew", "conversation": ROOM, "seq": 2} in await socket.after()
        rig.node.catch_up()
        assert {"type": "grew", "conversation": ROOM, "seq": None} in await socket.after()


async def test_pings_are_ponged_but_not_without_end() -> None:
    async with a_rig(frames_per_second=50) as rig:
        socket = await rig.user("ann")
        socket.link.data_received(masked(9, b"hey"))
        assert types(socket.frames()) == [10]
        socket.link.data_received(masked(9, b"") * 200)
        assert bye_of(socket.frames()) == ("rate_limited", 4429)


async def test_a_flood_of_frames_ends_the_session() -> None:
    async with a_rig(frames_per_second=50) as rig:
        socket = await rig.user("ann")
        for _ in range(150):
            socket.say({"type": "ack", "seq": 0})
        frames = socket.frames()
        assert frames[0]["code"] == "rate_limited"
        assert bye_of(frames) == ("rate_limited", 4429)


async def test_whoever_looks_after_the_node_can_see_what_it_does() -> None:
    async with a_rig(slow_soft_bytes=5_000) as rig:
        ann, eve = await rig.user("ann"), await rig.user("eve")
        eve.say({"type": "bye"})
        ann.transport.stuck = True
        rig.hub.write("ann", text="x" * 6_000)
        await rig.hub.signal([rig.hub.key("ann")], {"type": "typing"})
        assert rig.gateway.partings == {"goodbye": 1}
        assert (rig.node.missed, rig.node.pushed, len(rig.node.seats)) == (1, 1, 1)
