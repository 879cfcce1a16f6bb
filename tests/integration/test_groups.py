"""Groups on a real database and a real engine: who may speak, who is told of what, and what a crash leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hub.core.conversation import ConversationKind, Fanout, Role
from hub.core.errors import Conflict, Forbidden, HubError, NotFound, Refused
from hub.core.group_rules import Invite
from hub.core.groups import GroupWrite
from hub.core.message import Accepted, ConversationId, ToConversation, UserKey
from hub.core.records import NewMember, PageRequest
from tests.integration.group_town import Town, doer, joining, leaving, open_town, people, removing
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


async def roles(town: Town, conversation: ConversationId) -> dict[int, str]:
    page = await town.rig.rooms.directory.members(APP, conversation, PageRequest(200))
    return {int(member.user): member.role.value for member in page.items}


async def test_every_change_is_told_to_all_members_in_its_order(town: Town) -> None:
    group = await town.group(1, 2, 3)
    until = town.rig.clock() + timedelta(hours=1)
    for work in (
        lambda c: c.add_members(group, people(4), by=doer(1)),
        lambda c: c.set_role(group, UserKey(2), Role.ADMIN, by=doer(1)),
        lambda c: c.silence_member(group, UserKey(3), until, by=doer(2)),
        lambda c: c.silence_group(group, True, by=doer(2)),
        lambda c: c.announce(group, "周五交", by=doer(2)),
        lambda c: c.patch_group(group, GroupWrite(title="新", open=True), by=doer(1)),
        lambda c: c.transfer(group, UserKey(2), by=doer(1)),
        lambda c: c.leave(group, UserKey(1)),
        lambda c: c.dissolve(group, by=doer(2)),
    ):
        await town.told(work)
    told = [
        ("created", ["u1", "u2", "u3"]),
        ("joined", ["u4"]),
        ("role", ["u2"]),
        ("silenced", ["u3"]),
        ("group_silenced", []),
        ("announcement", []),
        ("changed", []),
        ("settings", []),
        ("owner", ["u2"]),
        ("left", ["u1"]),
        ("dissolved", []),
    ]
    seen = {user: await town.events(user) for user in (1, 2, 3, 4)}
    for user, part in ((2, told), (3, told), (4, told[1:]), (1, told[:-1])):
        assert [(event["event"], event["users"]) for event in seen[user]] == part
    assert [event["by"] for event in seen[2]] == [
        "u1",
        "u1",
        "u1",
        "u2",
        "u2",
        "u2",
        "u1",
        "u1",
        "u1",
        "u1",
        "u2",
    ]
    assert seen[2][8]["from"] == "u1"
    assert [message.control for message in await town.history(group, 2)] == [True] * len(told)


async def test_who_is_removed_hears_it_and_nothing_more(town: Town) -> None:
    group = await town.group(1, 2, 3)
    await town.told(lambda c: c.remove_member(group, UserKey(3), by=doer(1)))
    await town.say(group, 1, "unter uns")
    assert [event["event"] for event in await town.events(3)] == ["created", "removed"]
    assert [message.kind for message in await town.queue(3)] == ["notice", "notice"]
    with pytest.raises(NotFound):
        await town.history(group, 3)


async def test_notices_that_a_crash_left_are_sent_by_the_sweep_in_their_order(town: Town) -> None:
    group = await town.group(1, 2)
    await town.change(lambda c: c.add_members(group, people(3), by=doer(1)))
    await town.change(lambda c: c.remove_member(group, UserKey(2), by=doer(1)))
    assert [event["event"] for event in await town.events(1)] == ["created"]
    before = town.rig.clock() + timedelta(seconds=1)
    assert await town.rig.engine.notices.sweep(before=before) == 1
    assert await town.rig.engine.notices.sweep(before=before) == 0
    assert [event["event"] for event in await town.events(1)] == ["created", "joined", "removed"]
    assert [event["event"] for event in await town.events(2)][-1] == "removed"


async def test_notices_that_were_sent_and_not_ticked_off_are_not_sent_twice(town: Town) -> None:
    group = await town.group(1, 2)
    await town.change(lambda c: c.add_members(group, people(3), by=doer(1)))
    store = town.rig.rooms.groups
    (left,) = await store.notices(group, limit=10)
    engine = town.rig.engine
    await engine.notices.tell(group)
    draft = town.rig.draft(ToConversation(group), sender=0)
    assert await store.notices(group, limit=10) == []
    # As if the row had stayed: the same notice once more.
    again = engine.notices
    await again._send(left)
    assert draft.id
    assert [event["event"] for event in await town.events(1)] == ["created", "joined"]


async def test_many_changes_at_once_are_told_once_each_in_the_order_of_their_versions(town: Town) -> None:
    group = await town.group(1, invite=Invite.MEMBERS, open=True)
    await asyncio.gather(*(town.told(partial(joining, group, user)) for user in range(2, 7)))
    told = await town.events(1)
    assert [event["event"] for event in told] == ["created", *["joined"] * 5]
    assert {user for event in told[1:] for user in event["users"]} == {"u2", "u3", "u4", "u5", "u6"}
    seqs = [message.seq for message in await town.queue(1)]
    assert seqs == sorted(set(seqs))


async def test_a_silenced_member_speaks_again_when_the_time_is_over(town: Town) -> None:
    group = await town.group(1, 2)
    until = town.rig.clock() + timedelta(minutes=5)
    await town.told(lambda c: c.silence_member(group, UserKey(2), until, by=doer(1)))
    with pytest.raises(Forbidden, match="member_silenced"):
        await town.say(group, 2, "ich")
    town.rig.clock.advance(timedelta(minutes=6))
    await town.say(group, 2, "wieder da")
    later = town.rig.clock() + timedelta(minutes=5)
    await town.told(lambda c: c.silence_member(group, UserKey(2), later, by=doer(1)))
    await town.told(lambda c: c.silence_member(group, UserKey(2), None, by=doer(1)))
    await town.say(group, 2, "gleich")


@pytest.mark.parametrize("fanout", Fanout)
async def test_silence_removal_and_dissolution_hold_however_messages_are_diffused(
    town: Town, fanout: Fanout
) -> None:
    others = (2, 3) if fanout is Fanout.WRITE else range(2, 9)
    group = await town.group(1, *others)
    for user in (1, 2, 3):
        await town.say(group, user, "hallo")
    await town.told(lambda c: c.silence_group(group, True, by=doer(1)))
    await town.say(group, 1, "ich allein")
    with pytest.raises(Forbidden, match="group_silenced"):
        await town.say(group, 2, "ich auch")
    await town.told(lambda c: c.set_role(group, UserKey(2), Role.ADMIN, by=doer(1)))
    await town.say(group, 2, "jetzt")
    await town.told(lambda c: c.silence_group(group, False, by=doer(2)))
    await town.told(lambda c: c.remove_member(group, UserKey(3), by=doer(2)))
    with pytest.raises(NotFound):
        await town.say(group, 3, "noch da")
    await town.told(lambda c: c.dissolve(group, by=doer(1)))
    with pytest.raises(Conflict, match="conversation_dissolved"):
        await town.say(group, 1, "vorbei")
    assert (await town.client(group, 2)).texts == ["hallo", "hallo", "hallo", "ich allein", "jetzt"]
    await town.told(lambda c: c.leave(group, UserKey(1)))


async def test_of_two_who_change_the_owner_at_once_one_is_refused(town: Town) -> None:
    group = await town.group(1, 2, 3)
    done = await asyncio.gather(
        town.told(lambda c: c.transfer(group, UserKey(2), by=doer(1))),
        town.told(lambda c: c.transfer(group, UserKey(3), by=doer(1))),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in done) == ["Forbidden", "GroupChanged"]
    found = await roles(town, group)
    assert sorted(found.values()) == ["admin", "member", "owner"]
    record = await town.rig.rooms.directory.conversation(APP, group)
    assert found[int(record.group.owner or 0)] == "owner"


async def test_the_owner_hands_over_before_leaving_and_the_last_one_dissolves(town: Town) -> None:
    group = await town.group(1, 2)
    with pytest.raises(Conflict, match="owner_must_transfer"):
        await town.change(lambda c: c.leave(group, UserKey(1)))
    await town.told(lambda c: c.transfer(group, UserKey(2), by=doer(1)))
    await town.told(lambda c: c.leave(group, UserKey(1)))
    done = await town.told(lambda c: c.leave(group, UserKey(2)))
    assert done.record.group.dissolved_at is not None
    assert (done.record.member_count, done.record.group.owner) == (0, None)
    assert [event["event"] for event in await town.events(2)][-2:] == ["left", "dissolved"]


async def test_where_a_business_system_takes_out_the_owner_somebody_follows(town: Town) -> None:
    group = await town.group(1, 2, 3)
    await town.told(lambda c: c.set_role(group, UserKey(3), Role.ADMIN, by=doer(1)))
    await town.told(lambda c: c.remove_member(group, UserKey(1)))
    assert await roles(town, group) == {2: "member", 3: "owner"}
    other = await town.group(3, 2)
    left = await town.change(lambda c: c.expel(UserKey(3)))
    assert {one.record.id for one in left} == {group, other}
    assert await roles(town, group) == {2: "owner"}
    assert await town.change(lambda c: c.expel(UserKey(3))) == []


async def test_a_group_takes_no_more_than_it_may(town: Town) -> None:
    group = await town.group(1, 2, max_members=3)
    await town.told(lambda c: c.add_members(group, people(3), by=doer(1)))
    with pytest.raises(Conflict, match="conversation_full"):
        await town.change(lambda c: c.add_members(group, people(4), by=doer(1)))
    done = await town.change(lambda c: c.add_members(group, people(2, 3), by=doer(1)))
    assert done.record.member_count == 3


async def test_another_app_reaches_nothing(town: Town) -> None:
    group = await town.group(1, 2)
    async with town.rig.rooms.directory.change(type(APP)("app_other"), actor="x") as change:
        for attempt in (
            change.add_members(group, people(3)),
            change.dissolve(group),
            change.join(group, UserKey(3)),
            change.silence_group(group, True),
        ):
            with pytest.raises(NotFound):
                await attempt


# Threads


async def thread(town: Town, subject: str = "post:1", *, is_open: bool = True) -> ConversationId:
    done, _ = await town.change(lambda c: c.put_thread(subject, GroupWrite(title="评论", open=is_open)))
    return done.record.id


async def test_the_thread_of_a_subject_is_made_once(town: Town) -> None:
    made = await asyncio.gather(
        *(town.change(lambda c: c.put_thread("post:9", GroupWrite(title="x"))) for _ in range(5))
    )
    assert len({done.record.id for done, _ in made}) == 1
    assert sum(new for _, new in made) == 1
    record = made[0][0].record
    assert (record.kind, record.group.subject, record.group.open) == (ConversationKind.THREAD, "post:9", True)
    assert await town.rig.rooms.directory.thread_of(APP, "post:9") == record
    assert await town.rig.rooms.directory.thread_of(type(APP)("app_other"), "post:9") is None


async def test_who_comments_joins_and_many_may_at_once(town: Town) -> None:
    comments = await thread(town)
    drafts = [town.rig.draft(ToConversation(comments), sender=1 + n % 5, text=str(n)) for n in range(20)]
    answers = await town.rig.engine.submit_many(drafts)
    assert all(isinstance(answer, Accepted) for answer in answers), answers
    assert sorted(await roles(town, comments)) == [1, 2, 3, 4, 5]
    record = await town.rig.rooms.directory.conversation(APP, comments)
    assert record.member_count == 5
    texts = [json.loads(m.body)["text"] for m in await town.history(comments, 9) if m.kind == "text"]
    assert texts == [str(n) for n in range(20)]


async def test_comments_go_on_past_the_fan_out_limit(town: Town) -> None:
    comments = await thread(town)
    for user in range(1, 13):
        await town.say(comments, user, f"von {user}")
    await town.rig.engine.notices.tell(comments)
    record = await town.rig.rooms.directory.conversation(APP, comments)
    assert (record.member_count, record.fanout) == (12, Fanout.READ)
    assert (await town.client(comments, 1)).texts == [f"von {user}" for user in range(1, 13)]


async def test_an_open_thread_is_followed_left_and_read_by_anybody_of_the_app(town: Town) -> None:
    comments = await thread(town)
    await town.told(lambda c: c.join(comments, UserKey(1)))
    await town.say(comments, 2, "erster")
    assert "erster" in [json.loads(m.body).get("text") for m in await town.queue(1)]
    await town.told(lambda c: c.leave(comments, UserKey(1)))
    await town.say(comments, 2, "zweiter")
    assert "zweiter" not in [json.loads(m.body).get("text") for m in await town.queue(1)]
    assert [m.kind for m in await town.history(comments, 1)].count("text") == 2
    done = await town.told(lambda c: c.leave(comments, UserKey(2)))
    assert done.record.group.dissolved_at is None


async def test_a_closed_thread_is_for_its_members(town: Town) -> None:
    comments = await thread(town, is_open=False)
    await town.told(lambda c: c.add_members(comments, people(1)))
    await town.say(comments, 1, "intern")
    refused: list[HubError] = []
    for attempt in (
        town.say(comments, 2, "ich"),
        town.history(comments, 2),
        town.change(lambda c: c.join(comments, UserKey(2))),
    ):
        with pytest.raises(Refused) as told:
            await attempt
        refused.append(told.value)
    assert {one.code for one in refused} == {"conversation_not_found"}


async def test_leaving_and_coming_back_ends_no_silence(town: Town) -> None:
    comments = await thread(town)
    await town.say(comments, 1, "eins")
    until = town.rig.clock() + timedelta(hours=1)
    await town.told(lambda c: c.silence_member(comments, UserKey(1), until))
    with pytest.raises(Forbidden, match="member_silenced"):
        await town.say(comments, 1, "zwei")
    await town.told(partial(leaving, comments, 1))
    with pytest.raises(Forbidden, match="member_silenced"):
        await town.say(comments, 1, "drei")
    town.rig.clock.advance(timedelta(hours=2))
    await town.say(comments, 1, "vier")


async def test_whoever_comes_to_own_a_group_may_speak(town: Town) -> None:
    until = town.rig.clock() + timedelta(hours=1)
    group = await town.group(1, 2)
    await town.told(lambda c: c.silence_member(group, UserKey(2), until, by=doer(1)))
    await town.told(partial(removing, group, 1))
    await town.say(group, 2, "geerbt")
    comments = await thread(town)
    await town.say(comments, 1, "eins")
    await town.told(lambda c: c.silence_member(comments, UserKey(1), until))
    await town.told(lambda c: c.add_members(comments, [NewMember(UserKey(1), Role.OWNER)]))
    await town.say(comments, 1, "zwei")


async def test_who_was_taken_out_of_an_open_conversation_is_brought_back_by_an_admin_only(town: Town) -> None:
    group = await town.group(1, 2, 3, open=True, invite=Invite.MEMBERS)
    await town.told(partial(removing, group, 3, by=1))
    for attempt in (partial(joining, group, 3), lambda c: c.add_members(group, people(3), by=doer(2))):
        with pytest.raises(Forbidden, match="removed_before"):
            await town.change(attempt)
    await town.told(lambda c: c.add_members(group, people(3), by=doer(1)))
    await town.told(partial(leaving, group, 3))
    await town.told(partial(joining, group, 3))
    comments = await thread(town)
    await town.say(comments, 3, "Werbung")
    await town.told(partial(removing, comments, 3))
    with pytest.raises(NotFound):
        await town.say(comments, 3, "Werbung")
