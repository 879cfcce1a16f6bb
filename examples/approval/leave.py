#!/usr/bin/env python3
"""A small business system: a leave request becomes a task at the hub, and is approved on a phone.

It needs a running hub (`./run`) and Python's standard library. `--help` shows the flags.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
import uuid
from contextlib import suppress
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from hub_api import Hub, Refused, say, signed
from setup_wechat import Phones, connect

HERE = Path(__file__).resolve().parent
PAGE = Template((HERE / "page.html").read_text(encoding="utf-8"))
EFFECTS = {"approve": "approved", "reject": "rejected"}
TITLES = {
    "pending": "待审批 / To approve",
    "approved": "已同意 / Approved",
    "rejected": "已驳回 / Rejected",
}


class Leave:
    """The requests, and what is decided about them. The business system has the last word, not the hub."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.secret, self.decided = hub, "", threading.Event()
        self.requests = dict[str, dict[str, Any]]()
        self.seen = set[str]()

    def submit(self, flags: argparse.Namespace, endpoint: str, phones: Phones | None) -> str:
        """Put a new request before its approvers; the task's id."""
        number = uuid.uuid4().hex[:12]
        task = f"leave:{number}:manager"
        lines = {"类型 Type": "年假 Annual", "天数 Days": "3", "扣薪 Deduction": "¥0.00"}
        self.requests[number] = {"task": task, "state": "pending", "lines": lines, "people": flags.approver}
        body = {
            "instance": {
                "id": f"leave:{number}",
                "title": "请假申请 Leave request",
                "applicant": flags.applicant,
            },
            "node": {"name": "部门经理", "sign_mode": "any"},
            "assignees": flags.approver,
            "version": 1,
            "actions": ["approve", "reject"],
            "summary": [{"label": label, "value": value} for label, value in lines.items()],
            "link": {"web": f"{flags.listen}/leave/{number}"},
            "notify": {
                "policy": "leave",
                "data": {"applicant": "王小明", "amount": "0.00"},
                **({"template": phones.todo, "closed_template": phones.result} if phones else {}),
            },
            "callback": {"endpoint_id": endpoint},
        }
        self.hub.call("PUT", f"/v1/tasks/{quote(task, safe='')}", body)
        return task

    def decide(self, data: dict[str, Any]) -> dict[str, str]:
        """The hub asks whether a decision counts. The same question again gets the same answer."""
        request, intent = self.requests.get(data["task"].split(":")[1], {"state": "unknown"}), data["intent"]
        if intent not in self.seen and request["state"] != "pending":
            return {"result": "rejected", "reason": f"已处理 / already {request['state']}"}
        self.seen.add(intent)
        request["state"] = EFFECTS[data["effect"]]
        say(
            f"the hub asks: {data['user_id']} chose {data['action']}; we say: applied", "hub 来询问，我们确认"
        )
        self.decided.set()
        return {"result": "applied"}

    def press(self, number: str, user: str, action: str) -> tuple[int, str]:
        """Somebody pressed a button on our page: the hub decides who was first. A status and a sentence."""
        task = quote(self.requests[number]["task"], safe="")
        body = {"action_id": action, "user_id": user, "acted_from": "wechat_mp"}
        try:
            done = self.hub.call("POST", f"/v1/tasks/{task}/actions", body)["action"]
        except Refused as refused:
            first = refused.problem.get("decision", {}).get("user_id")
            words = f"{first} 已经处理了 / {first} was first" if first else refused.problem.get("detail", "")
            return refused.status, words
        return 200, {"applied": "", "pending": "处理中 / Processing"}.get(done["state"], done["reason"])

    def page(self, number: str, problem: str = "", user: str = "") -> str:
        """The page behind the card. A real one has a login here; this one lets you choose who you are."""
        request = self.requests[number]
        shown = self.hub.call("GET", f"/v1/tasks/{quote(request['task'], safe='')}")
        state = shown["state"]
        by = f"{shown['decision']['user_id']} · " if shown["decision"] else ""
        rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in request["lines"].items())
        people = "".join(
            f"<option{' selected' if one == user else ''}>{escape(one)}</option>" for one in request["people"]
        )
        return PAGE.substitute(
            state=state,
            title=escape(by + TITLES.get(state, state)),
            rows=rows,
            people=people,
            problem=escape(problem),
        )


def serve(leave: Leave, address: str, port: int) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # browsers open connections that they never use

        def do_GET(self) -> None:
            _, folder, number = (self.path.split("?")[0] + "//").split("/")[:3]
            if folder != "leave" or number not in leave.requests:
                return self._answer(404, "text/plain", "?")
            return self._answer(200, "text/html", leave.page(number))

        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 1 << 20))
            number = self.path.rpartition("/")[2]
            if number in leave.requests:
                form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
                status, words = leave.press(number, form.get("user", ""), form.get("action", ""))
                return self._answer(status, "text/html", leave.page(number, words, form.get("user", "")))
            if not signed(leave.secret, self.headers, body):
                return self._answer(401, "text/plain", "signature")
            event = json.loads(body)
            answer = leave.decide(event["data"]) if event["type"] == "task.action" else {}
            return self._answer(200, "application/json", json.dumps(answer))

        def _answer(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = False  # whoever has pressed a button gets the page before we end
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "data", help="the hub's data folder")
    parser.add_argument("--hub", help="the hub's address; by default what is in <data>/address")
    parser.add_argument("--key", help="an API key of the hub; by default what is in <data>/api_key")
    parser.add_argument("--listen", default="http://127.0.0.1:0", help="where the hub and phones reach us")
    parser.add_argument("--applicant", default="wang")
    parser.add_argument(
        "--approver", action="append", help="may be given more than once; default: alice, bob"
    )
    parser.add_argument("--channel", choices=("wechat_mp", "miniprogram"), default="wechat_mp", help="first")
    parser.add_argument("--wait", type=float, default=600, help="seconds to wait for the decision")
    found = parser.parse_args()
    found.approver = found.approver or ["alice", "bob"]
    return found


def main() -> None:
    flags = arguments()
    hub = Hub.found(flags.data, flags.hub, flags.key)
    leave, here = Leave(hub), urlsplit(flags.listen)
    server = serve(leave, here.hostname or "127.0.0.1", here.port or 0)
    flags.listen = f"{here.scheme}://{here.hostname}:{server.server_port}"
    hook = hub.call("POST", "/v1/webhooks", {"url": f"{flags.listen}/hub", "events": ["task.action"]})
    leave.secret = hook["secret"]
    try:
        phones = connect(hub, flags.approver, first=flags.channel)
        task = leave.submit(flags, hook["id"], phones)
        say(f"submitted {task}", "已提交，等待审批")
        say(f"in the app: {hub.url}/ (connect {flags.approver[0]} with the key)", "在应用里看（用密钥连接）")
        for phone in phones.pages if phones else ():
            say(f"on the phone: {phone}", "在微信手机上看")
        say(f"behind the card: {flags.listen}/leave/{task.split(':')[1]}", "卡片背后的页面")
        path = f"/v1/tasks/{quote(task, safe='')}"
        with suppress(KeyboardInterrupt):
            leave.decided.wait(flags.wait)
        if not leave.decided.is_set():
            hub.call("POST", f"{path}/withdraw", {"reason": "nobody decided in time"})
        while (shown := hub.call("GET", path))["processing"]:
            time.sleep(0.1)
        say(f"{task}: {shown['state']} by {(shown['decision'] or {}).get('user_id', 'nobody')}")
    finally:
        server.shutdown()
        server.server_close()
        hub.call("DELETE", f"/v1/webhooks/{hook['id']}")


if __name__ == "__main__":
    try:
        main()
    except Refused as refused:
        raise SystemExit(f"the hub said no · hub 拒绝了请求: {refused}") from None
