"""Template messages of official accounts: /cgi-bin/message/template/send."""

from __future__ import annotations

from typing import Any

from hub.sandbox import cards, fields
from hub.sandbox.errors import ApiError
from hub.sandbox.pipeline import Call
from hub.sandbox.state import Message, Tie


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
    plan = world.chaos.draw_event()
    message = await cards.accept(
        call,
        tie,
        api="template/send",
        title=template.title,
        lines=lines,
        link=link,
        plan=plan,
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


def _earlier(call: Call, tie: Tie, client_msg_id: str) -> Message | None:
    """The message that was accepted under this id inside the window."""
    since = call.world.clock.now() - call.world.state.settings.client_msg_id_window
    for message in reversed(call.world.state.messages):
        if (
            message.openid == tie.openid
            and message.client_msg_id == client_msg_id
            and message.sent_at > since
        ):
            return message
    return None


def _duplicate(call: Call, earlier: Message) -> dict[str, Any]:
    """Nothing is sent. What WeChat answers is not documented, so both ways can be had."""
    call.world.ledger.suppressed += 1
    settings = call.world.state.settings
    if settings.duplicate_answer == "error":
        raise ApiError(settings.duplicate_errcode)
    return call.ok(msgid=earlier.msgid)
