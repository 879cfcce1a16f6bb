"""Subscribe messages: /cgi-bin/message/subscribe/send (mini programs) and bizsend (official accounts)."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from hub.sandbox import cards, fields
from hub.sandbox.errors import ApiError
from hub.sandbox.pipeline import Call
from hub.sandbox.state import Template, Tie

_KINDS: Final = (2, 3)
_STATES: Final = {"developer", "trial", "formal"}
_LANGUAGES: Final = {"zh_CN", "en_US", "zh_HK", "zh_TW"}


async def send(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/message/subscribe/send: one acceptance, one message."""
    tie, template = _addressed(call)
    state = call.body.get("miniprogram_state") or "formal"
    language = call.body.get("lang") or "zh_CN"
    if state not in _STATES or language not in _LANGUAGES:
        raise ApiError(40035)
    page = call.body.get("page") or ""
    pages = call.account.pages
    if not isinstance(page, str) or (
        page and state == "formal" and pages and cards.page_of(page) not in pages
    ):
        raise ApiError(41030)
    link = {"kind": "page", "appid": call.account.appid, "target": page, "state": state}
    return await _one_at_a_time(call, tie, template, link if page else {"kind": "none"}, "subscribe/send")


async def bizsend(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/message/subscribe/bizsend: needs an acceptance, not a follower."""
    if not call.account.verified:
        raise ApiError(48001)
    tie, template = _addressed(call)
    link = cards.link_of(call, url_field="page")
    return await _one_at_a_time(call, tie, template, link, "subscribe/bizsend")


def _addressed(call: Call) -> tuple[Tie, Template]:
    tie = call.world.tie_of(call.account, call.body.get("touser"))
    template = cards.template_of(call.account, call.body.get("template_id"), kinds=_KINDS)
    if template.banned or call.account.subscribe_banned:
        raise ApiError(43107)
    if tie.blacklisted:
        raise ApiError(43019)
    return tie, template


async def _one_at_a_time(
    call: Call, tie: Tie, template: Template, link: dict[str, str], api: str
) -> dict[str, Any]:
    """43108 while another send to the same openid is inside. The grant is spent after the last await."""
    world = call.world
    if tie.openid in world.sending:
        raise ApiError(43108)
    world.sending.add(tie.openid)
    try:
        await asyncio.sleep(world.state.settings.processing_ms / 1000)
        _granted(tie, template)
        lines = fields.fill(template, cards.data_of(call))
        cards.refuse_words(lines, world.state.settings.sensitive_words, 45168)
        _spend(call, tie, template)
        plan = world.chaos.draw_event()
        message = await cards.accept(
            call, tie, api=api, title=template.title, lines=lines, link=link, plan=plan
        )
        return call.ok(msgid=message.msgid)
    finally:
        world.sending.discard(tie.openid)


def _granted(tie: Tie, template: Template) -> None:
    grant = tie.grants.get(template.template_id)
    if grant is None or not (grant.long_term or grant.remaining > 0):
        raise ApiError(43101)


def _spend(call: Call, tie: Tie, template: Template) -> None:
    grant = tie.grants[template.template_id]
    grant.spent += 1
    if not grant.long_term:
        grant.remaining -= 1
        call.world.ledger.spent(tie.openid, template.template_id)
