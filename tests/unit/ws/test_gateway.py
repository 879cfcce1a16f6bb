"""The gateway over transports that only remember: hellos, pushing, recovery, slow readers, policies, ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hub.channels.ws.frames import encode
from hub.channels.ws.node import dismissal
from hub.core.identity import SocketPolicy
from hub.core.message import ConversationId, UserKey
from tests.unit.ws.rig import a_rig
from tests.unit.ws.test_wire import masked

ROOM = ConversationId("cnv_room")


def numbers(frames: list[Any]) -> list[int]:
    """The q of every message."""
    return [frame["q"] for frame in frames if isinstance(frame, dict) and frame["type"] == "message"]


def types(frames: list[Any]) -> list[Any]:
    """Types of frames, and close codes."""
    return [frame["type"] if isinstance(frame, dict) else frame for frame in frames]


def bye_of(frames: list[Any]) -> tuple[str, int]:
    """The reason and the close code at the end, which agree."""
    bye, code = frames[-2:]
    assert bye["type"] == "bye"
    assert bye["code"] == code
    return bye["reason"], code


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


# Slow readers


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


async def test_a_changed_membership_is_read_again() -> None:
    async with a_rig() as rig:
        ann = rig.hub.key("ann")
        rig.hub.diffused.add(ROOM)
        await rig.user("ann")
        rig.hub.rooms[ROOM] = [ann]
        rig.node.drop_user(ann, ROOM)
        await asyncio.sleep(0.01)
        assert list(rig.node.rooms.users(ROOM)) == [ann]
        rig.node.drop_user(UserKey(99), ROOM)


# Requests


async def test_sends_are_submitted_in_the_order_of_their_coming() -> None:
    async with a_rig() as rig:
        for name in ("bob", "eve"):
            rig.hub.key(name)
        socket = await rig.user("ann")
        for at, name in enumerate(["bob", "eve", "nobody", "bob", "eve", "bob"]):
            socket.say(
                {
                    "type": "send",
                    "id": at,
                    "to": {"user": name},
                    "client_msg_id": f"m{at}",
                    "kind": "text",
                    "body": "hi",
                }
            )
        frames = await socket.after(0.2)
        assert [draft.client_msg_id for draft in rig.hub.submitted] == ["m0", "m1", "m3", "m4", "m5"]
        assert [f["id"] for f in frames if f["type"] == "ok"] == [0, 1, 3, 4, 5]
        (error,) = [f for f in frames if f["type"] == "error"]
        assert (error["id"], error["code"]) == (2, "user_not_found")
        assert numbers(frames) == [1, 2, 3, 4, 5]


async def test_a_repeat_gets_the_first_answer() -> None:
    async with a_rig() as rig:
        rig.hub.key("bob")
        socket = await rig.user("ann")
        send = {
            "type": "send",
            "id": 1,
            "to": {"user": "bob"},
            "client_msg_id": "m",
            "kind": "text",
            "body": "hi",
        }
        socket.say(send)
        socket.say({**send, "id": 2})
        first, second = [f for f in await socket.after() if f["type"] == "ok"]
        assert first["message"] == second["message"]
        assert "duplicate" not in first
        assert second["duplicate"] is True


async def test_failures_are_answers() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        send = {
            "type": "send",
            "id": 1,
            "to": {"conversation": "cnv_none"},
            "client_msg_id": "m",
            "kind": "text",
            "body": "hi",
        }
        socket.say(send)
        (missing,) = await socket.after()
        assert (missing["code"], missing["retryable"]) == ("conversation_not_found", False)
        rig.hub.away = True
        socket.say(send)
        (away,) = await socket.after()
        assert (away["code"], away["retryable"], away["retry_after_s"]) == ("store_away", True, 3.0)
        rig.hub.away, rig.hub.down = False, True
        socket.say(send)
        (bug,) = await socket.after()
        assert (bug["code"], bug["retryable"]) == ("internal", True)
        socket.say({"type": "read", "conversation": "cnv_none", "seq": 1})
        (missing,) = await socket.after()
        assert "id" not in missing
        assert socket.link.session.waiting == 0


async def test_sync_and_history_are_batches() -> None:
    async with a_rig() as rig:
        rig.hub.rooms[ROOM] = [rig.hub.key("ann")]
        socket = await rig.user("ann")
        for at in range(3):
            send = {"type": "send", "id": at, "to": {"conversation": ROOM}, "client_msg_id": str(at)}
            socket.say({**send, "kind": "text", "body": {"n": at}})
        await socket.after()
        socket.say({"type": "sync", "id": "s", "after": 1, "limit": 1})
        socket.say({"type": "sync", "id": "r", "after": 77})
        socket.say({"type": "history", "id": "h", "conversation": ROOM, "limit": 2})
        socket.say({"type": "history", "id": "x", "conversation": "cnv_other"})
        answers = {frame["id"]: frame for frame in await socket.after()}
        assert [e["q"] for e in answers["s"]["entries"]] == [2]
        assert (answers["s"]["next"], answers["s"]["more"]) == (2, True)
        assert answers["r"] == {"type": "rebase", "head": 3, "id": "r"}
        assert [e["body"]["n"] for e in answers["h"]["entries"]] == [1, 2]
        assert answers["h"]["more"] is True
        assert answers["x"]["code"] == "conversation_not_found"


async def test_reads_and_typing_reach_the_others() -> None:
    async with a_rig() as rig:
        rig.hub.rooms[ROOM] = [rig.hub.key("ann"), rig.hub.key("bob")]
        ann, bob = await rig.user("ann"), await rig.user("bob")
        for _ in range(3):
            ann.say({"type": "typing", "conversation": ROOM})
        ann.say({"type": "read", "conversation": ROOM, "seq": 4})
        typing = {"type": "typing", "conversation": ROOM, "user": "ann"}
        read = {"type": "read", "conversation": ROOM, "seq": 4, "user": "ann"}
        assert await bob.after() == [typing, read], "typing is told once a second"
        assert ann.frames() == [read]
        ann.say({"type": "typing", "conversation": "cnv_other"})
        assert await ann.after() == []


async def test_typing_in_a_strange_conversation_is_refused() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        socket.say({"type": "typing", "conversation": "cnv_other"})
        (error,) = await socket.after()
        assert error["code"] == "conversation_not_found"


async def test_presence_is_told_of_acquaintances_only() -> None:
    async with a_rig() as rig:
        rig.hub.rooms[ROOM] = [rig.hub.key("ann"), rig.hub.key("bob")]
        rig.hub.key("eve")
        ann = await rig.user("ann")
        ann.say({"type": "watch", "id": "w", "users": ["bob", "eve", "nobody"]})
        (ok,) = await ann.after()
        assert ok["presence"] == {"bob": {"online": False}}
        assert ok["refused"] == ["eve", "nobody"]
        assert rig.hub.watched == {rig.hub.key("bob")}
        rig.node.presence_changed(rig.hub.key("bob"), True, rig.hub.clock())
        rig.node.presence_changed(rig.hub.key("eve"), True, rig.hub.clock())
        (event,) = ann.frames()
        assert (event["type"], event["user"], event["online"]) == ("presence", "bob", True)
        ann.say({"type": "watch", "id": "w", "users": []})
        await ann.after()
        assert rig.hub.watched == set()


async def test_a_lost_connection_watches_nobody() -> None:
    async with a_rig() as rig:
        rig.hub.rooms[ROOM] = [rig.hub.key("ann"), rig.hub.key("bob")]
        ann = await rig.user("ann")
        ann.say({"type": "watch", "id": "w", "users": ["bob"]})
        await ann.after()
        ann.transport.abort()
        await asyncio.sleep(0.02)
        assert rig.hub.watched == set()


async def test_without_redis_presence_is_unavailable_and_messages_flow() -> None:
    async with a_rig() as rig:
        rig.hub.redis_away = True
        rig.hub.rooms[ROOM] = [rig.hub.key("ann"), rig.hub.key("bob")]
        ann = await rig.user("ann")
        ann.say({"type": "watch", "id": "w", "users": ["bob"]})
        (error,) = await ann.after()
        assert (error["code"], error["retryable"]) == ("unavailable", True)
        rig.hub.write("ann")
        assert numbers(ann.frames()) == [1]


# Hellos that fail, and ends


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


async def test_a_silent_session_is_closed() -> None:
    async with a_rig(heartbeat=timedelta(seconds=0.2)) as rig:
        silent, lively = await rig.user("ann"), await rig.user("bob")
        for _ in range(8):
            lively.say({"type": "ping", "id": 1})
            await asyncio.sleep(0.1)
        assert bye_of(silent.frames()) == ("silent", 4420)
        assert 4420 not in lively.frames()


async def test_an_expired_token_ends_the_session() -> None:
    async with a_rig(heartbeat=timedelta(seconds=1)) as rig:
        rig.hub.lifetime = timedelta(seconds=0.1)
        socket = await rig.user("ann")
        frames = await socket.after(0.8)
        assert bye_of(frames) == ("token_expired", 4403)
        assert frames[-2]["reconnect"] is True


async def test_the_same_device_replaces_itself() -> None:
    async with a_rig() as rig:
        old = await rig.user("ann", "phone", "app")
        new = await rig.user("ann", "phone", "app")
        assert bye_of(old.frames()) == ("replaced", 4409)
        rig.hub.write("ann")
        assert numbers(new.frames()) == [1]
        assert old.frames() == []
        assert [seat.device.id for seat in rig.hub.present.values()] == ["phone"]


async def test_one_session_too_many_replaces_the_oldest_of_its_platform() -> None:
    async with a_rig() as rig:
        rig.hub.policy = SocketPolicy(2, replace_oldest=True)
        sockets = [await rig.user("ann", f"w{at}") for at in range(3)]
        phone = await rig.user("ann", "p", "app")
        assert bye_of(sockets[0].frames()) == ("replaced", 4409)
        assert len(rig.node.seats) == 3
        for socket in (*sockets[1:], phone):
            assert not socket.link.closed


async def test_or_is_refused_where_the_app_says_so() -> None:
    async with a_rig() as rig:
        rig.hub.policy = SocketPolicy(1, replace_oldest=False)
        first = await rig.user("ann", "w1")
        frames = await rig.socket().hello("ann", "w2")
        assert frames[0]["code"] == "too_many_sessions"
        assert bye_of(frames) == ("too_many_sessions", 4410)
        assert not first.link.closed
        again = await rig.user("ann", "w1")
        assert not again.link.closed


async def test_sessions_on_other_nodes_count_too() -> None:
    async with a_rig() as rig:
        rig.hub.elsewhere("ann", "phone", "app", session="ses_far")
        signals = rig.hub.signals
        await rig.user("ann", "phone", "app")
        assert signals[-1] == ([rig.hub.key("ann")], dismissal(["ses_far"]))
        rig.hub.policy = SocketPolicy(1, replace_oldest=False)
        frames = await rig.socket().hello("ann", "tablet", "app")
        assert bye_of(frames) == ("too_many_sessions", 4410)


async def test_another_node_may_dismiss_a_session_here() -> None:
    async with a_rig() as rig:
        ann = await rig.user("ann")
        seat = ann.link.seat
        assert seat is not None
        await rig.hub.signal([seat.user.key], dismissal([seat.id, "ses_other"]))
        assert bye_of(ann.frames()) == ("replaced", 4409)


async def test_changed_rights_send_everybody_to_say_hello_again() -> None:
    async with a_rig() as rig:
        ann = await rig.user("ann")
        rig.node.drop_user(rig.hub.key("ann"), None)
        frames = ann.frames()
        assert bye_of(frames) == ("rights_changed", 4423)
        assert frames[-2]["reconnect"] is True


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


async def test_what_is_sent_with_the_hello_is_answered_after_it() -> None:
    async with a_rig() as rig:
        socket = rig.socket()
        socket.say({"type": "hello", "token": "ann", "device": {"id": "d", "platform": "web"}})
        socket.say({"type": "ping", "id": 1})
        assert types(await socket.after()) == ["welcome", "pong"]


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


async def test_a_close_that_is_not_answered_ends_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.channels.ws.gateway._CLOSING", 0.2)
    async with a_rig() as rig:
        socket = await rig.user("ann")
        socket.say({"type": "bye"})
        assert bye_of(socket.frames()) == ("goodbye", 1000)
        assert not socket.transport.aborted
        await asyncio.sleep(0.6)
        assert socket.transport.aborted


async def test_a_close_that_is_answered_ends_at_once() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        socket.say({"type": "bye"})
        socket.say({"type": "ping", "id": "ignored"})
        socket.link.data_received(masked(8, b"\x03\xe8"))
        assert socket.transport.closed


async def test_the_clients_close_is_echoed() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        socket.link.data_received(masked(8, b"\x0f\xa0bye"))
        assert socket.frames() == [4000]
        assert socket.transport.closed


@pytest.mark.parametrize(
    ("data", "reason", "code"),
    [
        (masked(1, b"\xff"), "invalid_utf8", 1007),
        (masked(2, b"binary"), "binary_not_supported", 1003),
        (masked(3, b""), "protocol_error", 1002),
        (masked(8, b"\x00"), "protocol_error", 1002),
    ],
)
async def test_broken_rules_end_the_connection_and_the_rest_is_not_read(
    data: bytes, reason: str, code: int
) -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        socket.link.data_received(data + masked(1, b'{"type":"ping","id":1}'))
        frames = socket.frames()
        assert frames[0]["code"] == "bad_request"
        assert bye_of(frames) == (reason, code)
        assert socket.transport.half_closed
        socket.link.data_received(b"whatever")
        assert socket.frames() == []


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


async def test_draining_answers_what_was_accepted_and_spreads_the_return() -> None:
    async with a_rig(drain_timeout=timedelta(seconds=1)) as rig:
        rig.hub.delay = 0.1
        rig.hub.key("bob")
        sockets = [await rig.user(f"user{at}") for at in range(20)]
        ann = sockets[0]
        ann.say(
            {
                "type": "send",
                "id": 1,
                "to": {"user": "bob"},
                "client_msg_id": "m",
                "kind": "text",
                "body": "x",
            }
        )
        await asyncio.sleep(0.03)
        drained = asyncio.create_task(rig.gateway.drain())
        await asyncio.sleep(0.03)
        assert rig.gateway.refusal == "draining"
        ann.say({"type": "ping", "id": "late"})
        await asyncio.wait_for(drained, 2)
        frames = ann.frames()
        assert types(frames) == ["error", "ok", "bye", 1012]
        assert frames[0]["code"] == "draining"
        pauses = {socket.frames()[-2]["retry_after_s"] for socket in sockets[1:]}
        assert len(pauses) > 5
        assert all(socket.transport.aborted for socket in sockets)
        assert rig.hub.present == {}


async def test_draining_is_over_as_soon_as_everybody_has_gone() -> None:
    async with a_rig(drain_timeout=timedelta(seconds=5)) as rig:
        socket = await rig.user("ann")
        drained = asyncio.create_task(rig.gateway.drain())
        await asyncio.sleep(0.02)
        socket.link.shutdown()
        socket.link.data_received(masked(8, b"\x03\xe8"))
        await asyncio.wait_for(drained, 0.5)


async def test_a_hello_to_a_node_that_drains_is_sent_elsewhere() -> None:
    async with a_rig() as rig:
        socket = rig.socket()
        rig.gateway.draining = True
        assert bye_of(await socket.hello("ann")) == ("draining", 1012)


async def test_a_hello_that_takes_too_long_is_to_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.channels.ws.auth._PATIENCE", 0.05)
    async with a_rig() as rig:
        rig.hub.hello_delay = 1.0
        frames = await rig.socket().hello("ann")
        assert bye_of(frames) == ("unavailable", 4503)


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


async def test_a_second_hello_with_nothing_new_reads_nothing() -> None:
    async with a_rig() as rig:
        rig.hub.write("ann")
        await rig.user("ann", cursor=1)
        assert rig.hub.syncs == 0
        rig.hub.write("ann")
        assert rig.node.pushed == 1


@pytest.mark.parametrize("trouble", ["away", "down"])
async def test_a_recipient_that_cannot_be_looked_up_is_an_answer(trouble: str) -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        setattr(rig.hub, trouble, True)
        send = {
            "type": "send",
            "id": 1,
            "to": {"user": "bob"},
            "client_msg_id": "m",
            "kind": "text",
            "body": "x",
        }
        socket.say(send)
        (error,) = await socket.after()
        assert error["retryable"] is True
        assert error["id"] == 1
        setattr(rig.hub, trouble, False)
        rig.hub.key("bob")
        socket.say(send)
        assert "ok" in types(await socket.after())


async def test_a_heartbeat_while_the_database_is_away_is_answered_so() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        rig.hub.away = True
        socket.say({"type": "ping", "id": 5})
        (error,) = await socket.after()
        assert (error["id"], error["code"], error["retryable"]) == (5, "store_away", True)
        assert socket.link.session.waiting == 0
        rig.node.drop_user(rig.hub.key("ann"), ROOM)
        await socket.after()


async def test_a_bug_while_reading_a_queue_is_not_the_end_of_it() -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        rig.hub.write("ann", push=False)
        rig.hub.down = True
        rig.node.catch_up()
        assert await socket.after() == []
        rig.hub.down = False
        assert numbers(await socket.after(0.2)) == [1]


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


async def test_whoever_looks_after_the_node_can_see_what_it_does() -> None:
    async with a_rig(slow_soft_bytes=5_000) as rig:
        ann, eve = await rig.user("ann"), await rig.user("eve")
        eve.say({"type": "bye"})
        ann.transport.stuck = True
        rig.hub.write("ann", text="x" * 6_000)
        await rig.hub.signal([rig.hub.key("ann")], {"type": "typing"})
        assert rig.gateway.partings == {"goodbye": 1}
        assert (rig.node.missed, rig.node.pushed, len(rig.node.seats)) == (1, 1, 1)
