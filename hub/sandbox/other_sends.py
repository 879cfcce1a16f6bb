"""The old one-time subscription, customer-service messages, and the retired sends."""

from __future__ import annotations

import json
from typing import Any, Final

from hub.sandbox import cards
from hub.sandbox.errors import ApiError
from hub.sandbox.pipeline import Call
from hub.sandbox.state import AccountKind, Tie, Window
from hub.sandbox.world import World, text_of

_TITLE_MOST: Final = 15
_CONTENT_MOST: Final = 200
_SCENE_MOST: Final = 10_000
_TEXT_MOST: Final = 2048
_TWO_DAYS_S: Final = 48 * 3600
_MINUTE_S: Final = 60
_OFFICIAL_KINDS: Final = {
    "text", "image", "voice", "video", "music", "news", "mpnewsarticle", "msgmenu", "wxcard", "miniprogrampage",
}  # fmt: skip
_PROGRAM_KINDS: Final = {"text", "image", "link", "miniprogrampage"}
WINDOWS: Final = {
    (AccountKind.OFFICIAL, "message"): (_TWO_DAYS_S, 5),
    (AccountKind.OFFICIAL, "follow"): (_MINUTE_S, 3),
    (AccountKind.OFFICIAL, "scan"): (_MINUTE_S, 3),
    (AccountKind.MINIPROGRAM, "message"): (_TWO_DAYS_S, 5),
    (AccountKind.MINIPROGRAM, "enter"): (_MINUTE_S, 2),
}
"""How long, and how many messages, after what a person did (rules of June 2023)."""


async def one_time(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/message/template/subscribe: one message for one confirmed scene."""
    tie = call.world.tie_of(call.account, call.body.get("touser"))
    template_id = call.body.get("template_id")
    if not isinstance(template_id, str) or not template_id:
        raise ApiError(40037)
    scene = _scene(call.body.get("scene"))
    link = cards.link_of(call, url_field="url")
    title = text_of(call.body.get("title"), most=_TITLE_MOST, error=ApiError(40062))
    content = cards.data_of(call).get("content")
    wrong = ApiError(47003, "argument invalid! data.content.value invalid")
    given = content if isinstance(content, dict) else {}
    value = text_of(given.get("value"), most=_CONTENT_MOST, error=wrong)
    if tie.scenes.get(scene) != template_id:
        raise ApiError(43101)
    del tie.scenes[scene]
    line = ["", value, str(given.get("color", ""))]
    await cards.accept(call, tie, api="template/subscribe", title=title, lines=[line], link=link)
    return call.ok()


def _scene(value: Any) -> str:
    text = str(value)
    if not text.isdigit() or int(text) > _SCENE_MOST:
        raise ApiError(40035)
    return str(int(text))


async def custom(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/message/custom/send: only so long and so often after the person did something."""
    tie = call.world.tie_of(call.account, call.body.get("touser"))
    kind = call.body.get("msgtype")
    allowed = _OFFICIAL_KINDS if call.account.kind is AccountKind.OFFICIAL else _PROGRAM_KINDS
    if kind not in allowed:
        raise ApiError(40008)
    inner = call.body.get(kind)
    if not isinstance(inner, dict):
        raise ApiError(70000)
    _from_window(call.world, tie)
    if kind == "text":
        lines = [["", text_of(inner.get("content"), most=_TEXT_MOST, error=ApiError(70000))]]
    else:
        lines = [[kind, json.dumps(inner, ensure_ascii=False)]]
    await cards.accept(call, tie, api="custom/send", title="", lines=lines, link={"kind": "none"})
    return call.ok()


def _from_window(world: World, tie: Tie) -> None:
    now = world.clock.now()
    open_ones = [window for window in tie.windows if window.until > now]
    if not open_ones:
        raise ApiError(45015)
    usable = [window for window in open_ones if window.left > 0]
    if not usable:
        raise ApiError(45047)
    min(usable, key=lambda window: window.until).left -= 1


def open_window(world: World, tie: Tie, reason: str) -> None:
    """The person did something: the account may write again."""
    kind = world.state.accounts[tie.appid].kind
    if (kind, reason) in WINDOWS:
        lasts, left = WINDOWS[kind, reason]
        kept = [window for window in tie.windows if window.reason != reason]
        tie.windows = [*kept, Window(reason, world.clock.now() + lasts, left)]


async def withdrawn(_: Call) -> dict[str, Any]:
    """uniform_send, withdrawn on 2023-09-20."""
    raise ApiError(45109)


async def retired(_: Call) -> dict[str, Any]:
    """Old mini-program template messages, dead since 2020-01."""
    raise ApiError(46101)
