"""What a session may ask, over transports that only remember: sends, reads, batches, typing, presence."""

from __future__ import annotations

import asyncio

import pytest

from hub.core.message import ConversationId, UserKey
from tests.unit.ws.rig import ROOM, a_rig, numbers, types

OTHER = ConversationId("cnv_other")


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


@pytest.mark.parametrize("body", [b'{"n":%b}' % (b"1" * 5_000), b'{"n":1e999}'])
@pytest.mark.parametrize("kind", ["send", "edit"])
async def test_a_body_that_nobody_could_read_is_refused(kind: str, body: bytes) -> None:
    async with a_rig() as rig:
        socket = await rig.user("ann")
        rig.hub.key("bob")
        about = {
            "send": b'"to":{"user":"bob"},"client_msg_id":"m","kind":"custom"',
            "edit": b'"message":"msg_1"',
        }
        socket.say(b'{"type":"%b","id":1,%b,"body":%b}' % (kind.encode(), about[kind], body))
        (error,) = await socket.after()
        assert (error["type"], error["id"], error["code"]) == ("error", 1, "bad_request")
        socket.say({"type": "ping", "id": 2})
        assert types(await socket.after()) == ["pong"]


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


async def test_who_has_nothing_in_common_with_somebody_any_more_watches_them_no_more() -> None:
    async with a_rig() as rig:
        names = ("ann", "bob", "eve")
        rig.hub.rooms[ROOM] = [rig.hub.key(name) for name in names]
        rig.hub.rooms[OTHER] = [rig.hub.key(name) for name in ("ann", "eve")]
        ann = await rig.user("ann")
        ann.say({"type": "watch", "id": "w", "users": ["bob", "eve"]})
        await ann.after()
        assert rig.hub.watched == {rig.hub.key("bob"), rig.hub.key("eve")}
        rig.node.drop_user(rig.hub.key("ann"), OTHER)
        await ann.after()
        assert rig.hub.watched == {rig.hub.key("bob"), rig.hub.key("eve")}
        rig.hub.rooms[ROOM] = [rig.hub.key("bob")]
        rig.node.drop_user(rig.hub.key("ann"), ROOM)
        await ann.after()
        assert rig.hub.watched == {rig.hub.key("eve")}


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
