"""What a person sees once the hub is ready: where it is, and three commands to try."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import hub

_PROXIES = ("http_proxy", "all_proxy", "ALL_PROXY")  # curl does not look at HTTP_PROXY


@dataclass(frozen=True, slots=True)
class Ready:
    """The facts of the screen."""

    address: str
    api_key: str
    data: Path
    phone: str | None = None
    """The sandbox's page, where it runs."""


def lines(ready: Ready) -> list[str]:
    """The screen."""
    return [
        "",
        f"The hub is ready · 消息中心已就绪    {ready.address}",
        *([f"A phone with WeChat · 微信沙箱手机    {ready.phone}"] if ready.phone else []),
        f"API key · 接口密钥    {ready.api_key}",
        f"Data · 数据目录       {ready.data}",
        "",
        "Try it in another terminal · 在另一个终端里试一试:",
        "1. send alice a notification · 给 alice 发一条通知",
        f"  {send_command(ready)}",
        "2. see it waiting in her queue · 看到它在 alice 的队列里等待",
        f"  {queue_command(ready)}",
        "3. receive as alice, live (then send again) · 以 alice 的身份实时接收（可再发一条）",
        f"  {listen_command(ready)}",
        "",
        "Ctrl-C stops the hub · 按 Ctrl-C 停止",
    ]


def send_command(ready: Ready) -> str:
    body = {"to": [{"user_id": "alice"}], "content": {"title": "Hello · 你好", "text": "Your first message"}}
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return (
        f"{_curl(ready)} {ready.address}/v1/notifications"
        f" -H 'Content-Type: application/json' -d {shlex.quote(text)}"
    )


def queue_command(ready: Ready) -> str:
    return f"{_curl(ready)} '{ready.address}/v1/queue?user=alice'"


def listen_command(ready: Ready) -> str:
    root = Path(hub.__file__).resolve().parent.parent
    run = root / "run"
    command = f"{shlex.quote(str(run))} listen alice" if run.exists() else "hub listen alice"
    if run.exists() and ready.data == root / "data":
        return command
    return f"{command} --data {shlex.quote(str(ready.data))}"


def _curl(ready: Ready) -> str:
    direct = " --noproxy '*'" if any(os.environ.get(name) for name in _PROXIES) else ""
    return f"curl -sS{direct} -w '\\n' -H 'Authorization: Bearer {ready.api_key}'"
