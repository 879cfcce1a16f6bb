#!/usr/bin/env python3
"""A small business system: a leave request becomes a task at the hub, and is approved on a phone.

It needs Python's standard library only. `python3 examples/approval/leave.py --help` shows the flags.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit


class Hub:
    """The hub's REST API, with this business system's key."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: object = None) -> Any:
        """A JSON request; an error answer is raised with the hub's own words."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}") from error


def signed(secret: str, headers: Any, body: bytes) -> bool:
    """Whether a request carries a Standard Webhooks signature of ours, made just now."""
    id_, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    fresh = at.isdigit() and abs(time.time() - int(at)) < 300
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.digest(key, f"{id_}.{at}.".encode() + body, "sha256")
    wanted, given = "v1," + base64.b64encode(mac).decode(), headers.get("webhook-signature", "").split()
    return fresh and any(hmac.compare_digest(one, wanted) for one in given)


class Leave:
    """The requests, and what is decided about them."""

    def __init__(self) -> None:
        self.secret, self.hook, self.decided = "", "", threading.Event()
        self.states, self.seen = dict[str, str](), set[str]()

    def decide(self, data: dict[str, Any]) -> dict[str, str]:
        """The hub asks whether a decision counts. The same question again gets the same answer."""
        task, intent = data["task"], data["intent"]
        if intent not in self.seen and self.states.get(task) != "pending":
            return {"result": "rejected", "reason": f"已处理 / already {self.states.get(task, 'unknown')}"}
        self.seen.add(intent)
        self.states[task] = "approved" if data["effect"] == "approve" else "rejected"
        print(f"  {data['user_id']}: {data['action']} {data['comment']!r} -> {self.states[task]}", flush=True)
        self.decided.set()
        return {"result": "applied"}


def serve(leave: Leave, address: str, port: int) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not signed(leave.secret, self.headers, body):
                return self._answer(401, {"error": "signature"})
            event = json.loads(body)
            return self._answer(200, leave.decide(event["data"]) if event["type"] == "task.action" else {})

        def _answer(self, status: int, body: object) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer((address, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def submit(hub: Hub, leave: Leave, who: argparse.Namespace) -> str:
    task = f"leave:{uuid.uuid4().hex[:12]}:manager"
    leave.states[task] = "pending"
    body = {
        "instance": {"id": task.rpartition(":")[0], "title": "请假申请", "applicant": who.applicant},
        "node": {"name": "部门经理", "sign_mode": "any"},
        "assignees": who.approver,
        "version": 1,
        "actions": ["approve", "reject", "transfer"],
        "summary": [{"label": "类型", "value": "年假"}, {"label": "天数", "value": "3"}],
        "notify": {"policy": who.policy, "data": {"days": "3"}, "template": who.template or None},
        "callback": {"endpoint_id": leave.hook},
    }
    hub.call("PUT", f"/v1/tasks/{quote(task, safe='')}", body)
    return task


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hub", default="http://127.0.0.1:8080", help="the hub's address")
    parser.add_argument("--key", help="an API key of the hub; by default what is in data/api_key")
    parser.add_argument("--listen", default="http://127.0.0.1:8090", help="where the hub reaches us")
    parser.add_argument("--applicant", default="wang")
    parser.add_argument("--approver", action="append", help="may be given more than once; default: li")
    parser.add_argument("--policy", default="approval", help="the hub's routing policy")
    parser.add_argument("--template", default="", help="a hub template for the WeChat cards")
    parser.add_argument("--openid", default="", help="bind the first approver to this openid …")
    parser.add_argument("--account", default="", help="… of this account at the hub")
    parser.add_argument("--wait", type=float, default=600, help="seconds to wait for the decision")
    found = parser.parse_args()
    found.approver = found.approver or ["li"]
    found.key = found.key or Path("data/api_key").read_text().strip()
    return found


def main() -> None:
    flags, leave = arguments(), Leave()
    hub, here = Hub(flags.hub, flags.key), urlsplit(flags.listen)
    server = serve(leave, here.hostname or "127.0.0.1", here.port or 80)
    hook = hub.call("POST", "/v1/webhooks", {"url": f"{flags.listen}/hub", "events": ["task.action"]})
    leave.secret, leave.hook = hook["secret"], hook["id"]
    try:
        if flags.openid:
            hub.call("PUT", f"/v1/users/{flags.approver[0]}", {})
            bound = {"bindings": [{"account": flags.account, "openid": flags.openid}]}
            hub.call("POST", f"/v1/users/{flags.approver[0]}/bindings/import", bound)
        task = submit(hub, leave, flags)
        print(f"submitted {task}; waiting for {', '.join(flags.approver)}", flush=True)
        leave.decided.wait(flags.wait)
        while (shown := hub.call("GET", f"/v1/tasks/{quote(task, safe='')}"))["processing"]:
            time.sleep(0.2)
        print(f"{task}: {shown['state']} by {(shown['decision'] or {}).get('user_id', 'nobody')}")
    finally:
        hub.call("DELETE", f"/v1/webhooks/{leave.hook}")
        server.shutdown()


if __name__ == "__main__":
    main()
