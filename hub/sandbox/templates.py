"""Template administration: industries and template messages under /cgi-bin/template."""

from __future__ import annotations

from typing import Any, Final

from hub.sandbox import library
from hub.sandbox.errors import ApiError
from hub.sandbox.fields import slots
from hub.sandbox.library import Keyword
from hub.sandbox.pipeline import Call
from hub.sandbox.state import Account, MessageStatus, Template
from hub.sandbox.world import World

MOST: Final = 25
_ID_LENGTH: Final = 43
_INDUSTRY_MOST: Final = 41
_BLOCKED_MOST: Final = 100
_MONTHLY: Final = 1


def new_template_id(world: World) -> str:
    """43 letters, as the long ids are."""
    return world.chance.letters(_ID_LENGTH)


def built(template_id: str, title: str, keywords: list[Keyword], *, kind: int, tid: str) -> Template:
    """A template from the library: label and slot for each keyword."""
    content = "\n".join(f"{keyword.name}:{{{{{keyword.rule}{keyword.kid}.DATA}}}}" for keyword in keywords)
    example = "\n".join(f"{keyword.name}:{keyword.example}" for keyword in keywords)
    return Template(template_id, title, content, example=example, kind=kind, tid=tid)


async def set_industry(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/template/api_set_industry: codes 1 to 41, once a month; the old library's go."""
    codes = [str(call.body.get(name, "")) for name in ("industry_id1", "industry_id2")]
    if not all(code.isdigit() and 1 <= int(code) <= _INDUSTRY_MOST for code in codes):
        raise ApiError(40035)
    world, account = call.world, call.account
    if world.count(account.appid, "set_industry", world.clock.month()) > _MONTHLY:
        raise ApiError(45009)
    account.industries = codes
    for template in [template for template in account.templates.values() if template.industry]:
        del account.templates[template.template_id]
    world.changed("templates")
    return call.ok()


async def get_industry(call: Call) -> dict[str, Any]:
    """GET /cgi-bin/template/get_industry: without an errcode."""
    first, second = (library.industry(code) for code in call.account.industries or ["41", "41"])
    return {
        "primary_industry": {"first_class": first[0], "second_class": first[1]},
        "secondary_industry": {"first_class": second[0], "second_class": second[1]},
    }


async def add(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/template/api_add_template: only the category library (numbers) is left."""
    short, names = call.body.get("template_id_short"), call.body.get("keyword_name_list")
    if not isinstance(short, str) or not short:
        raise ApiError(40037)
    if not short.isdigit():
        raise ApiError(40247)
    if short not in library.PUBLIC:
        raise ApiError(40037)
    public = library.PUBLIC[short]
    by_name = {keyword.name: keyword for keyword in public.keywords}
    if not isinstance(names, list) or not names or any(name not in by_name for name in names):
        raise ApiError(40246)
    account = call.account
    if len(_private(account)) >= MOST:
        raise ApiError(45026)
    template_id = new_template_id(call.world)
    chosen = [by_name[name] for name in names]
    account.templates[template_id] = built(template_id, public.title, chosen, kind=0, tid=short)
    call.world.changed("templates")
    return call.ok(template_id=template_id)


async def get_all_private(call: Call) -> dict[str, Any]:
    """GET /cgi-bin/template/get_all_private_template: without an errcode."""
    first = library.industry(call.account.industries[0]) if call.account.industries else ("", "")
    return {
        "template_list": [
            {
                "template_id": template.template_id,
                "title": template.title,
                "primary_industry": first[0] if template.industry else "",
                "deputy_industry": first[1] if template.industry else "",
                "content": template.content,
                "example": template.example,
            }
            for template in _private(call.account)
        ]
    }


async def delete(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/template/del_private_template."""
    template = call.account.templates.get(str(call.body.get("template_id")))
    if template is None or template.kind:
        raise ApiError(40037)
    del call.account.templates[template.template_id]
    call.world.changed("templates")
    return call.ok()


async def blocked(call: Call) -> dict[str, Any]:
    """POST /wxa/sec/queryblocktmplmsg: the messages of a template that did not reach anybody."""
    template_id, limit = call.body.get("tmpl_msg_id"), call.body.get("limit")
    largest = call.body.get("largest_id", 0)
    if not isinstance(limit, int) or not 0 < limit <= _BLOCKED_MOST or not isinstance(largest, int):
        raise ApiError(40035)
    found = [
        {
            "id": message.msgid,
            "tmpl_msg_id": message.template_id,
            "title": message.title,
            "content": "\n".join(":".join(line) for line in message.lines),
            "send_timestamp": int(message.sent_at),
            "openid": message.openid,
        }
        for message in call.world.state.messages
        if message.appid == call.account.appid
        and message.template_id == template_id
        and message.status is not MessageStatus.DELIVERED
        and message.msgid > largest
    ]
    return call.ok(msginfo=found[:limit])


def _private(account: Account) -> list[Template]:
    return [template for template in account.templates.values() if template.kind == 0]


def labels(template: Template) -> list[dict[str, str]]:
    """Label and key of each field, for pages that fill a template in."""
    return [{"label": label, "key": key} for label, key in slots(template.content)]
