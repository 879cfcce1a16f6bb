"""The directory on each kind of database: keys, people, claims, policies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from hub.core.errors import NotFound, Refused
from hub.core.identity import Platform
from hub.core.message import IdempotencyClaim
from hub.core.policy import Hop, Policy, Success
from hub.core.records import (
    AppSettings,
    NamedPolicy,
    PageRequest,
    Repeated,
    UserWrite,
)
from hub.core.scopes import APP_SCOPES
from tests.unit.api.rooms import APP, NOW, OTHER, World, open_rooms


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """Rooms on an empty database of each kind."""
    async with open_rooms(database_url) as opened:
        yield opened


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
