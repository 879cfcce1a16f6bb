"""Hellos over transports that only remember: what is welcomed and from which number on, what is refused and why."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.unit.ws.rig import a_rig, bye_of, numbers, types
from tests.unit.ws.test_wire import masked


async def test_a_hello_is_welcomed_and_everything_missing_follows() -> None:
    async with a_rig() as rig:
        for _ in range(3):
            rig.hub.write("ann")
        frames = await rig.socket().hello("ann", cursor=1, id="h")
        welcome = frames[0]
        assert (welcome["type"], welcome["id"], welcome["user"]) == ("welcome", "h", "ann")
        assert (welcome["head"], welcome["cursor"]) == (3, 1)
        assert numbers(frames) == [2, 3]


async def test_without_a_cursor_the_devices_own_counts() -> None:
    async with a_rig() as rig:
        for _ in range(3):
            rig.hub.write("ann")
        socket = await rig.user("ann")
        socket.say({"type": "ack", "seq": 2})
        assert numbers(await rig.socket().hello("ann")) == [3]
        assert numbers(await rig.socket().hello("ann", "another")) == [1, 2, 3]


async def test_a_cursor_ahead_of_the_devices_is_an_ack() -> None:
    async with a_rig() as rig:
        rig.hub.write("ann")
        await rig.user("ann", cursor=1)
        await rig.user("ann", cursor=0)
        assert [seq for _, _, seq in rig.hub.acks] == [1]


@pytest.mark.parametrize(("cursor", "floor"), [(99, 0), (1, 3)])
async def test_a_cursor_that_cannot_be_continued_from_is_rebased(cursor: int, floor: int) -> None:
    async with a_rig() as rig:
        for _ in range(5):
            rig.hub.write("ann")
        rig.hub.floor[rig.hub.key("ann")] = floor
        socket = rig.socket()
        frames = await socket.hello("ann", cursor=cursor)
        assert frames[1] == {"type": "rebase", "head": 5}
        rig.hub.write("ann")
        assert numbers(await socket.after()) == [6]


async def test_a_cursor_beyond_the_queue_is_rebased_as_soon_as_the_database_is_back() -> None:
    async with a_rig() as rig:
        rig.hub.write("ann")
        socket = rig.socket()
        rig.hub.sync_away = True
        assert types(await socket.hello("ann", cursor=50)) == ["welcome"]
        rig.hub.sync_away = False
        assert {"type": "rebase", "head": 1} in await socket.after(0.3)
        rig.hub.write("ann")
        assert numbers(socket.frames()) == [2]


async def test_a_second_hello_with_nothing_new_reads_nothing() -> None:
    async with a_rig() as rig:
        rig.hub.write("ann")
        await rig.user("ann", cursor=1)
        assert rig.hub.syncs == 0
        rig.hub.write("ann")
        assert rig.node.pushed == 1


async def test_what_is_sent_with_the_hello_is_answered_after_it() -> None:
    async with a_rig() as rig:
        socket = rig.socket()
        socket.say({"type": "hello", "token": "ann", "device": {"id": "d", "platform": "web"}})
        socket.say({"type": "ping", "id": 1})
        assert types(await socket.after()) == ["welcome", "pong"]


@pytest.mark.parametrize(
    ("token", "reason", "code"),
    [("bad", "token_invalid", 4401), ("old", "token_expired", 4403), ("banned", "forbidden", 4407)],
)
async def test_a_refused_hello_is_told_why(token: str, reason: str, code: int) -> None:
    async with a_rig() as rig:
        frames = await rig.socket().hello(token, id="h")
        assert frames[0]["type"] == "error"
        assert frames[0]["id"] == "h"
        assert bye_of(frames) == (reason, code)


async def test_a_hello_while_the_database_is_away_is_to_be_repeated() -> None:
    async with a_rig() as rig:
        rig.hub.away = True
        frames = await rig.socket().hello("ann")
        assert bye_of(frames) == ("unavailable", 4503)
        assert frames[-2]["reconnect"] is True
        assert frames[-2]["retry_after_s"] == 3.0
        rig.hub.away, rig.hub.down = False, True
        assert bye_of(await rig.socket().hello("ann")) == ("internal", 1011)


async def test_a_hello_that_takes_too_long_is_to_be_repeated() -> None:
    async with a_rig(hello_patience=0.05) as rig:
        rig.hub.hello_delay = 1.0
        frames = await rig.socket().hello("ann")
        assert bye_of(frames) == ("busy", 4430)
        assert frames[-2]["retry_after_s"] > 0


async def test_hellos_wait_for_their_turn_and_those_beyond_the_backlog_come_back_later() -> None:
    """One at a time, two may wait: of four that come at once three are welcomed, and one is told when to come."""
    async with a_rig(hello_concurrency=1, hello_backlog=2) as rig:
        rig.hub.hello_delay = 0.05
        sockets = [rig.socket() for _ in range(4)]
        for number, socket in enumerate(sockets):
            socket.say({"type": "hello", "token": f"u{number}", "device": {"id": "d", "platform": "web"}})
        answers = [await socket.after() for socket in sockets]
        assert [frames[0]["type"] for frames in answers] == ["welcome", "welcome", "welcome", "bye"]
        assert bye_of(answers[3]) == ("busy", 4430)
        assert (answers[3][0]["reconnect"], answers[3][0]["retry_after_s"] > 0) == (True, True)


async def test_who_went_while_waiting_for_a_turn_is_not_looked_up() -> None:
    async with a_rig(hello_concurrency=1) as rig:
        rig.hub.hello_delay = 0.05
        first, second = rig.socket(), rig.socket()
        for socket, user in ((first, "ann"), (second, "ben")):
            socket.say({"type": "hello", "token": user, "device": {"id": "d", "platform": "web"}})
        second.transport.abort()
        assert (await first.after())[0]["type"] == "welcome"
        assert "ben" not in rig.hub.users


async def test_a_hello_to_a_node_that_drains_is_sent_elsewhere() -> None:
    async with a_rig() as rig:
        socket = rig.socket()
        rig.gateway.draining = True
        assert bye_of(await socket.hello("ann")) == ("draining", 1012)


async def test_without_redis_a_hello_is_welcomed_all_the_same() -> None:
    async with a_rig() as rig:
        rig.hub.redis_away = True
        socket = rig.socket()
        socket.say({"type": "hello", "token": "ann", "device": {"id": "d", "platform": "web"}})
        await asyncio.sleep(0)
        socket.transport.abort()
        await socket.after()
        bob = await rig.user("bob")
        bob.transport.abort()
        await bob.after()
        assert len(rig.node.seats) == 0


async def test_nobody_says_nothing_for_long() -> None:
    async with a_rig(hello_timeout=timedelta(seconds=0.2)) as rig:
        socket = rig.socket()
        assert bye_of(await socket.after(0.8)) == ("hello_timeout", 4408)


async def test_what_is_said_first_must_be_a_hello() -> None:
    async with a_rig() as rig:
        for first in (b"{", b'{"type":"ping","id":1}', b'{"type":"hello"}'):
            socket = rig.socket()
            socket.say(first)
            frames = socket.frames()
            assert frames[0]["code"] == "bad_request"
            assert bye_of(frames) == ("bad_request", 4400)


async def test_large_frames_are_for_those_who_are_known() -> None:
    async with a_rig() as rig:
        stranger = rig.socket()
        stranger.link.data_received(masked(1, b"x" * 20_000))
        assert bye_of(stranger.frames()) == ("frame_too_big", 1009)
        ann = await rig.user("ann")
        ann.say(b'{"type":"ack","seq":0,"padding":"' + b"x" * 20_000 + b'"}')
        assert ann.frames() == []


async def test_room_is_limited() -> None:
    async with a_rig(max_connections=65) as rig:
        assert rig.gateway.refusal is None
        for _ in range(64):
            rig.socket()
        assert rig.gateway.refusal == "too_many_unknown"
        rig.socket()
        assert rig.gateway.refusal == "too_many_connections"


async def test_a_connection_lost_during_its_hello_leaves_nothing_behind() -> None:
    async with a_rig() as rig:
        socket = rig.socket()
        socket.say({"type": "hello", "token": "ann", "device": {"id": "d", "platform": "web"}})
        await asyncio.sleep(0)
        socket.transport.abort()
        await asyncio.sleep(0.05)
        assert rig.hub.present == {}
        assert len(rig.node.seats) == len(rig.gateway) == 0
        assert socket.siblings == set()


async def test_a_connection_lost_before_its_seat_takes_none() -> None:
    async with a_rig() as rig:
        rig.hub.hello_delay = 0.02
        socket = rig.socket()
        socket.say({"type": "hello", "token": "ann", "device": {"id": "d", "platform": "web"}})
        await asyncio.sleep(0)
        socket.transport.abort()
        await socket.after(0.05)
        assert len(rig.node.seats) == 0
        assert rig.hub.present == {}
