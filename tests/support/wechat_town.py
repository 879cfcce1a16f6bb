"""A town of people with WeChat: a sandbox beside a cluster, bound users, a hub template for both channels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2

from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID
from tests.support.cluster import Cluster

TEMPLATE = "approval-todo"
OFFICIAL_TODO = "OA-APPROVAL-TODO-0000000000000000000000000a"
PROGRAM_TODO = "MP-APPROVAL-TODO-0000000000000000000000000f"
DATA = {
    "title": "差旅报销",
    "applicant": "王小明",
    "submitted_at": "2026-03-01T09:12:00+08:00",
    "amount": "1200.00",
}
_VARIABLES = {"title": "text", "applicant": "text", "submitted_at": "datetime", "amount": "amount"}
_CHUNK = 500


def _fields(**texts: str) -> dict[str, dict[str, str]]:
    return {name: {"value": value, "overflow": "ellipsis"} for name, value in texts.items()}


def template_body() -> dict[str, Any]:
    """The hub template that says one thing in the app, in the official account and in the mini program."""
    common = {"time3": "{{ submitted_at | datetime }}", "amount4": "{{ amount | plain_amount }}"}
    return {
        "texts": {
            "zh-CN": {"title": "待审批:{{ title }}", "text": "{{ applicant }}"},
            "en": {"title": "To approve: {{ title }}", "text": "{{ applicant }}"},
        },
        "default_locale": "zh-CN",
        "variables": _VARIABLES,
        "mappings": [
            {
                "channel": "wechat_mp",
                "template": OFFICIAL_TODO,
                "fields": _fields(thing1="{{ title }}", thing2="{{ applicant }}", const5="待审批", **common),
                "url": "https://oa.example.com/tasks",
            },
            {
                "channel": "miniprogram",
                "template": PROGRAM_TODO,
                "fields": _fields(thing1="{{ title }}", name2="{{ applicant }}", **common),
                "page": "pages/task/detail",
            },
        ],
    }


@dataclass
class Town:
    """A cluster with node `a`, its sandbox, and what both call the same people."""

    hub: Cluster
    sandbox: httpx2.Client
    accounts: dict[str, str] = field(default_factory=dict)
    """Channel -> the hub's id of its account."""

    @classmethod
    def beside(cls, hub: Cluster) -> Town:
        """Start the sandbox, and publish the template."""
        base = hub.start_sandbox()
        town = cls(hub, httpx2.Client(base_url=base, timeout=30))
        listed = hub.request("GET", f"{hub.url('a')}/v1/wechat/accounts")["data"]
        town.accounts = {account["channel"]: account["id"] for account in listed}
        hub.request("PUT", f"{hub.url('a')}/v1/templates/{TEMPLATE}", template_body())
        return town

    def control(self, method: str, path: str, body: object = None) -> Any:
        """The sandbox's control API."""
        answer = self.sandbox.request(method, f"/sandbox{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def settle(self, people: Sequence[str], *, follow: bool = True) -> None:
        """People move in: they follow the official account, and the hub knows whose openids are whose."""
        with ThreadPoolExecutor(8) as pool:
            ties = list(pool.map(lambda person: self._move_in(person, follow), people))
        for place, channel in enumerate(("wechat_mp", "miniprogram")):
            rows = [
                {"user_id": person, "openid": tie[place]} for person, tie in zip(people, ties, strict=True)
            ]
            url = f"{self.hub.url('a')}/v1/wechat/accounts/{self.accounts[channel]}/bindings/import"
            for start in range(0, len(rows), _CHUNK):
                self.hub.request("POST", url, {"bindings": rows[start : start + _CHUNK]})

    def _move_in(self, person: str, follow: bool) -> tuple[str, str]:
        self.control("POST", "/people", {"person_id": person, "name": person})
        if follow:
            self.control("POST", f"/people/{person}/follow", {"appid": OFFICIAL_APPID})
        official = self.control("GET", f"/people/{person}/ties/{OFFICIAL_APPID}")["openid"]
        program = self.control("GET", f"/people/{person}/ties/{PROGRAM_APPID}")["openid"]
        return official, program

    def grant(self, person: str) -> None:
        """The person accepts the mini program's subscription once."""
        body = {"appid": PROGRAM_APPID, "choices": {PROGRAM_TODO: "accept"}}
        self.control("POST", f"/people/{person}/subscribe", body)

    def callbacks_done(self) -> None:
        """Every event has been taken by the hub, or been given up."""
        self.control("POST", "/callbacks/settle")

    def notify(self, people: Sequence[str], channel: str, **more: Any) -> str:
        """Tell people something on one channel. The notification's id."""
        body = {
            "to": [{"user_id": person} for person in people],
            "type": "approval.task.assigned",
            "template": {"key": TEMPLATE},
            "data": DATA,
            "route": {"steps": [{"channel": channel, "success": "delivered"}]},
            **more,
        }
        return str(self.hub.request("POST", f"{self.hub.url('a')}/v1/notifications", body)["id"])
