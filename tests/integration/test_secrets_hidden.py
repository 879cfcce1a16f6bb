"""What must stay secret is nowhere to be read: a whole hub goes through success and trouble with values that the test
knows, and then everything that it wrote is looked through."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from pydantic import SecretStr

from hub.bootstrap import Hub, open_worker_hub
from hub.channels.ws.protocol import server_options
from hub.core.delivery import DeliveryId
from hub.main import create_app
from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID
from hub.settings import Settings
from hub.store.firstrun import ensure_default_key
from hub.store.migrate import upgrade
from tests.sandbox.rig import SECRETS, Lab, open_lab
from tests.services import RedisServer
from tests.services.redis import free_port
from tests.support.hook_receiver import HookReceiver, Reply, open_hook_receiver
from tests.support.searching import record_shown, redis_shown, rows_of, search
from tests.support.wechat_town import DATA, PROGRAM_TODO, TEMPLATE, template_body

TOKEN, AES_KEY = "callbackToken1Secret", "k" * 20 + "Q" * 22 + "A"
WRONG = "badbadbadbadbadbadbadbadbadbad00"
SECRET_KEY = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyYnk="
SEND = "/cgi-bin/message/template/send"


class NoQueue:
    """Deliveries wait until the test runs them."""

    async def schedule(
        self, channel: str, deliveries: Any, *, delay: timedelta, priority: str = "normal"
    ) -> None:
        """Forget."""


@dataclass
class Watched:
    """A web node, a worker, and everything that was said to those who call."""

    http: httpx2.AsyncClient
    worker: Hub
    lab: Lab
    hooks: HookReceiver
    database: Path
    key: str
    answers: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    """By what they are; found out on the way."""
    people: dict[str, str] = field(default_factory=dict)
    """Openids and the like: stored to be used, and told to nobody but who asks for bindings."""

    async def call(self, method: str, path: str, *, told: bool = True, **rest: Any) -> httpx2.Response:
        """A request; `told` False where the answer is to show a secret or an openid."""
        answer = await self.http.request(method, path, **rest)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        if told:
            self.answers.append(f"{path} {answer.headers} {answer.text}")
        return answer

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """The sandbox's control API, off the loop: the sandbox calls the hub meanwhile."""
        return await asyncio.to_thread(self.lab.control, method, path, body)

    async def work(self) -> None:
        """What the worker would do for a while."""
        await self.worker.sweep(limit=100)
        await self.worker.send_webhooks()
        assert self.worker.hook_runner is not None
        await self.worker.hook_runner.idle()

    async def notify(self, channel: str) -> str:
        """A notification over one channel, tried once."""
        body = {
            "to": [{"user_id": "u1"}],
            "template": {"key": TEMPLATE},
            "data": DATA,
            "route": {"steps": [{"channel": channel, "success": "delivered"}]},
        }
        made = await self.call("POST", "/v1/notifications", json=body)
        assert made.status_code == 202, made.text
        notification = str(made.json()["id"])
        planned = await self.call("GET", f"/v1/deliveries?notification={notification}")
        (delivery,) = planned.json()["data"]
        await self.worker.engine.dispatcher.run([DeliveryId(delivery["id"])])
        return notification

    async def tried(self, notification: str) -> list[dict[str, Any]]:
        """The tries of its one delivery, as its story tells them."""
        found = await self.call("GET", f"/v1/notifications/{notification}/explain?user=u1")
        assert found.status_code == 200, found.text
        return [one for step in found.json()["steps"] for one in step["tries"]]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab() as opened:
        yield opened


@pytest.fixture
async def watched(lab: Lab, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Watched]:
    lab.reset()
    redis_server.flush()
    settings = Settings(
        data_dir=tmp_path,
        redis_url=redis_server.url,
        port=free_port(),
        secret_key=SecretStr(SECRET_KEY),
        wechat_api=lab.base,
        wechat_open=lab.base,
        wechat_read_timeout=timedelta(milliseconds=300),
        webhook_allow=("127.0.0.1/32",),
        rate_failures=0,
    )
    await asyncio.to_thread(upgrade, settings)
    key = await asyncio.to_thread(ensure_default_key, settings)
    assert key is not None
    with open_hook_receiver() as hooks:
        async with _served(settings), open_worker_hub(settings, executor=NoQueue()) as worker:
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx2.AsyncClient(base_url=settings.public, headers=headers, timeout=20) as http:
                yield Watched(http, worker, lab, hooks, tmp_path, key)


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


async def test_no_secret_leaves_the_hub_whatever_happens(
    watched: Watched, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    for client in ("httpx2", "httpcore2"):  # the test's own, which say what they send
        caplog.set_level(logging.WARNING, client)
    caplog.set_level(logging.DEBUG)  # the last word on what is kept
    await watched.call("PUT", "/v1/users/u1", json={"name": "陈思雨"})
    official = await _accounts_with_wrong_secrets(watched)
    await _binding(watched, official)
    await _sending(watched)
    await _callbacks(watched, official)
    await _webhooks(watched)
    for path in (
        "/metrics",
        "/v1/audit",
        "/v1/users/u1/story",
        "/v1/wechat/accounts",
        "/v1/webhooks",
        "/openapi.json",
    ):
        await watched.call("GET", path)
    _take_tokens(watched)
    assert len(watched.secrets) >= 10
    assert len(watched.people) == 3
    search("answers", watched.answers, {**watched.secrets, **watched.people})
    search("log", [record_shown(one) for one in caplog.records], watched.secrets)
    said = {one.getMessage() for one in caplog.records}
    assert said >= {"wechat_callback_refused", "wechat_login_failed", "wechat_keys_changed"}, sorted(said)
    loud = [record_shown(one) for one in caplog.records if one.levelno >= logging.INFO]
    search("log", loud, watched.people)
    search("database", rows_of(watched.database), watched.secrets)
    kept = {"wechat_binding", "wechat_grant", "wechat_grant_hold"}
    search("database", rows_of(watched.database, but_for=kept), watched.people)
    files = [
        file.read_bytes() for file in watched.database.rglob("*") if file.is_file() and "db" in file.name
    ]
    assert files
    for name, secret in watched.secrets.items():
        assert not [file for file in files if secret.encode() in file], f"the database file holds {name}"
    search("Redis", await redis_shown(redis_server), watched.secrets)


async def _accounts_with_wrong_secrets(watched: Watched) -> str:
    """Two accounts, whose secrets are wrong at first. The official account's id."""
    made: dict[str, str] = {}
    for channel, appid in (("wechat_mp", OFFICIAL_APPID), ("miniprogram", PROGRAM_APPID)):
        callback = {"token": TOKEN, "aes_key": AES_KEY}
        options = {"grants_from": "client"} if channel == "miniprogram" else {}
        body = {
            "channel": channel,
            "name": "号",
            "appid": appid,
            "secret": WRONG,
            "callback": callback,
            "options": options,
        }
        account = await watched.call("POST", "/v1/wechat/accounts", json=body)
        assert account.status_code == 201, account.text
        made[channel] = account.json()["id"]
    refused = {"channel": "wechat_mp", "name": "号", "secret": f" {WRONG}", "appid": "x"}
    assert (await watched.call("POST", "/v1/wechat/accounts", json=refused)).status_code == 422
    for account_id in made.values():
        path = f"/v1/wechat/accounts/{account_id}"
        ill = await watched.call("GET", f"{path}/health?probe=true")
        assert (ill.json()["ok"], ill.json()["code"]) == (False, "40125"), ill.text
        assert (await watched.call("POST", f"{path}/templates/sync")).status_code >= 400
    for channel, appid in (("wechat_mp", OFFICIAL_APPID), ("miniprogram", PROGRAM_APPID)):
        path = f"/v1/wechat/accounts/{made[channel]}"
        mended = await watched.call("PATCH", path, json={"secret": SECRETS[appid]})
        assert mended.status_code == 200, mended.text
        well = await watched.call("GET", f"{path}/health?probe=true")
        assert well.json()["ok"] is True, well.text
        assert (await watched.call("POST", f"{path}/templates/sync")).status_code == 200
        watched.secrets[f"secret of {channel}"] = SECRETS[appid]
    watched.secrets |= {
        "a wrong secret": WRONG,
        "callback token": TOKEN,
        "AES key": AES_KEY,
        "HUB_SECRET_KEY": SECRET_KEY,
        "API key": watched.key,
    }
    assert (await watched.call("PUT", f"/v1/templates/{TEMPLATE}", json=template_body())).status_code == 201
    return made["wechat_mp"]


async def _binding(watched: Watched, official: str) -> None:
    """By page, by QR code and by login code: each rightly and wrongly."""
    await watched.control("POST", "/people/alice/follow", {"appid": OFFICIAL_APPID})
    path, body = "/v1/users/u1/bindings/invite", {"account": official, "by": "page"}
    first, second = [
        (await watched.call("POST", path, told=False, json=body)).json()["url"].partition("#")[0]
        for _ in range(2)
    ]
    watched.secrets["OAuth state"], watched.secrets["another"] = [
        url.partition("state=")[2].partition("&")[0] for url in (first, second)
    ]
    made_up = f"/callbacks/wechat/{official}/oauth?code=made-up&state={watched.secrets['another']}"
    assert (await watched.call("GET", made_up, told=False)).status_code < 500
    async with httpx2.AsyncClient() as phone:
        back = (await phone.get(f"{first}&sandbox_person=alice")).headers["location"]
        for address in (back, back, back.replace("state=", "state=x")):
            page = await phone.get(address)
            assert page.status_code in (200, 400, 410), page.text
            watched.answers.append(f"{page.headers} {page.text}")
    accounts = (await watched.call("GET", "/v1/wechat/accounts")).json()["data"]
    program = next(one["id"] for one in accounts if one["channel"] == "miniprogram")
    token = (await watched.call("POST", "/v1/tokens", told=False, json={"user": "u1"})).json()["token"]
    watched.secrets["user's token"] = token
    mine = {"Authorization": f"Bearer {token}"}
    codes = [
        "made-up",
        (await watched.control("POST", "/people/alice/login", {"appid": PROGRAM_APPID}))["code"],
    ]
    for code in (*codes, codes[-1]):
        body = {"account": program, "code": code}
        bound = await watched.call("POST", "/v1/me/bindings/code", told=False, json=body, headers=mine)
        if bound.status_code != 200:
            watched.answers.append(bound.text)
    choices = {PROGRAM_TODO: "accept"}
    await watched.control("POST", "/people/alice/subscribe", {"appid": PROGRAM_APPID, "choices": choices})
    consents = {"account": program, "answers": choices, "once": "a"}
    told = await watched.call("POST", "/v1/me/consents", json=consents, headers=mine)
    assert told.status_code == 200, told.text
    listed = (await watched.call("GET", "/v1/users/u1/bindings", told=False)).json()["data"]
    assert len(listed) == 2
    for appid in (OFFICIAL_APPID, PROGRAM_APPID):
        watched.people[f"openid at {appid}"] = await asyncio.to_thread(watched.lab.openid, "alice", appid)
    watched.people["union id"] = next(one["unionid"] for one in listed if one["unionid"])
    keys = [tie.session_key for tie in watched.lab.world.state.ties.values() if tie.session_key]
    assert keys
    watched.secrets |= {f"session_key {number}": key for number, key in enumerate(keys)}


async def _sending(watched: Watched) -> None:
    """Once as it should be, and once through each trouble; circuits are closed in between."""
    for channel in ("wechat_mp", "miniprogram"):
        tries = await watched.tried(await watched.notify(channel))
        assert [one["outcome"] for one in tries] == ["accepted"], str(tries)
    accounts = (await watched.call("GET", "/v1/wechat/accounts")).json()["data"]
    troubles: list[dict[str, Any]] = [
        {"effect": "html", "path": SEND},
        {"effect": "empty", "path": SEND},
        {"effect": "status", "status": 502, "path": SEND},
        {"effect": "reset", "path": SEND, "after": True},
        {"effect": "delay", "ms": 600, "path": SEND},
        {"effect": "errcode", "errcode": 40001, "path": SEND},
        {"effect": "errcode", "errcode": 43004, "path": SEND},
        {"effect": "errcode", "errcode": 99999, "path": SEND},
        {"effect": "kill_tokens", "path": SEND},
        {"effect": "errcode", "errcode": 40164, "path": "*"},
    ]
    seen: set[str] = set()
    for trouble in troubles:
        await asyncio.to_thread(watched.lab.chaos, trouble)
        notification = await watched.notify("wechat_mp")
        tries = await watched.tried(notification)
        seen |= {f"{one['outcome']} {one['code']}" for one in tries}
        await watched.call("GET", f"/v1/notifications/{notification}/timeline")
        await watched.call("GET", f"/v1/wechat/accounts/{accounts[0]['id']}/quotas")
        await watched.control("DELETE", "/chaos")
        assert (
            await watched.call("GET", f"/v1/wechat/accounts/{accounts[0]['id']}/health?probe=true")
        ).json()["ok"]
    assert len(seen) >= 4, seen


async def _callbacks(watched: Watched, official: str) -> None:
    """The right one, and those that are refused."""
    path = f"/callbacks/wechat/{official}"
    url = str(watched.http.base_url).rstrip("/") + path
    body = {"url": url, "token": TOKEN, "mode": "aes", "encoding_aes_key": AES_KEY}
    await watched.control("PUT", f"/accounts/{OFFICIAL_APPID}/callback", body)
    await watched.control("POST", "/people/alice/write", {"appid": OFFICIAL_APPID, "text": "你好"})
    await asyncio.to_thread(watched.lab.settle)
    query = "?signature=x&timestamp=1&nonce=n&msg_signature=x&echostr=e"
    for content in (b"<xml/>", b"\xff", b"<xml><Encrypt>AAAA</Encrypt></xml>", b"x" * 70_000, TOKEN.encode()):
        refused = await watched.call("POST", path + query, content=content)
        assert refused.status_code in (400, 403, 413), refused.text
    assert (await watched.call("GET", path + query)).status_code == 403


async def _webhooks(watched: Watched) -> None:
    """An endpoint that answers, refuses, breaks off and is replaced."""
    made = await watched.call(
        "POST", "/v1/webhooks", told=False, json={"url": watched.hooks.url + "/hook", "events": ["*"]}
    )
    assert made.status_code == 201, made.text
    path = f"/v1/webhooks/{made.json()['id']}"
    watched.secrets["webhook secret"] = made.json()["secret"]
    rotated = await watched.call("POST", f"{path}/secret/rotate", told=False, json={"overlap": "PT1H"})
    watched.secrets["second webhook secret"] = rotated.json()["secret"]
    watched.hooks.replies = [Reply(), Reply(500), Reply(drop=True), Reply(body=b"\x00" * 70_000), Reply(302)]
    for _ in range(5):
        await watched.call("POST", f"{path}/test")
    watched.hooks.usual = Reply(503)
    await watched.notify("wechat_mp")
    await watched.work()
    for rest in ("", "/deliveries"):
        await watched.call("GET", path + rest)
    told = " ".join(f"{one.headers} {one.body.decode('utf-8', 'replace')}" for one in watched.hooks.heard)
    assert told
    search("what webhooks hear", [told], {**watched.secrets, **watched.people})


def _take_tokens(watched: Watched) -> None:
    """The access tokens that the sandbox has given out."""
    tokens = list(watched.lab.world.state.tokens)
    assert tokens
    watched.secrets |= {f"access token {number}": token for number, token in enumerate(tokens)}
