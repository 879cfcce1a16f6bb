"""Control API: people and what they do with their phones."""

from __future__ import annotations

from typing import Any, Final

from hub.sandbox import actions, views
from hub.sandbox.control import Asked, Row, patch, read
from hub.sandbox.errors import ControlError
from hub.sandbox.state import Person, Tie

_CONFLICT: Final = 409
_TIE_FIELDS: Final = ("blacklisted", "blocks_messages")


def _tie(asked: Asked) -> Tie:
    return asked.world.tie(asked.text("appid"), asked.path["person_id"])


async def create(asked: Asked) -> Any:
    """{"name": ..., "person_id": ...}; the id is made up if left out."""
    person = read({"person_id": "p" + asked.world.chance.hexadecimal(8)} | asked.body, Person)
    if person.person_id in asked.world.state.people:
        raise ControlError(f"there is a person {person.person_id} already", status=_CONFLICT)
    asked.world.state.people[person.person_id] = person
    asked.world.changed("people")
    return await show(Asked(asked.world, {"person_id": person.person_id}, {}, {}))


async def change(asked: Asked) -> Any:
    """{"name": ...} or {"high_risk": true}."""
    person = asked.world.person(asked.path["person_id"])
    if "person_id" in asked.body:
        raise ControlError("person_id cannot be changed", status=422)
    asked.world.state.people[person.person_id] = patch(person, asked.body)
    asked.world.changed("people", person.person_id)
    return await show(asked)


async def show(asked: Asked) -> Any:
    """Everything the phone shows."""
    return views.phone(asked.world, asked.path["person_id"])


async def tie(asked: Asked) -> Any:
    """openid, unionid, grants and the rest of one account."""
    found = asked.world.tie(asked.path["appid"], asked.path["person_id"])
    return views.tie_view(asked.world, found)


async def change_tie(asked: Asked) -> Any:
    """{"blacklisted": true}, {"blocks_messages": true}."""
    found = asked.world.tie(asked.path["appid"], asked.path["person_id"])
    for name, value in asked.body.items():
        if name not in _TIE_FIELDS or not isinstance(value, bool):
            raise ControlError(f"{name} must be one of {', '.join(_TIE_FIELDS)}, true or false", status=422)
        setattr(found, name, value)
    asked.world.changed("tie", found.person_id)
    return views.tie_view(asked.world, found)


async def follow(asked: Asked) -> Any:
    """{"appid": ...}."""
    found = _tie(asked)
    await actions.follow(asked.world, found)
    return views.tie_view(asked.world, found)


async def unfollow(asked: Asked) -> Any:
    """{"appid": ...}."""
    found = _tie(asked)
    await actions.unfollow(asked.world, found)
    return views.tie_view(asked.world, found)


async def scan(asked: Asked) -> Any:
    """{"ticket": ...} or {"url": ...}: what qrcode/create answered."""
    code = asked.text("ticket", "") or asked.text("url", "")
    found = await actions.scan(asked.world, asked.path["person_id"], code)
    return views.tie_view(asked.world, found)


async def subscribe(asked: Asked) -> Any:
    """{"appid", "choices": {template: "accept" or "reject"}, "always": false, "scene": 0}."""
    choices = asked.body.get("choices")
    scene = asked.body.get("scene", 0)
    if not isinstance(choices, dict) or scene not in {0, 1, 2}:
        raise ControlError("choices must be an object, scene 0, 1 or 2", status=422)
    found = _tie(asked)
    always = bool(asked.body.get("always", False))
    results = await actions.request_subscribe(asked.world, found, choices, always=always, scene=scene)
    return {"result": results, "tie": views.tie_view(asked.world, found)}


async def switch(asked: Asked) -> Any:
    """{"appid", "template_id", "choice": "accept" or "reject"}: the account's settings page."""
    found = _tie(asked)
    await actions.switch(asked.world, found, asked.text("template_id"), asked.text("choice"))
    return views.tie_view(asked.world, found)


async def write(asked: Asked) -> Any:
    """{"appid", "text"}: the person writes to the account."""
    found = _tie(asked)
    await actions.write(asked.world, found, asked.text("text"))
    return views.tie_view(asked.world, found)


async def log_in(asked: Asked) -> Any:
    """{"appid"}: wx.login."""
    return {"code": actions.log_in(asked.world, _tie(asked))}


async def tap(asked: Asked) -> Any:
    """The person taps a card; where it leads."""
    return actions.tap(asked.world, asked.world.message(asked.path["msgid"]))


ROWS: Final[tuple[Row, ...]] = (
    ("POST", "/sandbox/people", create),
    ("PATCH", "/sandbox/people/{person_id}", change),
    ("GET", "/sandbox/people/{person_id}/phone", show),
    ("GET", "/sandbox/people/{person_id}/ties/{appid}", tie),
    ("PATCH", "/sandbox/people/{person_id}/ties/{appid}", change_tie),
    ("POST", "/sandbox/people/{person_id}/follow", follow),
    ("POST", "/sandbox/people/{person_id}/unfollow", unfollow),
    ("POST", "/sandbox/people/{person_id}/scan", scan),
    ("POST", "/sandbox/people/{person_id}/subscribe", subscribe),
    ("POST", "/sandbox/people/{person_id}/settings", switch),
    ("POST", "/sandbox/people/{person_id}/write", write),
    ("POST", "/sandbox/people/{person_id}/login", log_in),
    ("POST", "/sandbox/messages/{msgid}/tap", tap),
)
