"""The whole web node as it is shipped, and the sandbox: an account is set up by the API, and people are bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from pydantic import SecretStr

from hub.channels.ws.protocol import server_options
from hub.main import create_app
from hub.sandbox.demo import OFFICIAL_APPID
from hub.settings import Settings
from hub.store.firstrun import ensure_default_key
from hub.store.migrate import upgrade
from tests.sandbox.rig import SECRETS, Lab, open_lab
from tests.services import RedisServer
from tests.services.redis import free_port

TOKEN, AES_KEY = "callbackToken1", "k" * 42 + "A"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab() as opened:
        yield opened


@dataclass
class Node:
    """A web node, spoken to with its first key."""

    http: httpx2.AsyncClient
    lab: Lab
    account: dict[str, Any]

    async def bindings(self, user: str) -> list[dict[str, Any]]:
        """What the API shows of a user's bindings."""
        answer = await self.http.get(f"/v1/users/{user}/bindings")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    async def invite(self, by: str) -> dict[str, Any]:
        """An invitation for u1."""
        body = {"account": self.account["id"], "by": by}
        answer = await self.http.post("/v1/users/u1/bindings/invite", json=body)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made


@pytest.fixture
async def node(lab: Lab, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Node]:
    lab.reset()
    redis_server.flush()
    settings = Settings(
        data_dir=tmp_path,
        redis_url=redis_server.url,
        port=free_port(),
        secret_key=SecretStr("c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyYnk="),
        wechat_api=lab.base,
        wechat_open=lab.base,
    )
    await asyncio.to_thread(upgrade, settings)
    key = await asyncio.to_thread(ensure_default_key, settings)
    async with _served(settings):
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(base_url=settings.public, headers=headers, timeout=20) as http:
            assert (await http.put("/v1/users/u1", json={"name": "陈思雨"})).status_code in {200, 201}
            account = await http.post(
                "/v1/wechat/accounts",
                json={
                    "channel": "wechat_mp",
                    "name": "星河办公",
                    "appid": OFFICIAL_APPID,
                    "secret": SECRETS[OFFICIAL_APPID],
                    "callback": {"token": TOKEN, "aes_key": AES_KEY},
                    "options": {"family": "op_demo"},
                },
            )
            assert account.status_code == 201, account.text
            yield Node(http, lab, account.json())


@asynccontextmanager
async def _served(settings: Settings) -> AsyncIterator[None]:
    options = server_options(settings)
    config = uvicorn.Config(create_app(settings), port=settings.port, log_config=None, **options)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done(), "the hub did not start"
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await running


async def hear(node: Node) -> None:
    """The operator enters the URL in WeChat's console, and WeChat checks it."""
    url = str(node.http.base_url).rstrip("/") + node.account["callback_path"]
    body = {"url": url, "token": TOKEN, "mode": "aes", "encoding_aes_key": AES_KEY}
    await asyncio.to_thread(node.lab.control, "PUT", f"/accounts/{OFFICIAL_APPID}/callback", body)


async def test_the_address_that_the_api_shows_is_the_one_that_wechat_can_call(node: Node) -> None:
    await hear(node)
    described = (await node.http.get("/openapi.json")).json()
    assert not [path for path in described["paths"] if path.startswith("/callbacks")]


async def test_a_person_is_bound_by_a_qr_code(node: Node) -> None:
    await hear(node)
    made = await node.invite("qr")
    tie = await asyncio.to_thread(node.lab.control, "POST", "/people/alice/scan", {"url": made["url"]})
    await asyncio.to_thread(node.lab.settle)
    [found] = await node.bindings("u1")
    assert (found["openid"], found["state"], found["source"]) == (tie["openid"], "active", "qr")
    counted = (await node.http.get("/metrics")).text
    assert 'hub_wechat_callbacks_total{event="Followed",result="done"} 1.0' in counted
    assert 'hub_wechat_callbacks_total{event="url_check",result="done"} 1.0' in counted


async def test_a_person_is_bound_by_a_page(node: Node) -> None:
    made = await node.invite("page")
    async with httpx2.AsyncClient() as phone:
        url = made["url"].partition("#")[0]
        answer = await phone.get(f"{url}&sandbox_person=alice", follow_redirects=True)
    assert answer.status_code == 200
    assert "绑定成功" in answer.text
    [found] = await node.bindings("u1")
    assert found["source"] == "oauth"


async def test_while_the_hub_is_closed_wechat_is_asked_to_come_again(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    transport = httpx2.ASGITransport(app)  # without its lifespan
    async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as http:
        assert (await http.post("/callbacks/wechat/acc_1", content=b"<xml/>")).status_code == 503
        assert (await http.get("/callbacks/wechat/acc_1")).status_code == 503
        assert (await http.get("/callbacks/wechat/acc_1/oauth")).status_code == 503
