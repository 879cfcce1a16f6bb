"""Messages over transports that only remember: every number once and in order, whatever was lost on the way."""

from __future__ import annotations

import pytest

from hub.channels.ws.frames import encode
from tests.unit.ws.rig import a_rig, numbers


async def test_closed_numbers_keep_the_stretch_whole() -> None:
    async with a_rig() as rig:
        rig.hub.write("ann")
        rig.hub.queues[rig.hub.key("ann")].append(None)
        rig.hub.write("ann")
        frames = await rig.socket().hello("ann", cursor=0)
        assert numbers(frames) == [1, 2, 3]
        assert frames[2]["kind"] == "tombstone"


async def test_live_messages_go_out_at_once_and_once() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        published = rig.hub.write("ann")
        assert numbers(socket.frames()) == [1]
        rig.node.push([encode(published)])
        assert socket.frames() == []
        assert rig.node.pushed == 1


async def test_many_at_once_are_one_write_a_socket() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        before = len(socket.transport.written)
        rig.node.push([encode(rig.hub.write("ann", push=False)) for _ in range(20)])
        assert numbers(socket.frames()) == list(range(1, 21))
        assert len(socket.transport.written) == before + 1


async def test_a_large_burst_is_written_in_parts_and_in_order() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        before = len(socket.transport.written)
        rig.node.push([encode(rig.hub.write("ann", text="x" * 30_000, push=False)) for _ in range(5)])
        assert numbers(socket.frames()) == [1, 2, 3, 4, 5]
        assert 1 < len(socket.transport.written) - before < 5


async def test_out_of_order_and_lost_parcels_are_read_from_the_queue() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        parcels = [encode(rig.hub.write("ann", push=False)) for _ in range(4)]
        rig.node.push([parcels[0]])
        rig.node.push([parcels[2]])
        assert numbers(socket.frames()) == [1]
        assert numbers(await socket.after(0.1)) == [2, 3, 4]
        assert rig.node.held_back == 1


async def test_what_was_never_pushed_is_found_by_the_next_heartbeat() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        rig.hub.write("ann", push=False)
        socket.say({"type": "ping", "id": 9})
        frames = await socket.after(0.1)
        assert frames[0] == {"type": "pong", "id": 9, "head": 1}
        assert numbers(frames) == [1]


async def test_catch_up_asks_every_queue() -> None:
    async with a_rig() as rig:
        sockets = [await rig.user(name) for name in ("ann", "bob")]
        rig.hub.write("ann", "bob", push=False)
        rig.node.catch_up()
        for socket in sockets:
            assert numbers(await socket.after(0.1)) == [1]


async def test_recovery_survives_a_database_that_is_away_for_a_moment() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        rig.hub.away = True
        rig.hub.write("ann", push=False)
        rig.node.push([encode(rig.hub.write("ann", push=False))])
        assert await socket.after(0.15) == []
        rig.hub.away = False
        assert numbers(await socket.after(0.5)) == [1, 2]


async def test_a_long_absence_is_read_in_pages() -> None:
    async with a_rig() as rig:
        for _ in range(1_200):
            rig.hub.write("ann")
        frames = await rig.socket().hello("ann")
        assert numbers(frames) == list(range(1, 1_201))
        assert rig.hub.syncs < 10


async def test_a_bug_while_reading_a_queue_is_not_the_end_of_it() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        rig.hub.write("ann", push=False)
        rig.hub.down = True
        rig.node.catch_up()
        assert [frame["type"] for frame in await socket.after()] == ["stale"]
        rig.hub.down = False
        assert numbers(await socket.after(0.2)) == [1]


async def test_numbers_that_never_come_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.channels.ws.catchup._TRIES", 2)
    async with a_rig() as rig:
        socket = await rig.user("ann")
        socket.link.session.heard_head(7)
        rig.gateway.recovery.soon(socket.link)
        await socket.after(0.4)
        assert not socket.link.session.behind
        rig.hub.write("ann")
        assert numbers(socket.frames()) == [1]
