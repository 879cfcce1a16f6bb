"""Template messages of official accounts: /cgi-bin/message/template/send."""

from __future__ import annotations

from typing import Any

from hub.sandbox import cards, fields
from hub.sandbox.errors import ApiError
from hub.sandbox.pipeline import Call
from hub.sandbox.state import Recent, Tie


async def send(call: Call) -> dict[str, Any]:
    """To a follower who has not refused the template; once per (openid, client_msg_id) in ten minutes."""
    world, account = call.world, call.account
    if not account.verified:
        raise ApiError(48001)
    tie = world.tie_of(account, call.body.get("touser"))
    template = cards.template_of(account, call.body.get("template_id"), kinds=(0,))
    if template.restricted:
        raise ApiError(43116)
    _reachable(tie, template.template_id)
    link = cards.link_of(call, url_field="url")
    lines = fields.fill(template, cards.data_of(call))
    cards.refuse_words(lines, world.state.settings.marketing_words, 40249)
    client_msg_id = _client_msg_id(call)
    if client_msg_id and (earlier := _earlier(call, tie, client_msg_id)):
        return _duplicate(call, earlier)
    message = await cards.accept(
        call,
        tie,
        api="template/send",
        title=template.title,
        lines=lines,
        link=link,
        plan=world.chaos.draw_event(),
        client_msg_id=client_msg_id,
    )
    return call.ok(msgid=message.msgid)


def _reachable(tie: Tie, template_id: str) -> None:
    if tie.blacklisted:
        raise ApiError(43019)
    if not tie.following:
        raise ApiError(43004)
    if template_id in tie.refused:
        raise ApiError(43101)


def _client_msg_id(call: Call) -> str:
    given = call.body.get("client_msg_id", "")
    if not isinstance(given, str):
        raise ApiError(40035)
    return given


def _earlier(call: Call, tie: Tie, client_msg_id: str) -> Recent | None:
    """What was accepted under this id inside the window. Older ids are forgotten."""
    recent = call.world.state.recent
    since = call.world.clock.now() - call.world.state.settings.client_msg_id_window
    while recent and next(iter(recent.values())).at <= since:
        del recent[next(iter(recent))]
    found = recent.get(f"{tie.openid} {client_msg_id}")
    return found if found is not None and found.at > since else None


def _duplicate(call: Call, earlier: Recent) -> dict[str, Any]:
    """Nothing is sent. What WeChat answers is not documented, so both ways can be had."""
    call.world.ledger.suppressed += 1
    settings = call.world.state.settings
    if settings.duplicate_answer == "error":
        raise ApiError(settings.duplicate_errcode)
    return call.ok(msgid=earlier.msgid)
