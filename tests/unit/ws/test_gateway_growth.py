"""Conversations without references: what a connection is told of them at its beginning and when they become so."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

import pytest

from hub.channels.ws import memberships as memberships_module
from hub.channels.ws.frames import encode
from hub.channels.ws.parcel import Parcel
from hub.core.message import ConversationId, UserKey
from tests.unit.ws.rig import ROOM, Rig, Socket, a_rig

GREW = {"type": "grew", "conversation": ROOM, "seq": 7}


def in_the_room(rig: Rig, *names: str) -> list[UserKey]:
    keys = [rig.hub.key(name) for name in names]
    rig.hub.rooms[ROOM] = keys
    return keys


async def test_a_welcome_is_followed_by_what_has_grown_and_was_not_read() -> None:
    async with a_rig() as rig:
        in_the_room(rig, "ann")
        rig.hub.diffused.add(ROOM)
        rig.hub.unread[ROOM] = 7
        frames = await rig.socket().hello("ann")
        assert [frame["type"] for frame in frames][:2] == ["welcome", "grew"]
        assert frames[1] == GREW
        assert GREW not in await rig.socket().hello("bob")


async def test_nothing_is_told_of_what_was_read() -> None:
    async with a_rig() as rig:
        in_the_room(rig, "ann")
        rig.hub.diffused.add(ROOM)
        assert [frame["type"] for frame in await rig.socket().hello("ann")] == ["welcome"]


async def test_a_conversation_that_becomes_large_is_heard_of_from_then_on() -> None:
    async with a_rig() as rig:
        (ann,) = in_the_room(rig, "ann")
        socket = await rig.user("ann")
        rig.hub.diffused.add(ROOM)
        rig.hub.unread[ROOM] = 7
        # Two changes at once: the last answer is the newest one.
        rig.node.drop_user(ann, ROOM)
        rig.node.drop_user(ann, ROOM)
        assert GREW in await socket.after()
        assert ROOM in rig.node.rooms.of(ann)
        rig.hub.diffused.clear()
        rig.node.drop_user(ann, ROOM)
        await socket.after()
        assert not rig.node.rooms.of(ann)


async def test_who_is_named_gets_the_message_and_the_others_hear_that_it_grew() -> None:
    async with a_rig() as rig:
        in_the_room(rig, "ann", "bob")
        rig.hub.diffused.add(ROOM)
        ann, bob = await rig.user("ann"), await rig.user("bob")
        published = rig.hub.write("bob", push=False)
        grew = encode(type(published)(published.message, grew=True))
        grew_here = type(grew)(grew.rest, ROOM, grew.seq, [], grew=True)
        rig.node.push([encode(published), grew_here])
        await asyncio.sleep(0)
        assert [frame["type"] for frame in ann.frames()] == ["grew"]
        assert [frame["type"] for frame in bob.frames()] == ["message", "grew"]


def grew(seq: int) -> Parcel:
    return Parcel(
        b'{"type":"grew","conversation":"%b","seq":%d}' % (ROOM.encode(), seq), ROOM, seq, [], grew=True
    )


async def grown_at_last(socket: Socket, seq: int = 7) -> None:
    """Until the socket has heard of it; a time-out is the failure."""
    async with asyncio.timeout(5):
        while GREW | {"seq": seq} not in socket.frames():
            await asyncio.sleep(0.01)


async def test_what_is_said_before_others_know_that_somebody_listens_is_asked_for() -> None:
    async with a_rig() as rig:
        in_the_room(rig, "ann")
        rig.hub.diffused.add(ROOM)
        heard: list[Collection[ConversationId]] = []

        async def said_meanwhile(rooms: Collection[ConversationId]) -> None:
            assert rig.node.rooms.of(rig.hub.key("ann")), "who is to hear must be known before it is heard of"
            heard.append(set(rooms))
            await asyncio.sleep(0.01)
            rig.hub.unread[ROOM] = 7

        rig.node.on_rooms = said_meanwhile
        assert GREW in await rig.socket().hello("ann")
        assert heard == [{ROOM}]
        assert set(rig.node.rooms_here()) == {ROOM}


async def test_what_grows_during_the_welcome_is_told_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_rig() as rig:
        in_the_room(rig, "ann")
        rig.hub.diffused.add(ROOM)
        rig.hub.unread[ROOM] = 5
        heads = rig.hub.heads

        async def slow(users: Sequence[UserKey]) -> Sequence[int]:
            rig.node.push([grew(7)])
            rig.node.push([grew(6)])
            return await heads(users)

        monkeypatch.setattr(rig.gateway._greeter._heads, "_read", slow)
        frames = await rig.socket().hello("ann")
        assert [frame["type"] for frame in frames] == ["welcome", "grew"]
        assert frames[1] == GREW


async def test_who_is_brought_in_during_the_welcome_stays_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_rig() as rig:
        rig.hub.diffused.add(ROOM)
        read = rig.hub.read_diffused
        first = True

        async def overtaken(user: UserKey) -> Mapping[ConversationId, int]:
            nonlocal first
            found = await read(user)
            if first:
                # The answer that the hello waits for is old when it comes.
                first = False
                in_the_room(rig, "ann")
                rig.node.drop_user(user, ROOM)
                await asyncio.sleep(0.02)
            return found

        monkeypatch.setattr(rig.hub, "read_diffused", overtaken)
        socket = await rig.user("ann")
        rig.node.push([grew(7)])
        await grown_at_last(socket)


async def test_a_conversation_joined_while_nothing_was_heard_is_known_after_catching_up() -> None:
    async with a_rig() as rig:
        in_the_room(rig, "ann")
        socket = await rig.user("ann")
        rig.hub.diffused.add(ROOM)
        rig.hub.unread[ROOM] = 7
        rig.node.catch_up()
        assert GREW in await socket.after()
        rig.node.push([grew(8)])
        assert GREW | {"seq": 8} in socket.frames()


async def test_a_conversation_left_while_nothing_was_heard_is_heard_no_more() -> None:
    async with a_rig() as rig:
        (ann,) = in_the_room(rig, "ann")
        rig.hub.diffused.add(ROOM)
        socket = await rig.user("ann")
        rig.hub.rooms[ROOM] = []
        rig.node.catch_up()
        await socket.after()
        assert not rig.node.rooms.of(ann)
        rig.node.push([grew(8)])
        assert socket.frames() == []


async def test_everybody_is_read_again_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memberships_module, "_AT_ONCE", 2)
    async with a_rig() as rig:
        names = ["ann", "bob", "cid", "dan", "eve"]
        in_the_room(rig, *names)
        sockets = [await rig.user(name) for name in names]
        rig.hub.diffused.add(ROOM)
        rig.hub.unread[ROOM] = 7
        at_once, most = 0, 0
        read = rig.hub.read_diffused

        async def slow(user: UserKey) -> dict[ConversationId, int]:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.005)
            at_once -= 1
            return dict(await read(user))

        monkeypatch.setattr(rig.hub, "read_diffused", slow)
        rig.node.catch_up()
        rig.node.catch_up()
        rig.node.drop_user(rig.hub.key("ann"), ROOM)
        for socket in sockets:
            await grown_at_last(socket)
        assert most <= 3, "two, and one whose membership was told"


async def test_a_database_that_is_away_is_asked_until_it_is_back() -> None:
    async with a_rig() as rig:
        (ann,) = in_the_room(rig, "ann")
        socket = await rig.user("ann")
        rig.hub.diffused.add(ROOM)
        rig.hub.unread[ROOM] = 7
        rig.hub.away = True
        rig.node.drop_user(ann, ROOM)
        await asyncio.sleep(0.05)
        assert ROOM not in rig.node.rooms.of(ann)
        rig.hub.away = False
        await grown_at_last(socket)


async def test_what_a_second_device_brings_to_light_is_told_to_the_first() -> None:
    async with a_rig() as rig:
        in_the_room(rig, "ann")
        first = await rig.user("ann", "d1")
        rig.hub.diffused.add(ROOM)
        rig.hub.unread[ROOM] = 7
        await rig.user("ann", "d2")
        assert GREW in first.frames()
