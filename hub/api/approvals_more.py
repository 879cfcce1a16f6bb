"""`/v1/tasks/{id}/…`: pressing, handing on, taking back, and links that lead to a task."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from hub.api.answers import shown
from hub.api.approvals import Actor, TaskPath, Writer, decided, router, seen, tagged
from hub.api.approvals_json import task_shown
from hub.api.deps import Hub, actor_of, user_of
from hub.api.origins import is_web_link
from hub.api.problems import Problem
from hub.api.schemas_approvals import (
    TaskShown,
)
from hub.api.schemas_approvals_more import (
    CcBody,
    LinkNew,
    LinkShown,
    RemindNew,
    RemindShown,
    TransferBody,
    WithdrawBody,
    WithdrawnShown,
)
from hub.core.approvals import Recall, TaskDecided
from hub.core.approvals_press import Pressed
from hub.core.errors import NotFound
from hub.core.identity import ApiCaller, EndUser
from hub.core.message import SYSTEM, AppId
from hub.core.task_flow import BUSINESS
from hub.core.task_links import LINK_LIFE, TaskLink

links = APIRouter(include_in_schema=False)

_MINIPROGRAM = "miniprogram"
_LONGEST = timedelta(days=365)


@router.post("/{task_id}/remind", operation_id="remindTask", response_model=RemindShown)
async def remind_task(hub: Hub, caller: Actor, task_id: TaskPath, body: RemindNew) -> Response:
    """Press those who have not acted (催办): each time one channel higher.

    Users may press those who decide about what they applied for or are told of. The answer says for each person what
    is sent, and why not: `cooldown`, `daily_cap`, `processing` or `not_asked`.
    """
    task = await seen(hub, caller, task_id)
    requester = actor_of(caller) if isinstance(caller, ApiCaller) else caller.id
    found = await hub.approvals.remind(
        caller.app, task.id, requester=requester, to=body.to, comment=body.comment
    )
    return shown(RemindShown(data=[_pressed(one) for one in found]))


def _pressed(one: Pressed) -> RemindShown.One:
    return RemindShown.One(
        user_id=one.user_id,
        sent=one.sent,
        level=one.level,
        channels=list(one.channels),
        reason=one.reason,
        retry_at=one.retry_at,
    )


@router.post("/{task_id}/transfer", operation_id="transferTask", response_model=TaskShown)
async def transfer_task(
    request: Request, hub: Hub, caller: Actor, task_id: TaskPath, body: TransferBody
) -> Response:
    """Hand a part to somebody else: your own, where the task allows it, or (with an API key) anybody's."""
    await seen(hub, caller, task_id)
    if isinstance(caller, EndUser):
        if body.from_user not in (None, caller.id):
            raise Problem("not_yourself", "A user's token hands on its own user's part only.")
        giver, actor = caller.id, caller.id
        await user_of(hub, caller.app, body.to)
    else:
        if body.from_user is None:
            raise Problem("actor_required", "Say whose part, with `from`.")
        giver, actor = body.from_user, BUSINESS
    try:
        task = await hub.approvals.transfer(
            caller.app, task_id, giver, body.to, actor=actor, comment=body.comment
        )
    except TaskDecided as error:
        return decided(request, error)
    return tagged(task)


@router.post("/{task_id}/cc", operation_id="ccTask", response_model=TaskShown)
async def cc_task(hub: Hub, caller: Writer, task_id: TaskPath, body: CcBody) -> Response:
    """Let more people know of a task: a notification of low priority, with nothing to press."""
    return tagged(await hub.approvals.add_cc(caller.app, task_id, body.users, actor=BUSINESS))


@router.post("/{task_id}/withdraw", operation_id="withdrawTask", response_model=WithdrawnShown)
async def withdraw_task(
    request: Request, hub: Hub, caller: Actor, task_id: TaskPath, body: WithdrawBody
) -> Response:
    """Take a task back: as the one who applied, or as the business system. Says what could still be done where."""
    task = await seen(hub, caller, task_id)
    if isinstance(caller, EndUser) and task.content.instance.applicant != caller.id:
        raise Problem("not_the_applicant", "Only who applied may take it back.")
    actor = caller.id if isinstance(caller, EndUser) else BUSINESS
    try:
        after, channels = await hub.approvals.withdraw(
            caller.app, task.id, actor=actor, reason=body.reason, tell=body.tell
        )
    except TaskDecided as error:
        return decided(request, error)
    return shown(WithdrawnShown(task=task_shown(after), channels=[_channel(one) for one in channels]))


def _channel(one: Recall) -> WithdrawnShown.Channel:
    return WithdrawnShown.Channel(
        channel=one.channel,
        updated=one.updated,
        canceled=one.canceled,
        sent=one.sent,
        failed=one.failed,
    )


@router.post("/{task_id}/links", operation_id="linkTask", status_code=201, response_model=LinkShown)
async def link_task(hub: Hub, caller: Writer, task_id: TaskPath, body: LinkNew) -> Response:
    """Make a short, signed address that leads to the task's own link. It lets nobody in: the page behind it does."""
    task = await hub.approvals.task(caller.app, task_id)
    key = SYSTEM if body.user_id is None else await user_of(hub, caller.app, body.user_id)
    expires_at = hub.engine.clock() + min(body.expires_in or LINK_LIFE, _LONGEST)
    token = hub.approvals.links.token(TaskLink(task.id, key, expires_at))
    url = f"{hub.settings.public}/t/{token}"
    return shown(LinkShown(url=url, expires_at=expires_at.replace(microsecond=0)), 201)


@links.get("/t/{token}")
async def follow_link(
    hub: Hub,
    token: Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")],
    came_from: Annotated[str, Query(alias="from", max_length=32, pattern=r"^[a-z0-9_]*$")] = "",
) -> Response:
    """To where the business system says that the task is; noted, with where the person came from."""
    link = hub.approvals.links.read(token, now=hub.engine.clock())
    if link is None:
        raise Problem("link_invalid", "This link is not valid, or no longer.")
    app = await hub.approvals.store.app_of(link.task)
    if app is None:
        raise NotFound("task_not_found", "The task is gone.")
    task = await hub.approvals.task(AppId(app), link.task)
    known = [one.person.id for one in task.assignees if one.person.key == link.user]
    await hub.approvals.opened(task, known[0] if known else "", came_from)
    target = task.content.link
    if target.mp_path and (came_from == _MINIPROGRAM or not target.web):
        return JSONResponse({"mp_path": target.mp_path, "web": target.web or None})
    if not is_web_link(target.web):
        raise Problem("link_invalid", "The task has nowhere to lead to.")
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(target.web, status_code=302, headers=headers)
