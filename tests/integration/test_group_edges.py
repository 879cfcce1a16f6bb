"""Groups where several things happen at once, or somebody does not live to finish; on each kind of database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hub.core.contacts import ContactWrite
from hub.core.errors import Forbidden, NotFound, QueueUnavailable, Unavailable
from hub.core.groups import GroupWrite
from hub.core.identity import EndUser
from hub.core.message import ConversationId, ToConversation, UserKey
from tests.integration.group_town import Town, doer, open_town, people, removing
from tests.services import RedisServer
from tests.support.engine import APP, test_settings


@pytest.fixture
async def town(
    tmp_path: Path, storage: tuple[str, dict[str, Any]], redis_server: RedisServer
) -> AsyncIterator[Town]:
    redis_server.flush()
    settings = test_settings(tmp_path, storage[0], redis_server.url)
    async with open_town(settings.model_copy(update={"fanout_limit": 6, **storage[1]})) as opened:
        yield opened


async def open_thread(town: Town) -> ConversationId:
    done, _ = await town.change(lambda c: c.put_thread("post:1", GroupWrite(title="评论", open=True)))
    return done.record.id


async def test_who_may_not_join_a_thread_keeps_nobody_out_who_speaks_at_the_same_time(town: Town) -> None:
    comments = await open_thread(town)
    await town.say(comments, 3, "Werbung")
    await town.told(partial(removing, comments, 3))
    rig = town.rig
    drafts = [rig.draft(ToConversation(comments), sender=user) for user in (2, 3, 4)]
    first, barred, last = await rig.engine.submit_many(drafts)
    assert isinstance(barred, NotFound)
    assert not isinstance(first, Exception)
    assert not isinstance(last, Exception)


async def test_of_two_changes_that_lock_each_other_out_one_is_told_to_try_again(town: Town) -> None:
    if "sqlite" in town.rig.settings.database:
        pytest.skip("has one writer")
    one, other = await town.group(1, 2), await town.group(1, 3)
    met = asyncio.Barrier(2)

    async def both(first: ConversationId, then: ConversationId) -> str:
        try:
            async with town.rig.rooms.directory.change(APP, actor="test") as change:
                await change.announce(first, "周五", by=doer(1))
                await met.wait()
                await change.announce(then, "周一", by=doer(1))
        except Unavailable as error:
            return error.code
        return "done"

    # What is called contention is tried again by whoever asked for the change.
    assert sorted(await asyncio.gather(both(one, other), both(other, one))) == ["contention", "done"]


@pytest.mark.parametrize("away", [False, True])
async def test_who_sends_the_notices_of_the_dead_tells_live_sessions_too(town: Town, away: bool) -> None:
    group = await town.group(1, 2, 3)
    told: list[tuple[set[UserKey], ConversationId]] = []

    async def tell(users: Collection[UserKey], conversation: ConversationId) -> None:
        told.append((set(users), conversation))
        if away:
            raise QueueUnavailable("gone")

    town.rig.engine.notices.on_swept = tell
    await town.change(lambda c: c.remove_member(group, UserKey(3), by=doer(1)))
    await town.change(lambda c: c.announce(group, "周五", by=doer(1)))
    assert await town.rig.engine.notices.sweep(before=datetime.max.replace(tzinfo=UTC)) == 1
    assert told == [({3}, group)]
    assert [event["event"] for event in await town.events(2)] == ["created", "removed", "announcement"]


async def test_who_is_taken_out_while_reading_has_read_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = await town.group(1, 2)
    said = await town.say(group, 1, "hallo")
    database = town.rig.store.database
    write = database.write

    async def later(work: Any) -> Any:
        monkeypatch.setattr(database, "write", write)
        await town.change(lambda c: c.remove_member(group, UserKey(2), by=doer(1)))
        return await write(work)

    monkeypatch.setattr(database, "write", later)
    await town.rig.engine.read(
        EndUser(APP, UserKey(2), "u2", town.rig.clock() + timedelta(hours=1)), group, said.seq
    )
    assert town.rig.broker.signals == []


async def test_who_is_blocked_brings_nobody_into_a_group_who_has_blocked_them(town: Town) -> None:
    await town.change(lambda c: c.put_contacts(UserKey(1), [ContactWrite(UserKey(2), blocked=True)]))
    group = await town.group(2, 3)
    for attempt in (
        lambda c: c.create_group(GroupWrite(), people(1, 3), by=doer(2)),
        lambda c: c.add_members(group, people(1, 4), by=doer(2)),
    ):
        with pytest.raises(Forbidden, match="blocked"):
            await town.change(attempt)
    assert (await town.told(lambda c: c.add_members(group, people(1)))).record.member_count == 3
    assert (await town.told(lambda c: c.add_members(group, people(4), by=doer(2)))).record.member_count == 4


async def test_to_comment_beside_somebody_makes_nobody_acquainted(town: Town) -> None:
    comments = await open_thread(town)
    await town.say(comments, 1, "eins")
    await town.say(comments, 2, "zwei")
    people_ = town.rig.rooms.people
    assert set(await people_.acquainted(UserKey(1), APP, ["u1", "u2"])) == {"u1"}
    await town.group(1, 2)
    assert set(await people_.acquainted(UserKey(1), APP, ["u1", "u2"])) == {"u1", "u2"}


async def test_in_a_large_conversation_nobody_is_told_who_is_writing(town: Town) -> None:
    group = await town.group(1, 2, 3)
    people_ = town.rig.rooms.people
    assert await people_.members(group, UserKey(2)) == [1, 2, 3]
    await town.told(lambda c: c.add_members(group, people(*range(4, 10)), by=doer(1)))
    assert await people_.members(group, UserKey(2)) == [2]
    with pytest.raises(NotFound):
        await people_.members(group, UserKey(12))


async def test_who_has_left_hears_no_more_who_reads_what_they_wrote(town: Town) -> None:
    group = await town.group(1, 2, 3)
    await town.say(group, 2, "hallo")
    said = await town.say(group, 3, "hallo")
    await town.told(partial(removing, group, 3, by=1))
    reader = EndUser(APP, UserKey(1), "u1", town.rig.clock() + timedelta(hours=1))
    await town.rig.engine.read(reader, group, said.seq)
    assert [users for users, _ in town.rig.broker.signals] == [{1, 2}]
