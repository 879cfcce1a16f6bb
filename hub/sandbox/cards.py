"""What the sends have in common: the template, where a tap leads, the words that are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hub.sandbox.chaos import EventPlan
from hub.sandbox.errors import ApiError
from hub.sandbox.pipeline import Call
from hub.sandbox.state import Account, Message, MessageStatus, Template, Tie

_TEMPLATE_ID_MOST: Final = 128
_URL_MOST: Final = 1024


def template_of(account: Account, template_id: Any, *, kinds: Sequence[int]) -> Template:
    """40036 for no id at all, 40037 for one that this account does not have (short ids too)."""
    if not isinstance(template_id, str) or not 0 < len(template_id) <= _TEMPLATE_ID_MOST:
        raise ApiError(40036)
    template = account.templates.get(template_id)
    if template is None or template.kind not in kinds:
        raise ApiError(40037)
    return template


def data_of(call: Call) -> dict[str, Any]:
    """The data object; 47003 for anything else."""
    data = call.body.get("data")
    if not isinstance(data, dict):
        raise ApiError(47003, "argument invalid! data invalid")
    return data


def link_of(call: Call, *, url_field: str) -> dict[str, str]:
    """Where a tap leads. A mini program wins over the web page, which is the fallback of old clients."""
    url = call.body.get(url_field) or ""
    if not isinstance(url, str) or len(url) > _URL_MOST:
        raise ApiError(40039)
    program = call.body.get("miniprogram")
    if isinstance(program, dict) and program.get("appid"):
        return _program(call, program) | ({"fallback": url} if url else {})
    return {"kind": "url", "target": url} if url else {"kind": "none"}


def _program(call: Call, program: dict[str, Any]) -> dict[str, str]:
    appid, path = program["appid"], program.get("pagepath") or ""
    if appid not in call.account.linked:
        raise ApiError(40166)
    if not isinstance(path, str):
        raise ApiError(40165)
    target = call.world.state.accounts.get(appid)
    if path and target is not None and target.pages and page_of(path) not in target.pages:
        raise ApiError(40165)
    return {"kind": "miniprogram", "appid": appid, "target": path}


def page_of(path: str) -> str:
    """A page's path without its query."""
    return path.split("?", 1)[0].lstrip("/")


def refuse_words(lines: Sequence[Sequence[str]], words: Sequence[str], errcode: int) -> None:
    """The error, if one of the words is in one of the values."""
    if any(word in line[-1] for line in lines for word in words):
        raise ApiError(errcode)


async def accept(
    call: Call,
    tie: Tie,
    *,
    api: str,
    title: str,
    lines: list[list[str]],
    link: dict[str, str],
    plan: EventPlan | None = None,
    client_msg_id: str = "",
) -> Message:
    """The message is on its way to the phone. With a plan its event goes to the account's URL."""
    status = MessageStatus.DELIVERED
    if plan is not None and plan.failed:
        status = MessageStatus.FAILED
    elif tie.blocks_messages and api == "template/send":
        status = MessageStatus.BLOCKED
    message = Message(
        msgid=call.world.next_msgid(),
        api=api,
        appid=tie.appid,
        openid=tie.openid,
        person_id=tie.person_id,
        title=title,
        lines=lines,
        link=link,
        request=call.body,
        sent_at=call.world.clock.now(),
        template_id=str(call.body.get("template_id", "")),
        client_msg_id=client_msg_id,
        status=status,
    )
    await call.world.deliver(call.account, message, plan)
    return message
