"""A group of 100,000: what people do in it, and what is asked of it, costs what it costs in one of 1,000."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hub.core import engine as engine_module
from hub.core.chat_rules import Doer as Speaker
from hub.core.conversation import Fanout, Role
from hub.core.export import Exports, Wanted
from hub.core.groups import GroupWrite
from hub.core.identity import EndUser
from hub.core.message import MENTION_ALL, ConversationId, MessageId, ToConversation, UserKey
from hub.core.records import NewMember, PageRequest
from hub.core.search import Search
from hub.settings import Settings
from hub.store.media_sql import SqlMedia
from tests.integration.group_costs import Cost, Meter, crowd
from tests.integration.group_town import Town, adding, doer, joining, leaving, open_town, people, removing
from tests.services import RedisServer
from tests.support.engine import APP, test_settings

SMALL, LARGE = 1_000, 100_000
FIRST = 100
OWNER = 1
TALKER = FIRST + 7
READER = FIRST + 8
"""Members of both groups, by their numbers."""
PAGE = PageRequest(50)
_ITS_OWN = 20
BOUNDED = {"readers counted": 120_000, "old ones counted": 120_000, "readers of old": 30_000}
"""Steps of what looks at a bounded number of members, which is more than there are in the small group."""


@pytest.fixture
def settings(tmp_path: Path, storage: tuple[str, dict[str, Any]], redis_server: RedisServer) -> Settings:
    database_url, plan = storage
    redis_server.flush()
    return test_settings(tmp_path, database_url, redis_server.url).model_copy(update=plan)


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    # What an engine does by itself every second would be counted with whatever is measured.
    monkeypatch.setattr(engine_module, "_CHORES_EVERY", 3_600.0)
    return Meter(monkeypatch)


class Place:
    """One of the groups, and what people do there."""

    def __init__(self, town: Town, group: ConversationId, stranger: int) -> None:
        self.town = town
        self.group = group
        self.stranger = stranger
        """Is in no group yet."""
        self.old = MessageId("")
        """From before the members came."""
        self.said = MessageId("")
        self.pinned = MessageId("")
        self.top = 0

    async def fill(self, size: int) -> None:
        """So many members beside the owner, brought in as a business system does."""
        self.old = await self.say(OWNER)
        for start in range(FIRST, FIRST + size, 1_000):
            some = [NewMember(UserKey(n)) for n in range(start, min(start + 1_000, FIRST + size))]
            await self.town.told(partial(adding, self.group, some))

    async def ready(self) -> None:
        """Something was said, so that there is something to change; caches know the speakers."""
        self.said = await self.say(TALKER)
        self.pinned = await self.say(OWNER)
        self.top = (await self.town.history(self.group, OWNER))[-1].seq - 2
        await self.town.rig.engine.sync(UserKey(READER), after=0, limit=50)

    async def say(self, user: int, *mentions: str, reply_to: MessageId | None = None) -> MessageId:
        draft = self.town.rig.draft(ToConversation(self.group), sender=user)
        sent = replace(draft, mentions=mentions, reply_to=reply_to)
        return (await self.town.rig.engine.chat.send(sent)).message

    def as_(self, user: int) -> Speaker:
        return Speaker(APP, UserKey(user), f"u{user}")

    async def read(self) -> None:
        reader = EndUser(APP, UserKey(READER), f"u{READER}", self.town.rig.clock())
        await self.town.rig.engine.read(reader, self.group, 10**9)

    async def expel(self) -> None:
        """As the removal of a user does it."""
        for done in await self.town.change(lambda c: c.expel(UserKey(self.stranger))):
            await self.town.rig.engine.notices.tell(done.record.id)

    async def export(self) -> None:
        """What of an export must be there before the first member is written."""
        rig = self.town.rig
        exports = Exports(rig.rooms.directory, rig.store, SqlMedia(rig.store.database), clock=rig.clock)
        lines = exports.lines(Wanted(APP, conversation=self.group))
        assert [b'"header"' in await anext(lines) for _ in range(3)] == [True, False, False]

    def doings(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """Everything by its name, in an order in which it can be done."""
        chat, town, group, stranger = self.town.rig.engine.chat, self.town, self.group, self.stranger
        directory, engine = town.rig.rooms.directory, town.rig.engine
        talker, owner, business = self.as_(TALKER), self.as_(OWNER), Speaker(APP, UserKey(0), None)
        ours = UserKey(READER)
        return {
            "send": lambda: self.say(TALKER),
            "reply": lambda: self.say(TALKER, reply_to=self.said),
            "mention": lambda: self.say(TALKER, f"u{READER}"),
            "mention all": lambda: self.say(OWNER, MENTION_ALL),
            "edit": lambda: chat.edit(talker, self.said, '{"text":"neu"}'),
            "react": lambda: chat.react(talker, self.pinned, "👍", added=True),
            "pin": lambda: chat.pin(owner, self.pinned, added=True),
            "unpin": lambda: chat.pin(owner, self.pinned, added=False),
            "forward": lambda: chat.forward(
                talker, [self.said], ToConversation(group), client_msg_id=f"f{group}", most_bytes=9_999
            ),
            "recall": lambda: chat.recall(talker, self.said),
            "read": self.read,
            "history": lambda: engine.history(group, reader=ours, after=None, before=None, limit=50),
            "pull": lambda: engine.history(group, reader=ours, after=self.top, before=None, limit=50),
            "message": lambda: chat.message(talker, self.pinned),
            "sync": lambda: engine.sync(ours, after=0, limit=50),
            "hello": lambda: town.rig.rooms.people.read_diffused(ours),
            "typing": lambda: town.rig.rooms.people.members(group, ours),
            "acquainted": lambda: town.rig.rooms.people.acquainted(ours, APP, [f"u{TALKER}", f"u{stranger}"]),
            "list": lambda: directory.conversations_of(APP, ours, PAGE),
            "view": lambda: directory.conversation_view(APP, group, viewer=ours),
            "overview": lambda: directory.conversation_view(APP, group, viewer=None),
            "members": lambda: directory.members(APP, group, PAGE),
            "readers": lambda: chat.readers(owner, self.pinned, read=True, after=(0, 0), limit=51),
            "not yet readers": lambda: chat.readers(owner, self.pinned, read=False, after=(0, 0), limit=51),
            "readers counted": lambda: chat.reader_counts(business, self.pinned),
            "readers of old": lambda: chat.readers(owner, self.old, read=True, after=(0, 0), limit=51),
            "old ones counted": lambda: chat.reader_counts(business, self.old),
            "export": self.export,
            "search": lambda: directory.search.search(APP, Search("neu", viewer=ours), PAGE),
            "announce": lambda: town.told(lambda c: c.announce(group, "Neues", by=doer(OWNER))),
            "rename": lambda: town.told(
                lambda c: c.patch_group(group, GroupWrite(title="x"), by=doer(OWNER))
            ),
            "open": lambda: town.told(lambda c: c.patch_group(group, GroupWrite(open=True), by=doer(OWNER))),
            "silence all": lambda: town.told(lambda c: c.silence_group(group, True, by=doer(OWNER))),
            "speak again": lambda: town.told(lambda c: c.silence_group(group, False, by=doer(OWNER))),
            "silence one": lambda: town.told(
                lambda c: c.silence_member(group, ours, town.rig.clock(), by=doer(OWNER))
            ),
            "role": lambda: town.told(lambda c: c.set_role(group, ours, Role.ADMIN, by=doer(OWNER))),
            "transfer": lambda: town.told(lambda c: c.transfer(group, UserKey(TALKER), by=doer(OWNER))),
            "add": lambda: town.told(partial(adding, group, people(stranger))),
            "kick": lambda: town.told(partial(removing, group, stranger)),
            "add again": lambda: town.told(partial(adding, group, people(stranger))),
            "leave": lambda: town.told(partial(leaving, group, stranger)),
            "join": lambda: town.told(partial(joining, group, stranger)),
            "expel": self.expel,
            "dissolve": lambda: town.told(lambda c: c.dissolve(group)),
        }


def sizes(settings: Settings) -> tuple[int, int]:
    """The same is asked everywhere; of fewer where bringing them in takes longest."""
    plain = settings.store == "sql" and "+cluster" not in settings.redis_url
    quick = plain and settings.database_url.startswith("sqlite")
    return SMALL, LARGE if quick else LARGE // 10


def assert_alike(name: str, small: Cost, large: Cost) -> None:
    """Commands may differ by what the link and the store ask of Redis by themselves now and then, and the small one,
    which is the first, may find that what it knows of its group has grown old."""
    assert (name, large.rows) == (name, small.rows)
    assert large.statements <= small.statements, (name, small, large)
    assert abs(large.commands - small.commands) <= _ITS_OWN, (name, small, large)
    assert large.steps <= max(2 * small.steps + 2_000, BOUNDED.get(name, 0)), (name, small, large)


@pytest.mark.timeout(240)
async def test_nothing_costs_more_in_a_group_of_100_000_than_in_one_of_1_000(
    settings: Settings, meter: Meter
) -> None:
    async with open_town(settings) as town:
        few, many = sizes(settings)
        await crowd(town, FIRST, many + 2)
        places = [Place(town, await town.group(OWNER), FIRST + many + n) for n in range(2)]
        for place, size in zip(places, (few, many), strict=True):
            await place.fill(size)
            record = await town.rig.rooms.directory.conversation(APP, place.group)
            assert (record.fanout, record.member_count) == (Fanout.READ, size + 1)
            assert (await town.rig.store.conversations([place.group]))[place.group].members == ()
            await place.ready()
        small, large = [place.doings() for place in places]
        if settings.store == "redis":
            del small["search"]  # which plan 1 has not
        for name in small:
            costs = [await meter.cost(town, doings[name]) for doings in (small, large)]
            assert_alike(name, *costs)
        for place in places:
            assert (await town.rig.rooms.directory.conversation(APP, place.group)).group.dissolved_at
