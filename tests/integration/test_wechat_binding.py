"""How the hub learns who is who, from the phone to the binding: following, QR codes, the OAuth page, login codes."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.channels._wechat.crypto import sign
from hub.channels._wechat.faults import Failure, Kind
from hub.channels._wechat.invitations import new_token, scene_of
from hub.core.accounts import TICKET_LIFE, BindingState, Invitation, TicketKind
from hub.core.errors import Conflict, NotFound, Refused, Unavailable
from hub.core.outcome import Reason
from tests.integration.wechat_of_test import ALICE, BOB, OFFICIAL, PROGRAM, TOKENS, World, open_world
from tests.sandbox.rig import Lab, open_lab
from tests.services import RedisServer

S = BindingState
LATER = TICKET_LIFE + timedelta(seconds=1)


@pytest.fixture(scope="module")
def running_lab() -> Iterator[Lab]:
    with open_lab() as lab:
        yield lab


@pytest.fixture
async def world(running_lab: Lab, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[World]:
    running_lab.reset()
    redis_server.flush()
    async with open_world(running_lab, tmp_path, redis_server) as opened:
        await opened.hear(mode="plain")
        yield opened


async def event(world: World, name: str, rest: str = "", *, at: float = 0, openid: str = "oAnn") -> int:
    """An event as WeChat would send it, when it likes to."""
    now = world.rig.clock().timestamp()
    stamp, nonce = str(int(now)), new_token()[:10]
    body = (
        f"<xml><ToUserName>gh_x</ToUserName><FromUserName>{openid}</FromUserName>"
        f"<CreateTime>{int(at or now)}</CreateTime><MsgType>event</MsgType><Event>{name}</Event>{rest}</xml>"
    )
    query = {"signature": sign(TOKENS[OFFICIAL], stamp, nonce), "timestamp": stamp, "nonce": nonce}
    answer = await world.http.post(f"/callbacks/wechat/{OFFICIAL}", params=query, content=body.encode())
    await world.settled()
    return answer.status_code


async def scan(world: World, invitation: Invitation, person: str) -> str:
    """The phone scans the QR code; the openid."""
    path = f"/people/{person}/scan"
    tie = await world.do(world.lab.control, "POST", path, {"url": invitation.url})
    return str(tie["openid"])


async def users_openid(world: World, person: str) -> str:
    return await world.do(world.lab.openid, person)


# --- following


async def test_a_follower_is_known_before_anybody_knows_whose_address_it_is(world: World) -> None:
    openid = await world.do(world.lab.follow)
    found = await world.binding(openid)
    assert (found.state, found.user, found.source) == (S.ACTIVE, None, "event")
    assert found.union_id == world.lab.tie("alice", world.official.external_id)["unionid"]


async def test_who_leaves_rests_and_who_comes_back_is_active(world: World) -> None:
    openid = await world.do(world.lab.follow)
    body = {"appid": world.official.external_id}
    await world.do(world.lab.control, "POST", "/people/alice/unfollow", body)
    assert (await world.binding(openid)).state is S.UNFOLLOWED
    world.lab.advance(1)
    await world.do(world.lab.follow)
    assert (await world.binding(openid)).state is S.ACTIVE


async def test_news_that_have_been_overtaken_do_not_count(world: World) -> None:
    openid, now = await users_openid(world, "alice"), time.time()
    await world.do(world.lab.follow)
    assert await event(world, "subscribe", at=now + 5, openid=openid) == 200
    assert await event(world, "unsubscribe", at=now + 3, openid=openid) == 200
    assert (await world.binding(openid)).state is S.ACTIVE
    assert await event(world, "unsubscribe", at=now + 7, openid=openid) == 200
    assert (await world.binding(openid)).state is S.UNFOLLOWED


async def test_of_two_news_in_one_second_wechat_is_asked_which_holds(world: World) -> None:
    openid, now = await users_openid(world, "alice"), time.time() + 5
    await world.do(world.lab.follow)
    await event(world, "subscribe", at=now, openid=openid)
    await event(world, "unsubscribe", at=now, openid=openid)
    assert (await world.binding(openid)).state is S.ACTIVE


async def test_a_lookup_that_fails_is_made_up_for_by_the_next_event(world: World) -> None:
    world.lines.broken = Failure(Kind.BUSY, Reason.PROVIDER_DOWN, words="away")
    openid = await world.do(world.lab.follow)
    assert (await world.binding(openid)).union_id is None
    world.lines.broken = None
    await event(world, "subscribe", at=time.time() + 2, openid=openid)
    assert (await world.binding(openid)).union_id is not None


async def test_lookups_are_bounded(world: World) -> None:
    for _ in range(1_200):
        world.entrance.lookups.ask(world.official, "oNobody", doubt=False)
    assert world.entrance.lookups.dropped == 200
    world.lines.broken = Failure(Kind.BUSY, Reason.PROVIDER_DOWN, words="away")
    await world.settled()
    world.entrance.lookups.ask(world.official, "oNobody", doubt=False)
    assert world.entrance.lookups.dropped == 200


# --- QR codes


@pytest.mark.parametrize("follows", [False, True])
async def test_a_scanned_code_binds_whether_or_not_they_followed_before(world: World, follows: bool) -> None:
    if follows:
        await world.do(world.lab.follow)
    invitation = await world.entrance.desk.invite_by_qr(world.official, ALICE)
    assert invitation.picture.startswith(f"{world.lab.base}/cgi-bin/showqrcode?ticket=")
    assert world.lab.http.get(invitation.picture).status_code == 200
    assert invitation.expires_at - world.rig.clock() <= TICKET_LIFE
    found = await world.binding(await scan(world, invitation, "alice"))
    assert (found.user, found.source, found.state) == (ALICE, "qr", S.ACTIVE)
    assert found.union_id is not None


async def test_a_code_works_once(world: World) -> None:
    invitation = await world.entrance.desk.invite_by_qr(world.official, ALICE)
    await scan(world, invitation, "alice")
    second = await world.binding(await scan(world, invitation, "bob"))
    assert (second.user, second.state) == (None, S.ACTIVE)
    addresses = await world.books.bindings.addresses([OFFICIAL], [ALICE])
    assert addresses[OFFICIAL, ALICE].address == await users_openid(world, "alice")


async def test_a_code_binds_whoever_scans_it(world: World) -> None:
    """It proves that the person who holds the phone saw the screen, and nothing else."""
    invitation = await world.entrance.desk.invite_by_qr(world.official, ALICE)
    openid = await scan(world, invitation, "bob")
    assert (await world.binding(openid)).user == ALICE


async def test_a_code_that_is_too_old_binds_nobody(world: World) -> None:
    ticket = await world.issue(TicketKind.QR_SCENE)
    world.rig.clock.advance(LATER)
    await event(world, "SCAN", f"<EventKey>{scene_of(ticket.token)}</EventKey>")
    assert (await world.binding("oAnn")).user is None


async def test_a_code_of_another_account_binds_nobody(world: World) -> None:
    ticket = await world.issue(TicketKind.QR_SCENE, account=PROGRAM)
    await event(world, "subscribe", f"<EventKey>qrscene_{scene_of(ticket.token)}</EventKey>")
    assert (await world.binding("oAnn")).user is None


async def test_scenes_of_others_are_left_alone(world: World) -> None:
    for scene in ("desk-3", "bind:", "bind:" + "x" * 50, "bind:' OR 1=1 --", scene_of(new_token())):
        assert await event(world, "SCAN", f"<EventKey>{scene}</EventKey>") == 200
    bound = await world.books.bindings.binding(OFFICIAL, "oAnn")
    assert bound is None or bound.user is None


async def test_a_binding_that_could_not_be_written_is_written_at_the_next_try(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = await world.issue(TicketKind.QR_SCENE)
    note, failures = world.books.bindings.note, [Unavailable("store_unavailable", "away")]

    async def away_once(_: object, sightings: Any) -> Any:
        if failures:
            raise failures.pop()
        return await note(sightings)

    monkeypatch.setattr(type(world.books.bindings), "note", away_once)
    at = time.time()
    scanned = f"<EventKey>qrscene_{scene_of(ticket.token)}</EventKey>"
    assert await event(world, "subscribe", scanned, at=at) == 503
    assert await event(world, "subscribe", scanned, at=at) == 200
    assert (await world.binding("oAnn")).user == ALICE


# --- login codes


async def code(world: World, person: str = "alice") -> str:
    body = {"appid": world.program.external_id}
    return str((await world.do(world.lab.control, "POST", f"/people/{person}/login", body))["code"])


async def test_a_login_code_binds_and_its_session_key_goes_nowhere(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    found = await world.entrance.desk.bind_by_code(world.program, ALICE, await code(world))
    assert (found.user, found.source, found.state) == (ALICE, "code", S.ACTIVE)
    session_key = world.lab.tie("alice", world.program.external_id)["session_key"]
    assert session_key
    assert session_key not in caplog.text
    assert session_key not in repr(found)


async def test_a_login_code_works_once_and_says_why_not_again(world: World) -> None:
    used = await code(world)
    await world.entrance.desk.bind_by_code(world.program, ALICE, used)
    with pytest.raises(Refused, match="used") as caught:
        await world.entrance.desk.bind_by_code(world.program, BOB, used)
    assert caught.value.code == "provider_refused"
    assert "40163" in caught.value.detail
    for bad in ("", "x" * 300):
        with pytest.raises(Refused):
            await world.entrance.desk.bind_by_code(world.program, ALICE, bad)


async def test_the_union_id_joins_the_official_account_and_the_mini_program(world: World) -> None:
    """Alice follows as nobody; logging in to the mini program tells who she is in both."""
    openid = await world.do(world.lab.follow)
    assert (await world.binding(openid)).user is None
    await world.entrance.desk.bind_by_code(world.program, ALICE, await code(world))
    joined = await world.binding(openid)
    assert (joined.user, joined.source) == (ALICE, "union")
    assert len(await world.books.bindings.bindings_of(world.official.app, ALICE)) == 2


async def test_the_union_id_joins_the_other_way_round_too(world: World) -> None:
    await world.entrance.desk.bind_by_code(world.program, BOB, await code(world, "bob"))
    openid = await world.do(world.lab.follow, "bob")
    assert (await world.binding(openid)).user == BOB


async def test_accounts_of_another_family_are_not_joined(world: World) -> None:
    alone = replace(world.program, options=replace(world.program.options, family="op_other"))
    await world.books.accounts.put_account(alone, None, actor="test")
    openid = await world.do(world.lab.follow)
    await world.entrance.desk.bind_by_code(alone, ALICE, await code(world))
    assert (await world.binding(openid)).user is None


async def test_each_way_to_bind_belongs_to_one_kind_of_account(world: World) -> None:
    desk = world.entrance.desk
    for refused in (
        desk.invite_by_qr(world.program, ALICE),
        desk.invite_by_page(world.program, ALICE, return_to=""),
        desk.bind_by_code(world.official, ALICE, "c"),
    ):
        with pytest.raises(Conflict, match="not_for_this_account"):
            await refused


# --- asking again


async def test_a_refresh_tells_whether_they_follow_now(world: World) -> None:
    openid = await world.do(world.lab.follow)
    world.lab.control("DELETE", f"/accounts/{world.official.external_id}/callback")
    world.lab.control("POST", "/people/alice/unfollow", {"appid": world.official.external_id})
    assert (await world.binding(openid)).state is S.ACTIVE
    assert (await world.entrance.desk.refresh(world.official, openid)).state is S.UNFOLLOWED


async def test_a_refresh_of_an_address_that_wechat_does_not_know(world: World) -> None:
    await event(world, "unsubscribe", openid="oStranger")
    assert (await world.entrance.desk.refresh(world.official, "oStranger")).state is S.INVALID
    with pytest.raises(NotFound, match="binding_not_found"):
        await world.entrance.desk.refresh(world.official, "oNobody")


async def test_a_refresh_in_a_mini_program_answers_what_is_known(world: World) -> None:
    bound = await world.entrance.desk.bind_by_code(world.program, ALICE, await code(world))
    assert await world.entrance.desk.refresh(world.program, bound.address) == bound
