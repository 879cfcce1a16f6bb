"""The OAuth page: who opens an invitation in WeChat and agrees is bound, once, and sees it in two languages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from hub.channels._wechat.faults import Failure, Kind
from hub.channels._wechat.invitations import may_return_to
from hub.core.accounts import TICKET_LIFE, BindingState, Invitation, TicketKind
from hub.core.errors import Refused
from hub.core.outcome import Reason
from tests.integration.wechat_of_test import ALICE, OFFICIAL, PROGRAM, World, open_world
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


async def users_openid(world: World, person: str) -> str:
    return await world.do(world.lab.openid, person)


async def consent(invitation: Invitation, person: str = "alice", **more: str) -> str:
    """The person opens the invitation in WeChat and agrees; where the browser is sent."""
    async with httpx2.AsyncClient() as phone:
        url = invitation.url.partition("#")[0]
        parts = dict(parse_qs(urlsplit(url).query))
        query = {name: values[0] for name, values in parts.items()} | {"sandbox_person": person} | more
        answer = await phone.get(url.partition("?")[0], params=query)
    assert answer.status_code == 302, answer.text
    return str(answer.headers["location"])


async def test_the_page_binds_and_says_so_in_two_languages(world: World) -> None:
    invitation = await world.entrance.desk.invite_by_page(world.official, ALICE, return_to="")
    assert invitation.url.startswith(f"{world.lab.base}/connect/oauth2/authorize?appid=")
    assert invitation.url.endswith("#wechat_redirect")
    answer = await world.http.get(await consent(invitation))
    assert answer.status_code == 200
    assert "绑定成功" in answer.text
    assert "Linked" in answer.text
    assert "script" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert (answer.headers["referrer-policy"], answer.headers["cache-control"]) == ("no-referrer", "no-store")
    await world.settled()
    found = await world.binding(await users_openid(world, "alice"))
    assert (found.user, found.source, found.state) == (ALICE, "oauth", S.UNFOLLOWED)
    assert found.union_id == world.lab.tie("alice", world.official.external_id)["unionid"]
    await world.do(world.lab.follow)
    assert (await world.binding(found.address)).state is S.ACTIVE
    assert (await world.binding(found.address)).user == ALICE


@pytest.mark.parametrize("where", ["https://app.example.com/me?tab=wechat", "/docs"])
async def test_the_browser_goes_where_the_business_system_wants_it(world: World, where: str) -> None:
    invitation = await world.entrance.desk.invite_by_page(world.official, ALICE, return_to=where)
    answer = await world.http.get(await consent(invitation))
    assert (answer.status_code, answer.headers["location"]) == (303, where)


async def test_a_link_works_once_but_a_page_that_is_loaded_twice_says_the_same(world: World) -> None:
    invitation = await world.entrance.desk.invite_by_page(world.official, ALICE, return_to="")
    first = await consent(invitation)
    second = await consent(invitation, "bob")
    assert (await world.http.get(first)).status_code == 200
    assert (await world.http.get(first)).status_code == 200
    answer = await world.http.get(second)
    assert answer.status_code == 410
    assert "链接已失效" in answer.text
    await world.settled()
    assert await world.books.bindings.binding(OFFICIAL, await users_openid(world, "bob")) is None


async def test_a_link_that_is_too_old_or_of_another_account_binds_nobody(world: World) -> None:
    other = await world.issue(TicketKind.OAUTH_STATE, account=PROGRAM)
    old = await world.issue(TicketKind.OAUTH_STATE)
    path = f"/callbacks/wechat/{OFFICIAL}/oauth"
    assert (await world.http.get(path, params={"code": "c", "state": other.token})).status_code == 410
    world.rig.clock.advance(LATER)
    assert (await world.http.get(path, params={"code": "c", "state": old.token})).status_code == 410
    qr = await world.issue(TicketKind.QR_SCENE)
    assert (await world.http.get(path, params={"code": "c", "state": qr.token})).status_code == 410


async def test_a_snapshot_is_nobody(world: World) -> None:
    invitation = await world.entrance.desk.invite_by_page(world.official, ALICE, return_to="")
    answer = await world.http.get(await consent(invitation, sandbox_snapshot="1"))
    assert answer.status_code == 403
    assert "使用完整服务" in answer.text
    assert await world.books.bindings.binding(OFFICIAL, await users_openid(world, "alice")) is None


async def test_a_code_that_wechat_does_not_know_binds_nobody(world: World) -> None:
    ticket = await world.issue(TicketKind.OAUTH_STATE)
    path = f"/callbacks/wechat/{OFFICIAL}/oauth"
    answer = await world.http.get(path, params={"code": "made-up", "state": ticket.token})
    assert answer.status_code == 400
    assert "微信未确认" in answer.text
    assert await world.books.bindings.addresses([OFFICIAL], [ALICE]) == {}


async def test_while_wechat_is_away_the_page_says_so(world: World) -> None:
    invitation = await world.entrance.desk.invite_by_page(world.official, ALICE, return_to="")
    where = await consent(invitation)
    world.lines.broken = Failure(Kind.BUSY, Reason.PROVIDER_DOWN, words="away")
    assert (await world.http.get(where)).status_code == 503


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"state": "A" * 43},
        {"code": "c"},
        {"code": "c", "state": "<script>alert(1)</script>"},
        {"code": "c" * 300, "state": "A" * 43},
    ],
)
async def test_what_did_not_come_from_an_invitation_is_not_looked_at(
    world: World, query: dict[str, str]
) -> None:
    answer = await world.http.get(f"/callbacks/wechat/{OFFICIAL}/oauth", params=query)
    assert answer.status_code == 400
    assert "<script" not in answer.text
    assert (await world.http.get("/callbacks/wechat/acc_x/oauth", params=query)).status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "https://user@evil.example/",
        "https:///x",
        "http://[",
        "ftp://a.example",
        "app.example.com",
        "/a\r\nSet-Cookie: x",
        "https://a.example/" + "x" * 1_100,
    ],
)
async def test_a_place_that_browsers_should_not_be_sent_to_is_refused(world: World, address: str) -> None:
    assert not may_return_to(address)
    with pytest.raises(Refused, match="return_to_invalid"):
        await world.entrance.desk.invite_by_page(world.official, ALICE, return_to=address)
