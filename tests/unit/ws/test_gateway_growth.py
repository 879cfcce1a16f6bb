"""Conversations without references: what a connection is told of them at its beginning and when they become so."""

from __future__ import annotations

import asyncio

from hub.channels.ws.frames import encode
from hub.core.message import UserKey
from tests.unit.ws.rig import ROOM, Rig, a_rig

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
