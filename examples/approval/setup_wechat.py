"""What goes before the first card: templates for WeChat, and approvers who are known there.

On the sandbox of `./run` this program also does what people would do with their phones: scan, log in, agree.
With accounts of your own, `connect` stays and people do by themselves what `join` does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from hub_api import Hub, Refused, say

OFFICIAL, PROGRAM = "wx5a6d0c8b1e2f3a47", "wx7c1b9e4d2a8f6035"  # the sandbox's two accounts
PROGRAM_TODO = "MP-APPROVAL-TODO-0000000000000000000000000f"
PROGRAM_RESULT = "MP-APPROVAL-RESULT-00000000000000000000000g"
TEMPLATES = json.loads(Path(__file__).with_name("templates.json").read_text(encoding="utf-8"))


@dataclass
class Phones:
    """The hub templates that WeChat's cards are made of, and where the phones are looked at."""

    todo: str
    result: str
    pages: list[str]


def connect(hub: Hub, approvers: list[str], *, first: str) -> Phones | None:
    """Make everything ready for these people; None where the hub has no sandbox, and the app alone is left."""
    listed = hub.call("GET", "/v1/wechat/accounts?limit=50")["data"]
    accounts = {account["appid"]: account["id"] for account in listed}
    here = OFFICIAL in accounts and PROGRAM in accounts
    hub.call("PUT", "/v1/policies/leave", policy(first if here else None))
    for user in approvers:
        hub.call("PUT", f"/v1/users/{quote(user, safe='')}", {})
    if not here:
        say("no WeChat sandbox at this hub: the task stays in the app", "没有微信沙箱，只在应用里通知")
        return None
    for key, template in TEMPLATES.items():
        hub.call("PUT", f"/v1/templates/{key}", template)
    say("templates leave-todo and leave-result published", "已发布模板")
    pages = [join(hub, accounts, user) for user in approvers]
    return Phones("leave-todo", "leave-result", pages)


def policy(first: str | None) -> dict[str, Any]:
    """Whoever is online has a few seconds in the app; whoever is not, or does not look, gets a card at WeChat."""
    app = {"channel": "ws", "success": "read", "wait": "PT5S"}
    official = {"channel": "wechat_mp", "success": "delivered"}
    program = {"channel": "miniprogram", "success": "accepted"}
    outside = {None: [], "wechat_mp": [official, program], "miniprogram": [program, official]}[first]
    steps = [app, *({**step, "wait": "PT1M"} for step in outside[:1]), *outside[1:]]
    return {"steps": steps, "stop_on": ["read", "acted"], "quiet_hours": "ignore"}


def join(hub: Hub, accounts: dict[str, str], user: str) -> str:
    """Tie a user to a person of the sandbox, who does what a person would do. Returns the phone's address."""
    path = quote(user, safe="")
    wanted = {"account": accounts[OFFICIAL], "by": "qr"}
    invitation = hub.call("POST", f"/v1/users/{path}/bindings/invite", wanted)
    where = urlsplit(invitation["picture"])  # the picture of the QR code is WeChat's, here the sandbox's
    phone = Hub(f"{where.scheme}://{where.netloc}")
    name = person(phone, user)
    hub.call("PUT", f"/v1/users/{path}", {"name": name})
    known = hub.call("GET", f"/v1/users/{path}/bindings")["data"]
    bound = {one["account"] for one in known if one["state"] == "active"}
    app = hub.as_user(user)
    if accounts[OFFICIAL] not in bound:
        phone.call("POST", f"/sandbox/people/{path}/scan", {"url": invitation["url"]})
        say(f"{user} ({name}) scans, follows the official account and is bound", "扫码：关注公众号并绑定")
    if accounts[PROGRAM] not in bound:
        code = phone.call("POST", f"/sandbox/people/{path}/login", {"appid": PROGRAM})["code"]
        app.call("POST", "/v1/me/bindings/code", {"account": accounts[PROGRAM], "code": code})
        say(f"{user} opens the mini program: wx.login, is bound", "打开小程序：登录并绑定")
    grants = app.call("GET", f"/v1/me/grants?account={accounts[PROGRAM]}")["data"]
    left = {one["template"] for one in grants if one["remaining"] or one["unlimited"]}
    if missing := {PROGRAM_TODO, PROGRAM_RESULT} - left:
        answers = {"appid": PROGRAM, "choices": dict.fromkeys(sorted(missing), "accept")}
        phone.call("POST", f"/sandbox/people/{path}/subscribe", answers)
        say(f"{user} agrees to one message of each kind from the mini program", "同意小程序各发一条订阅消息")
    phone.call("POST", "/sandbox/callbacks/settle", {})  # the hub has heard of all of it
    return f"{phone.url}/#person={path}"


def person(phone: Hub, user: str) -> str:
    """The name of the sandbox's person of this id; somebody new where there is none."""
    try:
        return str(phone.call("GET", f"/sandbox/people/{quote(user, safe='')}/phone")["person"]["name"])
    except Refused:
        phone.call("POST", "/sandbox/people", {"person_id": user, "name": user})
        return user
