"""The directory on each kind of database: conversations, notifications, deliveries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import insert

from hub.core.conversation import ConversationKind, Fanout, Role, inbox_id
from hub.core.delivery import DeliveryState
from hub.core.errors import Conflict, NotFound
from hub.core.identity import Platform
from hub.core.message import UserKey
from hub.core.policy import Hop, Policy, Success
from hub.core.records import (
    DeliveryFilter,
    NewMember,
    NotificationStatus,
    OwnPart,
    PageRequest,
    status_of,
)
from hub.store.directory_base import (
    ATTEMPT,
    DELIVERY,
    DELIVERY_EVENT,
    MEMBER,
    NOTIFICATION,
    QUEUE_ENTRY,
    dumps,
)
from tests.unit.api.rooms import APP, NOW, OTHER, World, open_rooms


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """Rooms on an empty database of each kind."""
    async with open_rooms(database_url) as opened:
        yield opened


async def test_membership_changes_raise_the_version(world: World) -> None:
    directory = world.rooms.directory
    ann, bob, cid, dan = await world.users("ann", "bob", "cid", "dan")
    group = await world.group(ann, bob)
    for seq in range(1, 5):
        await world.say(group, seq, ann)
    async with directory.change(APP, actor="test") as change:
        grown = (await change.add_members(group, [NewMember(cid), NewMember(bob, Role.ADMIN)])).record
    assert (grown.version, grown.member_count, grown.fanout) == (2, 3, Fanout.WRITE)
    people = {m.user_id: m for m in (await directory.members(APP, group, PageRequest())).items}
    assert (people["cid"].joined_seq, people["ann"].joined_seq) == (4, 0)
    assert people["bob"].role is Role.ADMIN
    async with directory.change(APP, actor="test") as change:
        wide = (await change.add_members(group, [NewMember(dan)])).record
    assert (wide.version, wide.fanout) == (3, Fanout.READ)
    assert await world.rooms.people.read_diffused(dan) == {group: 0}
    assert await world.rooms.people.read_diffused(ann) == {group: 4}
    async with directory.change(APP, actor="test") as change:
        less = (await change.remove_member(group, dan)).record
        assert (less.version, less.member_count, less.fanout) == (4, 3, Fanout.READ)
        with pytest.raises(NotFound):
            await change.remove_member(group, dan)
        assert (await change.set_role(group, cid, Role.READONLY)).record.version == 5
    async with directory.change(OTHER, actor="test") as change:
        with pytest.raises(NotFound):
            await change.add_members(group, [NewMember(dan)])


async def test_direct_conversations_have_two_people_for_good(world: World) -> None:
    directory = world.rooms.directory
    ann, bob, cid = await world.users("ann", "bob", "cid")
    async with directory.change(APP, actor="test") as change:
        made, new = await change.ensure_direct(ann, bob)
        again, newer = await change.ensure_direct(bob, ann)
        assert (again.id, new, newer) == (made.id, True, False)
        with pytest.raises(Conflict, match="not_a_group"):
            await change.add_members(made.id, [NewMember(cid)])


async def test_the_list_shows_last_message_and_unread(world: World) -> None:
    directory = world.rooms.directory
    ann, bob = await world.users("ann", "bob")
    quiet = await world.group(ann, bob, title="quiet")
    busy = await world.group(ann, bob, title="busy")
    for seq in range(1, 6):
        await world.say(busy, seq, ann if seq % 2 else bob)
    await world.say(busy, 6, 0, kind="tombstone")
    async with directory.change(APP, actor="test") as change:
        await change.ensure_direct(ann, bob)
    page = await directory.conversations_of(APP, ann, PageRequest(2))
    first = page.items[0]
    assert (first.record.title, first.last and first.last.seq, first.mine and first.mine.unread) == (
        "busy",
        5,
        2,
    )
    rest = await directory.conversations_of(APP, ann, PageRequest(2, page.next))
    together = [*page.items, *rest.items]
    assert len(together) == 3
    assert {view.people for view in together if view.record.kind is ConversationKind.DIRECT} == {
        ("ann", "bob")
    }
    assert (await directory.conversation_view(APP, quiet, viewer=bob)).last is None
    with pytest.raises(NotFound):
        await directory.conversation_view(APP, busy, viewer=(await world.users("eve"))[0])
    everything = await directory.conversations(APP, kind=ConversationKind.GROUP, page=PageRequest())
    assert {view.record.title for view in everything.items} == {"quiet", "busy"}


async def test_who_joined_later_sees_nothing_of_before(world: World) -> None:
    directory = world.rooms.directory
    ann, bob, cid = await world.users("ann", "bob", "cid")
    group = await world.group(ann, bob)
    await world.say(group, 1, ann)
    async with directory.change(APP, actor="test") as change:
        await change.add_members(group, [NewMember(cid)])
    view = await directory.conversation_view(APP, group, viewer=cid)
    assert (view.last, view.mine and view.mine.unread) == (None, 0)


async def _notify(world: World, *users: UserKey, policy: Policy | None = None) -> str:
    """A notification with message 7 of the inbox, as number 3 of each recipient's queue."""
    inbox = inbox_id(APP)
    async with world.database.writing() as connection:
        known = await world.rooms.directory.conversations(
            APP, kind=ConversationKind.INBOX, page=PageRequest()
        )
        if not known.items:
            from hub.store.directory_base import CONVERSATION

            row = {
                "id": inbox,
                "app_id": APP,
                "kind": "inbox",
                "created_at": NOW,
                "title": "",
                "fanout": "write",
            }
            row |= {"version": 1, "member_count": 0, "metadata": "{}"}
            await connection.execute(insert(CONVERSATION).values(row))
    await world.say(inbox, 7, 0, kind="notification")
    message = f"msg_{7:08}_{inbox[-8:]}"
    notification = {
        "id": "ntf_1",
        "app_id": APP,
        "message_id": message,
        "type": "审批.待办",
        "category": "approval",
        "priority": "high",
        "policy": dumps(policy or Policy()),
        "recipients": dumps([int(user) for user in users]),
        "metadata": '{"biz":"oa"}',
        "created_at": NOW,
    }
    await world.insert(NOTIFICATION, notification)
    for user in users:
        row = {"user_id": user, "user_seq": 3, "message_id": message, "inbox_seq": 7}
        await world.insert(QUEUE_ENTRY, row)
    return "ntf_1"


async def test_a_notification_shows_who_has_it(world: World) -> None:
    directory, people = world.rooms.directory, world.rooms.people
    ann, bob, cid = await world.users("ann", "bob", "cid")
    notification = await _notify(world, ann, bob, cid)
    view = await directory.notification(APP, notification)
    assert status_of(view, now=NOW) is NotificationStatus.ACCEPTED
    assert [person.queue_seq for person in view.recipients] == [3, 3, 3]
    assert view.metadata == '{"biz":"oa"}'
    token = await directory.mint(APP, "ann", ttl=timedelta(hours=1), scopes=["read"])
    await people.device(await people.authenticate(token.token), "phone", Platform.APP, "手机")
    from sqlalchemy import update

    from hub.store.directory_base import DEVICE

    async with world.database.writing() as connection:
        await connection.execute(update(DEVICE).values(cursor=3))
    row = {"conversation_id": inbox_id(APP), "user_id": bob, "role": "readonly", "joined_at": NOW}
    await world.insert(MEMBER, row | {"joined_seq": 0, "read_seq": 7, "muted": False})
    view = await directory.notification(APP, notification)
    assert [(p.delivered, p.read) for p in view.recipients] == [(True, False), (True, True), (False, False)]
    assert status_of(view, now=NOW) is NotificationStatus.ACTIVE
    inbox = (await directory.conversations_of(APP, ann, PageRequest())).items[0]
    assert (inbox.record.kind, inbox.mine and inbox.mine.unread) == (ConversationKind.INBOX, 1)
    read = (await directory.conversations_of(APP, bob, PageRequest())).items[0].mine
    assert read == OwnPart(Role.READONLY, 7, False, 0)
    with pytest.raises(NotFound):
        await directory.notification(OTHER, notification)


async def test_deliveries_tell_their_story(world: World) -> None:
    directory = world.rooms.directory
    (ann,) = await world.users("ann")
    policy = Policy((Hop("ws", Success.READ, timedelta(minutes=5)), Hop("wechat_mp")))
    notification = await _notify(world, ann, policy=policy)
    common = {
        "app_id": APP,
        "notification_id": notification,
        "message_id": "m",
        "conversation_id": "c",
        "seq": 7,
    }
    common |= {"user_id": ann, "user_seq": 3, "version": 1, "attempts": 1, "escalated": False, "read": False}
    await world.insert(
        DELIVERY,
        {"id": "dlv_1", "hop": 0, "channel": "ws", "state": "failed", "reason": "offline", "created_at": NOW}
        | common,
        {"id": "dlv_2", "hop": 1, "channel": "wechat_mp", "state": "delivered", "created_at": NOW} | common,
    )
    await world.insert(
        DELIVERY_EVENT,
        {"delivery_id": "dlv_1", "version": 0, "at": NOW, "state": "attempting"},
        {
            "delivery_id": "dlv_1",
            "version": 1,
            "at": NOW + timedelta(seconds=1),
            "state": "failed",
            "reason": "offline",
        },
        {"delivery_id": "dlv_2", "version": 0, "at": NOW + timedelta(seconds=2), "state": "queued"},
    )
    attempt = {
        "delivery_id": "dlv_2",
        "number": 1,
        "started_at": NOW,
        "finished_at": NOW + timedelta(seconds=3),
    }
    await world.insert(
        ATTEMPT, attempt | {"outcome": "accepted", "provider_id": "40013", "detail": "msgid 好"}
    )
    lines: list[str] = []
    after = None
    while True:
        page = await directory.timeline(APP, notification, PageRequest(2, after))
        lines += [f"{event.event} {event.reason or ''}".strip() for event in page.items]
        after = page.next
        if after is None:
            break
    assert lines == ["accepted", "attempting", "failed offline", "queued", "attempt.accepted"]
    story = await directory.delivery(APP, "dlv_2")
    assert (story.attempts[0].provider_id, story.attempts[0].detail) == ("40013", "msgid 好")
    with pytest.raises(NotFound):
        await directory.delivery(OTHER, "dlv_2")
    found = await directory.deliveries(
        APP, DeliveryFilter(user=ann, state=DeliveryState.FAILED), PageRequest()
    )
    assert [delivery.id for delivery in found.items] == ["dlv_1"]
    assert (await directory.notification(APP, notification)).recipients[0].delivered
