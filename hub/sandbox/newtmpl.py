"""Subscription templates: /wxaapi/newtmpl, the same for mini programs and official accounts."""

from __future__ import annotations

from typing import Any, Final

from hub.sandbox import library
from hub.sandbox.errors import ApiError
from hub.sandbox.pipeline import Call
from hub.sandbox.state import Template
from hub.sandbox.templates import MOST, built, new_template_id

_TITLES_MOST: Final = 30
_KEYWORDS: Final = range(2, 6)
_SCENE_MOST: Final = 15


async def categories(call: Call) -> dict[str, Any]:
    """GET getcategory."""
    return call.ok(data=[{"id": number, "name": name} for number, name in library.CATEGORIES.items()])


async def titles(call: Call) -> dict[str, Any]:
    """GET getpubtemplatetitles?ids=&start=&limit=."""
    ids, start, limit = (call.query.get(name, "") for name in ("ids", "start", "limit"))
    wanted = ids.split(",")
    if not ids or not all(part.isdigit() for part in wanted):
        raise ApiError(200018)
    if not start.isdigit():
        raise ApiError(200016)
    if not limit.isdigit() or not 0 < int(limit) <= _TITLES_MOST:
        raise ApiError(200017)
    found = [
        {
            "tid": int(public.tid),
            "title": public.title,
            "type": public.kind,
            "categoryId": str(public.category),
        }
        for public in library.PUBLIC.values()
        if str(public.category) in wanted
    ]
    return call.ok(count=len(found), data=found[int(start) : int(start) + int(limit)])


async def keywords(call: Call) -> dict[str, Any]:
    """GET getpubtemplatekeywords?tid=."""
    public = library.PUBLIC.get(call.query.get("tid", ""))
    if public is None:
        raise ApiError(200014)
    found = [
        {"kid": keyword.kid, "name": keyword.name, "example": keyword.example, "rule": keyword.rule}
        for keyword in public.keywords
    ]
    return call.ok(count=len(found), data=found)


async def add(call: Call) -> dict[str, Any]:
    """POST addtemplate: two to five keywords of a public title."""
    public = library.PUBLIC.get(str(call.body.get("tid")))
    if public is None:
        raise ApiError(200014)
    kids, scene = call.body.get("kidList"), call.body.get("sceneDesc", "")
    by_kid = {keyword.kid: keyword for keyword in public.keywords}
    if not isinstance(kids, list) or len(kids) not in _KEYWORDS or any(kid not in by_kid for kid in kids):
        raise ApiError(200020)
    if not isinstance(scene, str) or len(scene) > _SCENE_MOST:
        raise ApiError(200021)
    chosen = [by_kid[kid] for kid in kids]
    template = built(new_template_id(call.world), public.title, chosen, kind=public.kind, tid=public.tid)
    own = _own(call)
    if any(other.tid == template.tid and other.content == template.content for other in own):
        raise ApiError(200022)
    if len(own) >= MOST:
        raise ApiError(200012)
    call.account.templates[template.template_id] = template
    call.world.changed("templates")
    return call.ok(priTmplId=template.template_id)


async def get(call: Call) -> dict[str, Any]:
    """GET gettemplate: the account's own, with the values that enum fields may have."""
    return call.ok(
        data=[
            {
                "priTmplId": template.template_id,
                "title": template.title,
                "content": template.content,
                "example": template.example,
                "type": template.kind,
            }
            | _enums(template)
            for template in _own(call)
        ]
    )


async def delete(call: Call) -> dict[str, Any]:
    """POST deltemplate."""
    template = call.account.templates.get(str(call.body.get("priTmplId")))
    if template is None or not template.kind:
        raise ApiError(200014)
    del call.account.templates[template.template_id]
    call.world.changed("templates")
    return call.ok()


def _own(call: Call) -> list[Template]:
    return [template for template in call.account.templates.values() if template.kind]


def _enums(template: Template) -> dict[str, Any]:
    if not template.enums:
        return {}
    values = [
        {"keywordCode": f"{key}.DATA", "enumValueList": values} for key, values in template.enums.items()
    ]
    return {"keywordEnumValueList": values}
