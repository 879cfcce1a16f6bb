"""Export: everything of a user or an app, line by line, and never a secret."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hub import exporting
from hub.core.export import Wanted
from hub.core.message import AppId, ConversationId
from hub.settings import Settings
from tests.unit.api.harness import MINE, SECRET, World, open_world, sqlite_url

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


async def lines_of(world: World, wanted: Wanted) -> list[dict[str, Any]]:
    return [json.loads(line) async for line in world.hub.keeping.exports.lines(wanted)]


def of_type(lines: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["type"] == name]


async def _life(world: World) -> str:
    await world.users("u_1", "u_2", "u_3")
    token = await world.token("u_1")
    room = await world.group("u_1", "u_2")
    sent = await world.post(f"/v1/conversations/{room}/messages", {"body": {"text": "第一"}, "sender": "u_1"})
    for text in ("second", "第三"):
        await world.post(f"/v1/conversations/{room}/messages", {"body": {"text": text}, "sender": "u_2"})
    other = await world.group("u_2", "u_3")
    await world.post(f"/v1/conversations/{other}/messages", {"body": {"text": "不是你的"}, "sender": "u_3"})
    await world.post("/v1/notifications", {"to": [{"user_id": "u_1"}], "content": {"title": "通知一"}})
    await world.post("/v1/notifications", {"to": [{"user_id": "u_2"}], "content": {"title": "别人的"}})
    await world.call("POST", "/v1/media", token, content=PNG, headers={"Content-Type": "image/png"})
    await world.call("PUT", "/v1/me/contacts/u_2", token, json={"alias": "小二"})
    await world.post("/v1/queue/ack", {"seq": 1, "device": {"id": "phone-1", "name": "小米"}}, token)
    assert sent["id"]
    return room


async def test_a_user_gets_what_is_theirs_and_nothing_of_others(world: World) -> None:
    room = await _life(world)
    answer = await world.call("GET", "/v1/users/u_1/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert (lines[0]["type"], lines[0]["version"], lines[0]["user"]) == ("header", 1, "u_1")
    assert lines[-1] == {"type": "end", "lines": len(lines) - 1}
    texts = [one["body"].get("text") for one in of_type(lines, "message") if one["conversation"] == room]
    assert [text for text in texts if text] == ["第一", "second", "第三"]
    assert "通知一" in answer.text
    assert "不是你的" not in answer.text
    assert "别人的" not in answer.text
    assert [one["user_id"] for one in of_type(lines, "user")] == ["u_1"]
    assert [one["alias"] for one in of_type(lines, "contact")] == ["小二"]
    assert [one["name"] for one in of_type(lines, "device")] == ["小米"]
    assert [one["size"] for one in of_type(lines, "media")] == [len(PNG)]


async def test_an_app_has_all_users_and_conversations(world: World) -> None:
    await _life(world)
    lines = await lines_of(world, Wanted(MINE))
    assert [one["user_id"] for one in of_type(lines, "user")] == ["u_1", "u_2", "u_3"]
    assert len(of_type(lines, "conversation")) == 3
    assert len(of_type(lines, "member")) == 4
    assert {"第一", "不是你的"} <= {one["body"].get("text") for one in of_type(lines, "message")}


async def test_one_conversation_and_since_a_time(world: World) -> None:
    room = await _life(world)
    lines = await lines_of(world, Wanted(MINE, conversation=ConversationId(room)))
    assert len(of_type(lines, "message")) == 3
    later = await lines_of(world, Wanted(MINE, conversation=ConversationId(room), since=world.clock()))
    assert of_type(later, "message") == []
    assert later[-1]["type"] == "end"


async def test_long_histories_come_in_pages_without_a_gap(world: World) -> None:
    await world.users("u_1", "u_2")
    room = await world.group("u_1", "u_2")
    for number in range(450):
        message = {"body": {"n": number}, "sender": "u_1"}
        await world.post(f"/v1/conversations/{room}/messages", message)
    lines = await lines_of(world, Wanted(MINE, user="u_2"))
    assert [one["body"]["n"] for one in of_type(lines, "message")] == list(range(450))


async def test_a_recalled_message_is_gone_from_the_export(world: World) -> None:
    await world.users("u_1", "u_2")
    sent = await world.post("/v1/notifications", {"to": [{"user_id": "u_1"}], "content": {"title": "收回的"}})
    await world.post(f"/v1/notifications/{sent['id']}/recall", {})
    assert "收回的" not in json.dumps(await lines_of(world, Wanted(MINE, user="u_1")), ensure_ascii=False)


async def test_no_secret_is_ever_exported(world: World) -> None:
    await _life(world)
    account = {"channel": "wechat_mp", "name": "号", "appid": "wx" + "7" * 16, "secret": "5ecre7" * 5 + "ab"}
    made = await world.post("/v1/wechat/accounts", {**account, "options": {}})
    known = {"bindings": [{"user_id": "u_1", "openid": "o_secret_openid"}]}
    await world.post(f"/v1/wechat/accounts/{made['id']}/bindings/import", known)
    await world.post("/v1/webhooks", {"url": "https://example.com/hook"})
    token = await world.token("u_1")
    text = json.dumps(await lines_of(world, Wanted(MINE)), ensure_ascii=False)
    for secret in (world.key, world.admin, token, account["secret"], "o_secret_openid", "whsec_", "hub_"):
        assert secret not in text


async def test_only_a_key_that_may_read_both_gets_it(world: World) -> None:
    await world.users("u_1")
    for scopes in (["messages:read"], ["users:read"]):
        key = (await world.post("/v1/keys", {"name": "k", "scopes": scopes}))["secret"]
        answer = await world.call("GET", "/v1/users/u_1/export", key)
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert (await world.call("GET", "/v1/users/u_1/export", world.their_key)).status_code == 404


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        database_url=sqlite_url(tmp_path),
        secret_key=SECRET,
        data_dir=tmp_path,
        redis_url="redis://127.0.0.1:1/0",
    )


async def test_the_command_writes_a_file_for_its_owner_alone(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:

    async with open_world(sqlite_url(tmp_path)) as world:
        await _life(world)
        out = tmp_path / "shop.jsonl"
        count = await asyncio.to_thread(exporting.export, settings, Wanted(AppId("shop")), out)
    lines = out.read_text().splitlines()
    assert len(lines) == count
    assert json.loads(lines[-1])["type"] == "end"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.glob(".shop*")] == []
    assert "export:" in capsys.readouterr().err
