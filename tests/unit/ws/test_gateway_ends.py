"""How sessions end, over transports that only remember: replaced, expired, closed, broken, drained."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from hub.channels.ws.node import dismissal
from hub.core.identity import SocketPolicy
from tests.unit.ws.rig import a_rig, bye_of, numbers, types
from tests.unit.ws.test_wire import masked


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
