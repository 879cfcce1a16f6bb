"""What clients keep and no queue holds: told that it may have been missed; and the conversation list on a socket."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from hub.channels.ws.frames_own import ListBatch
from hub.channels.ws.listing import list_batch
from hub.channels.ws.node import dismissal
from hub.channels.ws.requests import Conversations
from hub.channels.ws.sightings import SessionInfo
from hub.core.identity import EndUser
from hub.core.message import AppId, ConversationId, UserKey
from tests.unit.ws.fakes import FakeHub
from tests.unit.ws.rig import a_rig, bye_of, types

NOW = datetime(2026, 3, 1, 9, 12, tzinfo=UTC)
KEPT = [
    {"type": "read", "conversation": "cnv_1", "seq": 1, "user": "ann"},
    {"type": "conversation", "conversation": "cnv_1", "rev": 1, "mine": {}},
    {"type": "contact", "user": "bob", "contact": None},
]


async def test_after_a_silence_everybody_is_told_to_read_lists_again() -> None:
    async with a_rig() as rig:
        ann, bob = await rig.user("ann"), await rig.user("bob", mode="hint")
        greeting = rig.socket()
        rig.node.catch_up()
        rig.node.catch_up()
        assert types(await ann.after()) == ["stale"]
        assert types(await bob.after()) == ["stale"]
        assert greeting.frames() == []


@pytest.mark.parametrize("frame", KEPT)
async def test_who_was_full_is_told_once_that_something_kept_was_missed(frame: dict[str, object]) -> None:
    async with a_rig(slow_soft_bytes=5_000) as rig:
        ann = await rig.user("ann")
        ann.transport.stuck = True
        filler = {"type": "typing", "conversation": "cnv_1", "user": "x" * 3_000}
        for _ in range(3):
            await rig.hub.signal([rig.hub.key("ann")], filler)
        assert ann.link.session.paused
        ann.frames()
        await rig.hub.signal([rig.hub.key("ann")], filler)
        ann.transport.drain()
        assert types(await ann.after()) == []
        ann.transport.stuck = True
        for _ in range(3):
            await rig.hub.signal([rig.hub.key("ann")], filler)
        ann.frames()
        await rig.hub.signal([rig.hub.key("ann")], frame)
        await rig.hub.signal([rig.hub.key("ann")], frame)
        ann.transport.drain()
        assert types(await ann.after()) == ["stale"]
        await rig.hub.signal([rig.hub.key("ann")], frame)
        assert await ann.after() == [frame]


class Lists:
    """Ten conversations of a hundred bytes."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def page(
        self, _user: EndUser, *, after: str | None, limit: int
    ) -> tuple[Sequence[bytes], str | None]:
        self.asked.append(limit)
        start = int(after or 0)
        found = [b'{"n":%094d}' % number for number in range(start, min(10, start + limit))]
        return found, str(start + limit) if start + limit < 10 else None

    async def one(self, _user: EndUser, _conversation: ConversationId) -> bytes:
        return b"{}"


async def test_a_page_that_would_be_too_large_is_shorter_and_goes_on_where_it_ended() -> None:
    ann, lists = EndUser(AppId("app"), UserKey(1), "ann", NOW), Lists()
    seen: list[int] = []
    after: str | None = None
    for _ in range(10):
        request = Conversations(id=1, after=after, limit=8)
        batch: ListBatch = await list_batch(lists, ann, request, most_bytes=350)
        assert 0 < len(batch.conversations) <= 3
        seen.append(len(batch.conversations))
        after = batch.next
        if after is None:
            break
    assert sum(seen) == 10
    assert lists.asked[:2] == [8, 2]
    large = await list_batch(lists, ann, Conversations(id=1, limit=8), most_bytes=10)
    assert (len(large.conversations), large.next) == (1, "1")


async def test_who_is_shown_out_while_saying_hello_shows_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not found among the sessions any more, so that all others seem to be older."""
    honest = FakeHub.sessions

    async def slow(hub: FakeHub, users: Collection[UserKey]) -> Mapping[UserKey, Sequence[SessionInfo]]:
        (seat,) = hub.present.values()
        hub.node.signal(list(users), msgspec.json.encode(dismissal([seat.id])))
        hub.present.clear()
        return await honest(hub, users)

    monkeypatch.setattr(FakeHub, "sessions", slow)
    async with a_rig() as rig:
        rig.hub.elsewhere("ann", "tablet", "web", session="ses_far")
        rig.hub.elsewhere("ann", "phone", "web", session="ses_farther")
        frames = await rig.socket().hello("ann", "tablet")
        assert bye_of(frames) == ("replaced", 4409)
        assert rig.hub.signals == []
