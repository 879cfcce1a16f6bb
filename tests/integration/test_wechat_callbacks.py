"""WeChat's callbacks over real HTTP: what is let in, what is not, and that nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hub.channels._wechat.crypto import MessageCipher, sign
from hub.channels._wechat.memory import RedisMemory
from hub.core.accounts import AccountSecrets, BindingState
from hub.core.delivery import DeliveryState
from hub.redis_link import open_redis
from tests.integration.wechat_of_test import (
    AES_KEYS,
    ALICE,
    OFFICIAL,
    PROGRAM,
    TOKENS,
    World,
    open_world,
)
from tests.sandbox.rig import SECRETS, Lab, open_lab
from tests.services import RedisServer

PATH = f"/callbacks/wechat/{OFFICIAL}"
UNFOLLOW = (
    "<xml><ToUserName>gh_x</ToUserName><FromUserName>{openid}</FromUserName><CreateTime>{at}</CreateTime>"
    "<MsgType>event</MsgType><Event>unsubscribe</Event></xml>"
)


@pytest.fixture(scope="module")
def running_lab() -> Iterator[Lab]:
    with open_lab() as lab:
        yield lab


@pytest.fixture
async def world(running_lab: Lab, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[World]:
    running_lab.reset()
    redis_server.flush()
    async with open_world(running_lab, tmp_path, redis_server) as opened:
        yield opened


def unfollow(openid: str = "oEve", at: int = 0) -> bytes:
    return UNFOLLOW.format(openid=openid, at=at or int(time.time())).encode()


def query(token: str = TOKENS[OFFICIAL], *sealed: str, at: float = 0, nonce: str = "n1") -> dict[str, str]:
    """As WeChat signs: `signature` always, `msg_signature` over the sealed text."""
    stamp = str(int(at or time.time()))
    signed = {"signature": sign(token, stamp, nonce), "timestamp": stamp, "nonce": nonce}
    if sealed:
        signed |= {"encrypt_type": "aes", "msg_signature": sign(token, stamp, nonce, *sealed)}
    return signed


def seal(body: bytes, *, appid: str, key: str = AES_KEYS[OFFICIAL]) -> tuple[str, bytes]:
    text = MessageCipher(appid, (key,)).seal(body)
    return text, f"<xml><ToUserName>gh_x</ToUserName><Encrypt>{text}</Encrypt></xml>".encode()


async def post(world: World, body: bytes, signed: dict[str, str], *, path: str = PATH) -> tuple[int, str]:
    answer = await world.http.post(path, params=signed, content=body)
    assert "xml" not in answer.text
    return answer.status_code, answer.text


async def known(world: World, openid: str = "oEve") -> bool:
    return await world.books.bindings.binding(OFFICIAL, openid) is not None


# --- the check of the URL


async def test_the_url_check_is_answered_with_the_echo_as_plain_text(world: World) -> None:
    await world.agree()
    answer = await world.http.get(PATH, params={**query(), "echostr": "<b>43751209</b>"})
    assert (answer.status_code, answer.text) == (200, "<b>43751209</b>")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
    forged = await world.http.get(PATH, params={**query("another"), "echostr": "1"})
    assert (forged.status_code, forged.text) == (403, "unsigned")


async def test_the_official_vectors_pass_through_the_route(world: World) -> None:
    appid, token, key = "wxba5fad812f8e6fb9", "AAAAA", "A" * 43
    sealed = (
        "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6JsX"
        "UnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajA"
        "sjLY2km32IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04="
    )
    moment = datetime.fromtimestamp(1714112445, UTC)
    world.rig.clock.advance(moment - datetime.now(UTC))
    account = replace(world.official, external_id=appid)
    await world.books.accounts.put_account(account, AccountSecrets("s", token, (key,)), actor="test")
    signed = {
        "signature": "899cf89e464efb63f54ddac96b0a0a235f53aa78",
        "timestamp": "1714112445",
        "nonce": "415670741",
        "encrypt_type": "aes",
        "msg_signature": "046e02f8204d34f8ba5fa3b1db94908f3df2e9b3",
    }
    body = json.dumps({"ToUserName": "gh_97417a04a28d", "Encrypt": sealed}).encode()
    assert await post(world, body, signed) == (200, "success")
    assert world.counts["OtherEvent", "done"] == 1
    echo = {"timestamp": "1714036504", "nonce": "1514711492", "echostr": "4375120948345356249"}
    echo["signature"] = "f464b24fc39322e44b38aa78f5edd27bd1441696"
    world.rig.clock.advance(timedelta(seconds=1714036504 - 1714112445))
    assert (await world.http.get(PATH, params=echo)).text == "4375120948345356249"


# --- who may come in


async def test_an_account_that_is_unknown_or_off_or_has_no_token_is_not_there(world: World) -> None:
    signed = query()
    for path in (PATH, "/callbacks/wechat/acc_other", "/callbacks/wechat/..%2f", "/callbacks/wechat/x%0ay"):
        assert await post(world, unfollow(), signed, path=path) == (404, "not found") or "%2f" in path
    await world.agree("plain")
    await world.books.accounts.put_account(replace(world.official, enabled=False), None, actor="test")
    assert await post(world, unfollow(), signed) == (404, "not found")
    assert (await world.http.get(PATH, params={**signed, "echostr": "1"})).status_code == 404
    await world.books.accounts.put_account(world.official, AccountSecrets("s"), actor="test")
    assert await post(world, unfollow(), signed) == (404, "not found")
    assert not await known(world)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused(world: World, method: str) -> None:
    await world.agree()
    assert (await world.http.request(method, PATH)).status_code == 405


async def test_the_routes_are_not_in_the_description_for_business_systems(world: World) -> None:
    described = (await world.http.get("/openapi.json")).json()
    assert not [path for path in described["paths"] if "callback" in path]


# --- attacks


async def test_a_forged_signature_is_refused(world: World) -> None:
    await world.agree("plain")
    assert await post(world, unfollow(), query("guessed")) == (403, "unsigned")
    assert await post(world, unfollow(), {}) == (403, "unsigned")
    # The token of the tenant's other account, or of another tenant, opens nothing here.
    assert await post(world, unfollow(), query(TOKENS[PROGRAM])) == (403, "unsigned")
    assert not await known(world)
    assert world.counts["unread", "unsigned"] == 3


async def test_a_callback_from_long_ago_is_refused_though_its_signature_holds(world: World) -> None:
    await world.agree("plain")
    for shift in (-660, 660, -86_400):
        assert await post(world, unfollow(), query(at=time.time() + shift)) == (403, "stale")
    assert not await known(world)


async def test_another_body_under_a_used_signature_is_a_forgery(world: World) -> None:
    await world.agree("plain")
    signed = query()
    assert await post(world, unfollow("oAnn"), signed) == (200, "success")
    assert await post(world, unfollow("oEve"), signed) == (403, "forged")
    assert (await known(world, "oAnn"), await known(world, "oEve")) == (True, False)


async def test_a_repeat_is_thanked_for_and_does_nothing(world: World) -> None:
    await world.agree("plain")
    body = unfollow("oAnn")
    assert await post(world, body, query(nonce="1")) == (200, "success")
    before = await world.binding("oAnn")
    assert await post(world, body, query(nonce="1")) == (200, "success")
    assert await post(world, body, query(nonce="2")) == (200, "success")
    assert await world.binding("oAnn") == before
    assert (world.counts["Unfollowed", "done"], world.counts["Unfollowed", "seen"]) == (1, 2)


async def test_plain_is_refused_where_sealing_was_agreed(world: World) -> None:
    await world.agree("aes")
    assert await post(world, unfollow(), query()) == (403, "not_sealed")


async def test_a_body_sealed_for_another_account_or_with_another_key_is_refused(world: World) -> None:
    await world.agree("aes")
    for made in (
        {"appid": world.program.external_id},
        {"appid": world.official.external_id, "key": AES_KEYS[PROGRAM]},
    ):
        text, body = seal(unfollow(), **made)
        assert await post(world, body, query(TOKENS[OFFICIAL], text)) == (400, "undecipherable")
    text, body = seal(unfollow(), appid=world.official.external_id)
    other = text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:]
    assert await post(world, body.replace(text.encode(), other.encode()), query(TOKENS[OFFICIAL], text)) == (
        403,
        "unsigned",
    )
    assert not await known(world)
    assert await post(world, body, query(TOKENS[OFFICIAL], text)) == (200, "success")
    assert await known(world)


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><xml><MsgType>&e;</MsgType></xml>',
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><xml><MsgType>&b;</MsgType></xml>',
        b"<xml>" * 5_000,
        b"<xml><MsgType>event</MsgType>",
        b'{"MsgType": "event"',
        b"\xff\xfe\x00",
        b"",
        b'{"MsgType":"event","Event":"unsubscribe","ToUserName":"g","FromUserName":"a b","CreateTime":1}',
    ],
    ids=["xxe", "entities", "depth", "cut", "cut-json", "bytes", "empty", "no-openid"],
)
async def test_a_hostile_body_is_refused_in_plain_and_inside_the_seal(world: World, body: bytes) -> None:
    await world.agree("plain")
    assert await post(world, body, query()) == (400, "unreadable")
    await world.agree("aes")
    text, outer = seal(body, appid=world.official.external_id)
    assert await post(world, outer, query(TOKENS[OFFICIAL], text)) == (400, "unreadable")


async def test_ten_megabytes_are_not_read(world: World) -> None:
    await world.agree("plain")
    answer = await world.http.post(PATH, params=query(), content=b"x" * 10_000_000)
    assert answer.status_code == 413
    sent = 0

    async def trickle() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 16_384
            yield b"x" * 16_384
            await asyncio.sleep(0)

    try:
        answer = await world.http.post(PATH, params=query(), content=trickle())
        assert (answer.status_code, answer.text) == (413, "oversize")
    except httpx2.TransportError:
        pass  # hung up on in the middle of it, which is as well
    assert sent < 10_000_000
    assert world.counts["unread", "oversize"] == 1


async def test_a_sender_that_never_ends_its_body_is_left_in_time(world: World) -> None:
    await world.agree("plain")
    port = int(world.base.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    target = httpx2.URL(PATH, params=query()).raw_path
    writer.write(b"POST " + target + b" HTTP/1.1\r\nHost: hub\r\nContent-Length: 500\r\n\r\n<xml>")
    async with asyncio.timeout(8):  # WeChat hangs up after five; the machine may be busy
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"come again")
    assert world.counts["unread", "postponed"] == 1


# --- every format


@pytest.mark.parametrize(
    ("mode", "form"), [("plain", "xml"), ("aes", "json"), ("compatible", "json"), ("aes", "xml")]
)
async def test_the_sandbox_is_understood_in_every_mode_and_format(world: World, mode: str, form: str) -> None:
    await world.hear(mode=mode, form=form)
    await world.acquaint()
    for _ in range(2):
        await world.do(world.lab.accept, world.mini.template)
        await asyncio.to_thread(world.lab.advance, 1)
    assert await world.grants(world.mini) == (2, 0, False)
    await world.notify("miniprogram")
    await world.notify("wechat_mp")
    await world.settled()
    assert await world.states(world.mini) == [DeliveryState.DELIVERED]
    assert await world.states(world.mp) == [DeliveryState.DELIVERED]
    assert await world.grants(world.mini) == (1, 0, False)
    assert all(int(msgid) > 2**53 for msgid in world.mini.msgids + world.mp.msgids)
    assert not [key for key in world.counts if key[1] not in {"done", "seen"}]


# --- the database is away


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else can write to the database."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


@pytest.mark.parametrize("gives_up_after", [0.3, 10.0], ids=["it-says-so", "it-hangs"])
async def test_while_the_database_is_away_wechat_is_asked_to_come_again(
    running_lab: Lab, redis_server: RedisServer, tmp_path: Path, gives_up_after: float
) -> None:
    running_lab.reset()
    redis_server.flush()  # WeChat tells whole seconds: the test before may have had this very event
    away: dict[str, Any] = {"database_timeout": timedelta(seconds=gives_up_after)}
    async with open_world(running_lab, tmp_path, redis_server, **away) as world:
        await world.hear()
        await asyncio.to_thread(world.lab.settings, callback_tries=200, callback_pause_ms=50)
        with locked(tmp_path / "hub.db"):
            openid = await asyncio.to_thread(world.lab.follow)
            async with asyncio.timeout(20):
                while "postponed" not in {end for _, end in world.counts}:
                    await asyncio.sleep(0.02)
            assert set(world.counts) <= {
                ("url_check", "done"),
                ("Followed", "postponed"),
                ("unread", "postponed"),
            }
        await world.settled()
        assert (await world.binding(openid)).state is BindingState.ACTIVE
        pushes: list[dict[str, Any]] = world.lab.control("GET", "/callbacks")["pushes"]
        tries = pushes[-1]["tries"]
        assert {found["status"] for found in tries[:-1]} == {503}
        assert (tries[-1]["status"], tries[-1]["body"]) == (200, "success")


async def test_a_fault_of_ours_is_not_shown_and_the_event_comes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.agree("plain")
    note, failures = world.books.bindings.note, [RuntimeError("oh no")]

    async def fails_once(sightings: Any) -> Any:
        if failures:
            raise failures.pop()
        return await note(sightings)

    monkeypatch.setattr(type(world.books.bindings), "note", lambda _, sightings: fails_once(sightings))
    signed, body = query(), unfollow("oAnn")
    assert await post(world, body, signed) == (500, "failed")
    assert await post(world, body, signed) == (200, "success")
    assert (await world.binding("oAnn")).state is BindingState.UNFOLLOWED


async def test_what_people_write_is_thanked_for_and_left_alone(world: World) -> None:
    await world.hear()
    await world.acquaint()
    await world.do(
        world.lab.control,
        "POST",
        "/people/alice/write",
        {"appid": world.official.external_id, "text": "你好"},
    )
    assert world.counts["OtherEvent", "done"] == 1
    assert SECRETS[world.official.external_id] not in repr(world.entrance.door.counts)
    assert world.mp.openids[ALICE]


async def test_what_one_node_remembers_another_recalls(world: World, redis_server: RedisServer) -> None:
    async with open_redis(redis_server.url) as other:
        here, there = RedisMemory(world.rig.link), RedisMemory(other)
        await here.keep("a", "1", timedelta(seconds=30))
        assert (await there.recall("a"), await there.recall("b")) == ("1", None)
        await there.forget("a")
        assert await here.recall("a") is None
