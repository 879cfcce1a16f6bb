"""The directory on each kind of database."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import insert

from hub.core.conversation import ConversationKind, Fanout, Role, inbox_id
from hub.core.delivery import DeliveryState
from hub.core.errors import Conflict, NotFound, Refused
from hub.core.identity import Platform
from hub.core.message import AppId, ConversationId, IdempotencyClaim, UserKey
from hub.core.policy import Hop, Policy, Success
from hub.core.records import (
    AppSettings,
    DeliveryFilter,
    NamedPolicy,
    NewMember,
    NotificationStatus,
    OwnPart,
    PageRequest,
    Repeated,
    UserWrite,
    status_of,
)
from hub.core.scopes import APP_SCOPES
from hub.settings import Settings
from hub.store.directory_base import (
    ATTEMPT,
    DELIVERY,
    DELIVERY_EVENT,
    MEMBER,
    MESSAGE,
    NOTIFICATION,
    QUEUE_ENTRY,
    dumps,
)
from hub.store.directory_sql import DirectoryRooms, directory_rooms
from hub.store.sql_engine import Database, make_engine
from hub.store.tables import metadata

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
APP = AppId("shop")
OTHER = AppId("bank")
SECRET = SecretStr("bm90LWEtcmVhbC1rZXktMzItYnl0ZXMtbG9uZy0hISE=")


@dataclass
class World:
    """The rooms on one database, with a clock to turn and numbered ids."""

    rooms: DirectoryRooms
    database: Database
    now: datetime = NOW
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def users(self, *ids: str, app: AppId = APP) -> list[UserKey]:
        known = await self.rooms.directory.ensure_users(app, ids)
        return [known[user_id] for user_id in ids]

    async def group(self, *members: UserKey, title: str = "群聊 🎉") -> ConversationId:
        async with self.rooms.directory.change(APP, actor="test") as change:
            made = await change.create_group(title, [NewMember(user) for user in members], "{}")
        return made.id

    async def say(self, conversation: str, seq: int, sender: int, *, kind: str = "text") -> None:
        row = {
            "id": f"msg_{seq:08}_{conversation[-8:]}",
            "app_id": APP,
            "conversation_id": conversation,
            "seq": seq,
            "sender_id": sender,
            "sender": "小王",
            "kind": kind,
            "body": dumps({"text": f"你好 {seq} 🎉"}),
            "created_at": self.now + timedelta(seconds=seq),
        }
        await self.insert(MESSAGE, row)

    async def insert(self, table: object, *rows: dict[str, object]) -> None:
        async with self.database.writing() as connection:
            for row in rows:
                await connection.execute(insert(table).values(row))  # type: ignore[arg-type]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    settings = Settings(database_url=database_url, secret_key=SECRET, fanout_limit=3)
    engine = make_engine(settings)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    database = Database(engine, timeout=timedelta(seconds=10))
    here: World
    rooms = directory_rooms(
        database,
        settings,
        clock=lambda: here.now,
        new_id=lambda prefix: f"{prefix}_{next(here.numbers):012}",
    )
    here = World(rooms, database)
    async with rooms.directory.change(APP, actor="test") as change:
        await change.create_app(APP, "商店", AppSettings())
        await change.create_app(OTHER, "银行", AppSettings())
    yield here
    await engine.dispose()


async def test_a_key_is_shown_once_checked_and_revoked(world: World) -> None:
    directory = world.rooms.directory
    async with directory.change(APP, actor="test") as change:
        issued = await change.issue_key(APP, "后台 🔑", APP_SCOPES, None)
    caller = await directory.api_caller(issued.secret)
    assert (caller.app, caller.scopes) == (APP, frozenset(map(str, APP_SCOPES)))
    for wrong in (issued.secret + "x", issued.secret[:-1], "hub_x_y", "hub__", "", "nonsense", "hub_é_y"):
        with pytest.raises(Refused, match="key_invalid"):
            await directory.api_caller(wrong)
    async with directory.change(APP, actor="test") as change:
        await change.revoke_key(issued.record.id)
        await change.revoke_key(issued.record.id)
    with pytest.raises(Refused, match="key_invalid"):
        await directory.api_caller(issued.secret)


async def test_a_key_ends_when_it_expires(world: World) -> None:
    directory = world.rooms.directory
    async with directory.change(APP, actor="test") as change:
        issued = await change.issue_key(APP, "short", ["users:read"], NOW + timedelta(hours=1))
    assert (await directory.api_caller(issued.secret)).key_id == issued.record.id
    world.now += timedelta(hours=1)
    with pytest.raises(Refused, match="key_invalid"):
        await directory.api_caller(issued.secret)


async def test_another_apps_key_cannot_be_revoked(world: World) -> None:
    directory = world.rooms.directory
    async with directory.change(APP, actor="test") as change:
        issued = await change.issue_key(OTHER, "theirs", ["users:read"], None)
    with pytest.raises(NotFound):
        async with directory.change(APP, actor="test") as change:
            await change.revoke_key(issued.record.id)


async def test_users_are_made_once_and_changed_field_by_field(world: World) -> None:
    directory = world.rooms.directory
    async with directory.change(APP, actor="test") as change:
        made, new = await change.put_user(UserWrite("李雷", name="李雷 🐼"))
        assert (new, made.locale, made.timezone) == (True, "zh-CN", "Asia/Shanghai")
        same, new = await change.put_user(UserWrite("李雷", locale="en"))
        assert (new, same.key, same.name, same.locale) == (False, made.key, "李雷 🐼", "en")
        batch = await change.put_users([UserWrite("b"), UserWrite("李雷", name="二"), UserWrite("a")])
        assert [(user.id, fresh) for user, fresh in batch] == [("b", True), ("李雷", False), ("a", True)]
    assert (await directory.user(APP, "李雷")).name == "二"
    with pytest.raises(NotFound):
        await directory.user(OTHER, "李雷")


async def test_ids_differ_by_case(world: World) -> None:
    known = await world.rooms.directory.ensure_users(APP, ["bob", "Bob"])
    assert known["bob"] != known["Bob"]


async def test_concurrent_first_sights_of_a_user_agree(world: World) -> None:
    directory = world.rooms.directory
    names = [f"用户{number}" for number in range(20)]
    found = await asyncio.gather(*(directory.ensure_users(APP, names) for _ in range(5)))
    assert all(dict(other) == dict(found[0]) for other in found)


async def test_lists_go_on_where_they_stopped(world: World) -> None:
    directory = world.rooms.directory
    await world.users(*(f"u{number:03}" for number in range(7)))
    seen: list[str] = []
    after = None
    while True:
        page = await directory.users(APP, PageRequest(3, after))
        seen += [user.id for user in page.items]
        after = page.next
        if after is None:
            break
    assert seen == [f"u{number:03}" for number in range(7)]
    for bad in ("x", "W10", "e30", "", "WyJcdTAwMDAiXQ"):
        with pytest.raises(Refused, match="cursor_invalid"):
            await directory.users(APP, PageRequest(3, bad))


async def test_a_claim_is_answered_once(world: World) -> None:
    directory = world.rooms.directory
    claim = IdempotencyClaim("k" * 64, "f" * 64)
    async with directory.change(APP, actor="test", claim=claim) as change:
        await change.put_user(UserWrite("once"))
        await change.remember(201, b'{"secret":"hub_1_2"}')
    with pytest.raises(Repeated) as repeated:
        async with directory.change(APP, actor="test", claim=claim):
            pass
    assert repeated.value.recorded.body == b'{"secret":"hub_1_2"}'
    assert (repeated.value.recorded.status, repeated.value.recorded.fingerprint) == (201, "f" * 64)


async def test_of_two_at_once_with_one_key_one_hears_the_others_answer(world: World) -> None:
    directory = world.rooms.directory
    claim = IdempotencyClaim("r" * 64, "f" * 64)
    done: list[str] = []

    async def one(name: str) -> str:
        try:
            async with directory.change(APP, actor="test", claim=claim) as change:
                await change.put_user(UserWrite(name))
                await asyncio.sleep(0.05)
                await change.remember(201, name.encode())
        except Repeated as repeated:
            return repeated.recorded.body.decode()
        done.append(name)
        return name

    answers = await asyncio.gather(*(one(f"n{number}") for number in range(4)))
    assert set(answers) == set(done)
    assert len(done) == 1


async def test_a_failed_change_leaves_nothing(world: World) -> None:
    directory = world.rooms.directory
    claim = IdempotencyClaim("x" * 64, "f" * 64)

    async def half_done() -> None:
        async with directory.change(APP, actor="test", claim=claim) as change:
            await change.put_user(UserWrite("ghost"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await half_done()
    with pytest.raises(NotFound):
        await directory.user(APP, "ghost")
    async with directory.change(APP, actor="test", claim=claim) as change:
        await change.put_user(UserWrite("ghost"))


async def test_membership_changes_raise_the_version(world: World) -> None:
    directory = world.rooms.directory
    ann, bob, cid, dan = await world.users("ann", "bob", "cid", "dan")
    group = await world.group(ann, bob)
    for seq in range(1, 5):
        await world.say(group, seq, ann)
    async with directory.change(APP, actor="test") as change:
        grown = await change.add_members(group, [NewMember(cid), NewMember(bob, Role.ADMIN)])
    assert (grown.version, grown.member_count, grown.fanout) == (2, 3, Fanout.WRITE)
    people = {m.user_id: m for m in (await directory.members(APP, group, PageRequest())).items}
    assert (people["cid"].joined_seq, people["ann"].joined_seq) == (4, 0)
    assert people["bob"].role is Role.ADMIN
    async with directory.change(APP, actor="test") as change:
        wide = await change.add_members(group, [NewMember(dan)])
    assert (wide.version, wide.fanout) == (3, Fanout.READ)
    assert await world.rooms.people.read_diffused(dan) == [group]
    async with directory.change(APP, actor="test") as change:
        less = await change.remove_member(group, dan)
        assert (less.version, less.member_count, less.fanout) == (4, 3, Fanout.READ)
        with pytest.raises(NotFound):
            await change.remove_member(group, dan)
        assert (await change.set_role(group, cid, Role.READONLY)).version == 6
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


async def test_policies_come_back_as_they_were(world: World) -> None:
    directory = world.rooms.directory
    policy = Policy((Hop("ws", Success.READ, timedelta(seconds=90), ("high",)), Hop("wechat_mp")))
    async with directory.change(APP, actor="key_1") as change:
        _, new = await change.put_policy(NamedPolicy("审批", policy, timedelta(days=1)))
        assert new
    (stored,) = await directory.policies(APP)
    assert (stored.policy, stored.expires_in) == (policy, timedelta(days=1))
    assert await directory.policies(OTHER) == ()
    async with directory.change(APP, actor="key_1") as change:
        await change.delete_policy("审批")
    assert await directory.policies(APP) == ()
    log = await directory.audit(APP, PageRequest())
    assert [(entry.actor, entry.action) for entry in log.items][:2] == [
        ("key_1", "policy.delete"),
        ("key_1", "policy.put"),
    ]


async def test_people_know_devices_acquaintances_and_last_seen(world: World) -> None:
    directory, people = world.rooms.directory, world.rooms.people
    ann, bob, eve = await world.users("ann", "bob", "eve")
    await world.group(ann, bob)
    minted = await directory.mint(APP, "ann", ttl=timedelta(hours=1), scopes=["read", "write"])
    user = await people.authenticate(minted.token)
    phone = await people.device(user, "phone", Platform.APP, "小米 📱")
    assert (await people.device(user, "phone", Platform.APP, "小米 📱")) == phone
    assert [d.name for d in (await directory.devices(ann, PageRequest())).items] == ["小米 📱"]
    for number in range(110):
        world.now += timedelta(seconds=1)
        await people.device(user, f"tab{number}", Platform.WEB, "")
    assert len((await directory.devices(ann, PageRequest(200))).items) == 100
    assert dict(await people.acquainted(ann, APP, ["bob", "eve", "ann", "nobody"])) == {
        "bob": bob,
        "ann": ann,
    }
    await people.seen({ann: NOW, bob: NOW})
    await people.seen({ann: NOW - timedelta(days=1), bob: NOW + timedelta(days=1)})
    assert dict(await directory.last_seen([ann, bob, eve])) == {ann: NOW, bob: NOW + timedelta(days=1)}
    assert dict(await people.user_ids([ann, eve])) == {ann: "ann", eve: "eve"}
    assert await people.user_key(APP, "nobody") is None
    async with directory.change(APP, actor="test") as change:
        await change.remove_device(ann, "tab109")
        with pytest.raises(NotFound):
            await change.remove_device(ann, "tab109")


async def test_an_apps_own_socket_rules_win(world: World) -> None:
    directory, people = world.rooms.directory, world.rooms.people
    assert (await people.socket_policy(APP)).sessions_per_platform == 5
    async with directory.change(APP, actor="test") as change:
        await change.patch_app(APP, None, AppSettings(sessions_per_platform=1, session_overflow="refuse"))
    policy = await people.socket_policy(APP)
    assert (policy.sessions_per_platform, policy.replace_oldest) == (1, False)
