"""Seats, interests, heads, origins, and the channel."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from hub.channels.ws.auth import origin_allowed
from hub.channels.ws.background import Background
from hub.channels.ws.channel import WsChannel
from hub.channels.ws.heads import Heads
from hub.channels.ws.interests import Rooms, Watchers
from hub.channels.ws.node import Node
from hub.channels.ws.parcel import Parcel
from hub.channels.ws.seats import Occupant, Seats, make_room
from hub.core.channel import Lane
from hub.core.errors import QueueUnavailable, Unavailable
from hub.core.identity import SocketPolicy
from hub.core.message import ConversationId, UserKey
from hub.core.outcome import Accepted, Reason, Rejected, Retry
from tests.contract.channel_contract import ChannelContract, envelopes

ANN, BOB = UserKey(1), UserKey(2)
NEW = Occupant("new", "d-new", "web")
REPLACE = SocketPolicy(2, replace_oldest=True)
REFUSE = SocketPolicy(2, replace_oldest=False)


def taken(*devices: str, platform: str = "web") -> list[Occupant]:
    return [Occupant(f"s-{device}", device, platform) for device in devices]


def test_there_is_room_until_the_platform_is_full() -> None:
    assert make_room(taken("a"), NEW, REPLACE).leaving == frozenset()
    assert make_room(taken("a", "b"), NEW, REPLACE).leaving == {"s-a"}
    assert make_room(taken("a", "b", "c"), NEW, REPLACE).leaving == {"s-a", "s-b"}
    assert make_room(taken("a", "b", platform="app"), NEW, REPLACE).leaving == frozenset()


def test_or_the_new_one_is_refused() -> None:
    assert not make_room(taken("a"), NEW, REFUSE).refused
    assert make_room(taken("a", "b"), NEW, REFUSE).refused


def test_the_same_device_replaces_itself_and_is_not_counted() -> None:
    room = make_room([*taken("a"), Occupant("old", "d-new", "web")], NEW, REFUSE)
    assert room.leaving == {"old"}
    assert not room.refused


def test_seats_are_in_the_order_of_coming() -> None:
    seats: Seats[str] = Seats()
    assert seats.add(ANN, "a")
    assert not seats.add(ANN, "b")
    assert seats.add(BOB, "c")
    assert seats.of(ANN) == ("a", "b")
    assert sorted(seats) == ["a", "b", "c"]
    assert not seats.remove(ANN, "a")
    assert not seats.remove(ANN, "a")
    assert seats.remove(ANN, "b")
    assert not seats.remove(ANN, "b")
    assert (len(seats), seats.of(ANN)) == (1, ())


def test_watchers_tell_of_first_and_last() -> None:
    watchers: Watchers[str] = Watchers()
    assert watchers.replace("x", {ANN: "ann", BOB: "bob"}) == ([ANN, BOB], [])
    assert watchers.replace("y", {ANN: "ann"}) == ([], [])
    assert watchers.replace("x", {BOB: "bob"}) == ([], [])
    assert list(watchers.of(ANN)) == [("y", "ann")]
    assert watchers.replace("y", {}) == ([], [ANN])
    assert set(watchers.watched) == {BOB}
    assert list(watchers.of(ANN)) == []


def test_rooms_follow_their_users() -> None:
    rooms = Rooms()
    one, two = ConversationId("one"), ConversationId("two")
    rooms.put(ANN, [one, two], rooms.ask())
    rooms.put(BOB, [one], rooms.ask())
    assert set(rooms.users(one)) == {ANN, BOB}
    rooms.put(ANN, [two], rooms.ask())
    assert set(rooms.users(one)) == {BOB}
    rooms.drop(BOB)
    rooms.drop(BOB)
    assert not rooms.users(one)
    assert set(rooms.of(ANN)) == {two}


def test_of_two_answers_the_one_that_was_asked_for_later_holds() -> None:
    rooms = Rooms()
    one, two = ConversationId("one"), ConversationId("two")
    early, late = rooms.ask(), rooms.ask()
    assert rooms.put(ANN, [one], late)
    assert not rooms.put(ANN, [two], early)
    assert rooms.put(BOB, [two], early), "asked for on behalf of somebody else"
    assert set(rooms.of(ANN)) == {one}
    rooms.drop(ANN)
    assert rooms.put(ANN, [two], early), "nothing is remembered of who has gone"


async def test_heads_asked_for_together_are_one_call() -> None:
    calls: list[list[UserKey]] = []

    async def read(users: Sequence[UserKey]) -> list[int]:
        calls.append(list(users))
        return [int(user) * 10 for user in users]

    heads = Heads(read)
    assert list(await asyncio.gather(heads.of(ANN), heads.of(BOB), heads.of(ANN))) == [10, 20, 10]
    assert calls == [[ANN, BOB]]
    one = asyncio.create_task(heads.of(ANN))
    await asyncio.sleep(0.005)
    assert await heads.of(BOB) == 20
    assert await one == 10
    assert calls[1:] == [[ANN, BOB]], "what follows soon is gathered"
    many = await asyncio.gather(*(heads.of(UserKey(user)) for user in range(1_200)))
    assert many == [user * 10 for user in range(1_200)]
    assert [len(call) for call in calls[2:]] == [500, 500, 200]


async def test_heads_that_cannot_be_read_fail_for_all_who_asked() -> None:
    async def read(_users: Sequence[UserKey]) -> list[int]:
        raise Unavailable("store_away", "away")

    heads = Heads(read)
    results = await asyncio.gather(heads.of(ANN), heads.of(BOB), return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)


async def test_somebody_who_stops_waiting_does_not_disturb_the_others() -> None:
    async def read(users: Sequence[UserKey]) -> list[int]:
        await asyncio.sleep(0.02)
        return [1 for _ in users]

    heads = Heads(read)
    leaving, staying = asyncio.create_task(heads.of(ANN)), asyncio.create_task(heads.of(ANN))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 1


async def test_background_work_is_ended_together() -> None:
    background = Background()
    done: list[int] = []

    async def work(seconds: float) -> None:
        await asyncio.sleep(seconds)
        done.append(1)

    async def fail() -> None:
        raise ValueError

    background.start(work(0.01), name="short")
    background.start(work(60), name="long")
    background.start(fail(), name="bad")
    await background.finish(within=0.1)
    assert done == [1]
    assert len(background) == 0
    await background.finish(within=0.1)


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "verdict"),
    [
        (None, "hub.example", (), True),
        (None, "hub.example", ("https://app.example",), True),
        ("https://hub.example", "hub.example", (), True),
        ("https://HUB.example", "hub.EXAMPLE", (), True),
        ("https://hub.example", "hub.example:443", (), True),
        ("http://hub.example:8080", "hub.example:8080", (), True),
        ("http://[::1]:8080", "[::1]:8080", (), True),
        ("http://hub.example:8081", "hub.example:8080", (), False),
        ("http://hub.example", "hub.example:8080", (), False),
        ("https://evil.example", "hub.example", (), False),
        ("https://hub.example.evil", "hub.example", (), False),
        ("https://hub.example@evil.example", "hub.example", (), False),
        ("null", "hub.example", (), False),
        ("", "hub.example", (), False),
        ("file://", "hub.example", (), False),
        ("https://hub.example", None, (), False),
        ("https://hub.example:x", "hub.example", (), False),
        ("https://app.example", "hub.example", ("https://app.example",), True),
        ("https://APP.example/", "hub.example", ("https://app.example/",), True),
        ("https://hub.example", "hub.example", ("https://app.example",), False),
        ("https://anything", "hub.example", ("*",), True),
        ("null", "hub.example", ("https://app.example",), False),
    ],
)
def test_origins(origin: str | None, host: str | None, allowed: tuple[str, ...], verdict: bool) -> None:
    assert origin_allowed(origin, host, allowed) is verdict


def test_a_node_without_a_gateway_is_empty() -> None:
    node = Node()
    node.push([Parcel(b",1}", "cnv", 1, [(1, 1)]), Parcel(b"{}", "cnv", 2, [], grew=True)])
    node.signal([ANN], b"{}")
    node.presence_changed(ANN, True, datetime.now(UTC))
    node.catch_up()
    node.drop_user(ANN, None)
    assert node.pushed == 0


class FakeWhereabouts:
    def __init__(self) -> None:
        self.online: set[UserKey] = set()
        self.away = False
        self.asked: list[int] = []

    async def sessions(self, users: Collection[UserKey]) -> Mapping[UserKey, Sequence[object]]:
        if self.away:
            raise QueueUnavailable
        self.asked.append(len(users))
        return {user: ["session"] if user in self.online else [] for user in users}


class TestWsChannelContract(ChannelContract):
    @pytest.fixture(autouse=True)
    def _a_channel(self) -> None:
        self.presence = FakeWhereabouts()
        self.presence.online.add(self.user)
        self.channel = WsChannel(self.presence)

    async def cut_the_network(self) -> None:
        self.presence.away = True


async def test_the_channel_knows_who_is_online() -> None:
    presence = FakeWhereabouts()
    channel = WsChannel(presence, here=lambda user: user == ANN)
    assert (channel.name, channel.capabilities.lane) == ("ws", Lane.INLINE)
    presence.online.add(BOB)
    batch = [*envelopes(ANN, "ann", 1), *envelopes(BOB, "bob", 2)]
    ann, bob, again = await channel.deliver(batch)
    assert ann == Rejected(Reason.OFFLINE)
    assert isinstance(bob, Accepted)
    assert bob == again
    assert presence.asked == [2]
    presence.away = True
    ann, bob, _ = await channel.deliver(batch)
    assert isinstance(ann, Accepted), "who is here needs no Redis to be seen"
    assert isinstance(bob, Retry)
    assert (bob.reason, bob.after) == (Reason.PROVIDER_DOWN, timedelta(seconds=2))


async def test_a_large_batch_is_asked_for_in_parts() -> None:
    presence = FakeWhereabouts()
    batch = [envelope for user in range(1_100) for envelope in envelopes(UserKey(user), "x", 1)]
    assert len(await WsChannel(presence).deliver(batch)) == 1_100
    assert max(presence.asked) == 500
