"""A sandbox on a real port, spoken to over HTTP, and a small receiver for its callbacks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import httpx2

from hub.sandbox.crypto import signature
from hub.sandbox.demo import OFFICIAL_APPID, OFFICIAL_KEY, PROGRAM_APPID, PROGRAM_KEY, demo_state
from hub.sandbox.server import SandboxServer
from hub.sandbox.world import World

SECRETS = {OFFICIAL_APPID: OFFICIAL_KEY, PROGRAM_APPID: PROGRAM_KEY}
TODO = "OA-APPROVAL-TODO-0000000000000000000000000a"
INDUSTRY = "OA-INDUSTRY-NOTICE-00000000000000000000000c"
MEETING = "OA-SUBSCRIBE-MEETING-000000000000000000000d"
MP_TODO = "MP-APPROVAL-TODO-0000000000000000000000000f"
MP_RESULT = "MP-APPROVAL-RESULT-00000000000000000000000g"
MP_LEVEL = "MP-LEVEL-NOTICE-000000000000000000000000000h"
MP_PROGRESS = "MP-SERVICE-PROGRESS-0000000000000000000000i"
TODO_DATA = {
    "thing1": {"value": "差旅报销"},
    "thing2": {"value": "王小明"},
    "time3": {"value": "2026-03-01 09:12"},
    "amount4": {"value": "¥1200.00"},
    "const5": {"value": "待审批"},
}
MP_TODO_DATA = {
    "thing1": {"value": "差旅报销"},
    "name2": {"value": "王小明"},
    "time3": {"value": "2026-03-01 09:12"},
    "amount4": {"value": "¥1200.00"},
}
MEETING_DATA = {
    "thing1": {"value": "周会"},
    "time2": {"value": "15:00~16:00"},
    "thing3": {"value": "三楼"},
}


@dataclass
class Lab:
    """A client of one sandbox."""

    base: str
    http: httpx2.Client
    tokens: dict[str, str] = field(default_factory=dict)
    world: World = field(default_factory=lambda: World(demo_state()))
    """What runs in the server's thread: to look at, for what no answer tells."""

    def control(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """The control API."""
        response = self.http.request(method, f"/sandbox{path}", json=body)
        assert response.status_code == status, response.text
        return response.json()

    def token(self, appid: str) -> str:
        """A stable token, fetched once."""
        if appid not in self.tokens:
            body = {"grant_type": "client_credential", "appid": appid, "secret": SECRETS[appid]}
            self.tokens[appid] = self.http.post("/cgi-bin/stable_token", json=body).json()["access_token"]
        return self.tokens[appid]

    def post(self, appid: str, path: str, body: Any) -> dict[str, Any]:
        """A POST with the account's token."""
        answer = self.http.post(path, params={"access_token": self.token(appid)}, json=body)
        assert answer.status_code == 200
        return cast("dict[str, Any]", answer.json())

    def get(self, appid: str, path: str, **query: str) -> dict[str, Any]:
        """A GET with the account's token."""
        answer = self.http.get(path, params={"access_token": self.token(appid), **query})
        return cast("dict[str, Any]", answer.json())

    def official(self, path: str, body: Any) -> dict[str, Any]:
        """A POST by the official account."""
        return self.post(OFFICIAL_APPID, path, body)

    def program(self, path: str, body: Any) -> dict[str, Any]:
        """A POST by the mini program."""
        return self.post(PROGRAM_APPID, path, body)

    def tie(self, person: str, appid: str) -> dict[str, Any]:
        """What a person is to an account."""
        return cast("dict[str, Any]", self.control("GET", f"/people/{person}/ties/{appid}"))

    def openid(self, person: str, appid: str = OFFICIAL_APPID) -> str:
        """A person's openid."""
        return cast("str", self.tie(person, appid)["openid"])

    def follow(self, person: str = "alice") -> str:
        """The person follows the official account; the openid."""
        body = {"appid": OFFICIAL_APPID}
        return cast("str", self.control("POST", f"/people/{person}/follow", body)["openid"])

    def accept(
        self, template: str, *, person: str = "alice", appid: str = PROGRAM_APPID, times: int = 1
    ) -> str:
        """The person accepts a subscription so many times; the openid."""
        for _ in range(times):
            body = {"appid": appid, "choices": {template: "accept"}}
            self.control("POST", f"/people/{person}/subscribe", body)
        return self.openid(person, appid)

    def send(self, openid: str, **more: Any) -> dict[str, Any]:
        """A template message of the demo account."""
        body = {"touser": openid, "template_id": TODO, "data": TODO_DATA} | more
        return self.official("/cgi-bin/message/template/send", body)

    def subscribe_send(self, openid: str, **more: Any) -> dict[str, Any]:
        """A subscribe message of the demo mini program."""
        body = {"touser": openid, "template_id": MP_TODO, "data": MP_TODO_DATA} | more
        return self.program("/cgi-bin/message/subscribe/send", body)

    def ledger(self) -> dict[str, Any]:
        """What really happened."""
        return cast("dict[str, Any]", self.control("GET", "/ledger"))

    def advance(self, seconds: float) -> None:
        """Moves the sandbox's time."""
        self.control("POST", "/clock", {"advance_seconds": seconds})

    def settings(self, **changed: Any) -> None:
        """Changes settings."""
        self.control("PATCH", "/settings", changed)

    def chaos(self, *rules: dict[str, Any], seed: int = 1, **events: float) -> None:
        """Puts troubles in force."""
        self.control("POST", "/chaos", {"seed": seed, "rules": list(rules), "events": events})

    def settle(self) -> None:
        """Waits for the callbacks."""
        self.control("POST", "/callbacks/settle")

    def hear(self, receiver: Receiver, appid: str = OFFICIAL_APPID, **more: Any) -> None:
        """The account's events go to the receiver."""
        body = {"url": receiver.url, "token": receiver.token} | more
        self.control("PUT", f"/accounts/{appid}/callback", body)

    def reset(self) -> None:
        """The demo world, as new."""
        self.tokens.clear()
        self.control("POST", "/reset", {"seed": 1})


@contextmanager
def open_lab() -> Iterator[Lab]:
    """A sandbox in a thread, on any free port."""
    world = World(demo_state())
    server = SandboxServer(world)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the sandbox did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    with httpx2.Client(base_url=base, timeout=10) as http:
        yield Lab(base, http, world=world)
    server.should_exit = True
    thread.join(5)
    assert not thread.is_alive()


@dataclass(frozen=True)
class Received:
    """One call to the receiver."""

    method: str
    query: dict[str, str]
    body: str


@dataclass
class Receiver:
    """What an account's callback URL would be: keeps what comes and answers as told."""

    token: str = "AAAAA"
    url: str = ""
    calls: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """Answers to the next POSTs; then 200."""
    delays: list[float] = field(default_factory=list)
    echo: str | None = None
    """Instead of echostr."""

    def posts(self) -> list[Received]:
        """Without the URL checks."""
        return [call for call in self.calls if call.method == "POST"]

    def bodies(self, containing: str) -> list[str]:
        """The bodies in which the text occurs."""
        return [call.body for call in self.posts() if containing in call.body]


@contextmanager
def open_receiver() -> Iterator[Receiver]:
    """A receiver on any free port."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = dict(parse_qsl(urlsplit(self.path).query))
            receiver.calls.append(Received("GET", query, ""))
            wanted = signature(receiver.token, query["timestamp"], query["nonce"])
            assert query["signature"] == wanted
            self._say(200, query["echostr"] if receiver.echo is None else receiver.echo)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            query = dict(parse_qsl(urlsplit(self.path).query))
            receiver.calls.append(Received("POST", query, body))
            if receiver.delays:
                time.sleep(receiver.delays.pop(0))
            self._say(receiver.statuses.pop(0) if receiver.statuses else 200, "success")

        def _say(self, status: int, text: str) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/callback"
    yield receiver
    server.shutdown()
    server.server_close()
