"""`/v1/tasks`: what people are asked to decide, and deciding it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response

from hub.api.answers import listed, page_of, shown
from hub.api.approvals_json import action_shown, task_shown, wish_of
from hub.api.deps import Caller, Hub, Services, by_either, by_key, by_user, user_of
from hub.api.problems import Problem, answer, document
from hub.api.route import HubRoute
from hub.api.schemas import After, HubId, Limit, Listing, UserId
from hub.api.schemas_approvals import (
    ActBody,
    ActedShown,
    InstancePut,
    InstanceShown,
    ResultBody,
    TaskPut,
    TaskRef,
    TaskShown,
)
from hub.api.schemas_approvals_more import (
    CheckBody,
    CheckShown,
    TaskEventShown,
)
from hub.core.approvals import ActedOn, TaskDecided, may_see, not_found
from hub.core.errors import HubError
from hub.core.identity import ApiCaller, EndUser
from hub.core.scopes import Scope, UserScope
from hub.core.task import IntentState, Person, Task, TaskState
from hub.core.task_store import Recorded, TaskFilter

router = APIRouter(prefix="/v1/tasks", tags=["approvals"], route_class=HubRoute)
instances = APIRouter(prefix="/v1/instances", tags=["approvals"], route_class=HubRoute)
mine = APIRouter(prefix="/v1/me/tasks", tags=["approvals"], route_class=HubRoute)

Writer = Annotated[ApiCaller, by_key(Scope.TASKS_WRITE)]
Reader = Annotated[ApiCaller, by_key(Scope.TASKS_READ)]
Looker = Annotated[Caller, by_either(Scope.TASKS_READ, UserScope.READ)]
Actor = Annotated[Caller, by_either(Scope.TASKS_WRITE, UserScope.WRITE)]
Myself = Annotated[EndUser, by_user(UserScope.READ)]
TaskPath = Annotated[TaskRef, Path()]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=64,
        pattern=r'^("\d{1,15}"|\*)$',
        description="The ETag that the task must still have.",
        examples=['"6"'],
    ),
]


def tagged(task: Task, status: int = 200) -> Response:
    """A task with its ETag."""
    return shown(task_shown(task), status, {"ETag": f'"{task.rev}"'})


async def seen(hub: Services, caller: Caller, ref: str) -> Task:
    """A task that the caller may see. Raises NotFound."""
    task = await hub.approvals.task(caller.app, ref)
    if isinstance(caller, EndUser) and not may_see(task, Person(caller.key, caller.id)):
        raise not_found(ref)
    return task


def decided(request: Request, error: TaskDecided) -> Response:
    """409, with who was first."""
    found = error.decided
    extra = {
        "decision": {
            "state": found.state.value,
            "user_id": found.by,
            "action_id": found.action,
            "at": None if found.at is None else found.at.isoformat().replace("+00:00", "Z"),
        }
    }
    return answer(request, error.code, error.detail, error=error, more=extra)


@router.put(
    "/{task_id}",
    operation_id="putTask",
    response_model=TaskShown,
    responses={201: {"model": TaskShown}},
)
async def put_task(
    hub: Hub, caller: Writer, task_id: TaskPath, body: TaskPut, if_match: IfMatch = None
) -> Response:
    """Make a task or bring it up to date, under your own id. Late and repeated versions change nothing.

    Those who are asked get a notification; a change reaches the card of everybody who has one, on every device.
    """
    rev = None if if_match is None or if_match == "*" else int(if_match.strip('"'))
    task, new = await hub.approvals.put(caller.app, wish_of(task_id, body), if_match=rev)
    return tagged(task, 201 if new else 200)


@router.get("/{task_id}", operation_id="getTask", response_model=TaskShown)
async def get_task(hub: Hub, caller: Looker, task_id: TaskPath) -> Response:
    """Get a task. Users see those that they are asked about, told of, or applied for."""
    return tagged(await seen(hub, caller, task_id))


@router.get("", operation_id="listTasks", response_model=Listing[TaskShown])
async def list_tasks(
    request: Request,
    hub: Hub,
    caller: Reader,
    assignee: Annotated[UserId | None, Query(description="Who is or was asked.")] = None,
    state: Annotated[TaskState | None, Query(description="In which state they are now.")] = None,
    instance: Annotated[UserId | None, Query(description="Of which flow.")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """List tasks, newest first."""
    key = None if assignee is None else await user_of(hub, caller.app, assignee)
    only = TaskFilter(assignee=key, state=state, instance=instance)
    found = await hub.approvals.store.tasks(caller.app, only, page_of(limit, after))
    return listed(request, found, task_shown)


@mine.get("", operation_id="listMyTasks", response_model=Listing[TaskShown])
async def list_my_tasks(
    request: Request,
    hub: Hub,
    caller: Myself,
    state: Annotated[TaskState | None, Query(description="How your own part stands.")] = None,
    cc: Annotated[bool, Query(description="Those that you only hear of.")] = False,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """List the tasks that you are (or were) asked about, newest first."""
    only = TaskFilter(cc=caller.key, state=state) if cc else TaskFilter(assignee=caller.key, part=state)
    found = await hub.approvals.store.tasks(caller.app, only, page_of(limit, after))
    return listed(request, found, task_shown)


@router.post(
    "/{task_id}/actions",
    operation_id="actOnTask",
    response_model=ActedShown,
    responses={202: {"model": ActedShown, "description": "The business system has not answered yet."}},
)
async def act_on_task(
    request: Request, hub: Hub, caller: Actor, task_id: TaskPath, body: ActBody
) -> Response:
    """Decide, with your own token; a business system may do so on behalf of one who is asked.

    The business system is asked, within ten seconds: `applied`, or `rejected_by_business` with its reason. If it does
    not answer, the action is `pending`, and it is asked again. Who comes second gets 409 with the winner.
    """
    if isinstance(caller, ApiCaller):
        await seen(hub, caller, task_id)
    person = await _acting(hub, caller, body.user_id)
    try:
        done = await hub.approvals.act(
            caller.app,
            task_id,
            person,
            body.action_id,
            comment=body.comment,
            client_action_id=body.client_action_id,
            acted_from=body.acted_from,
        )
    except TaskDecided as error:
        return decided(request, error)
    return shown(_acted(done), 200 if done.intent.state.settled else 202)


async def _acting(hub: Services, caller: Caller, user_id: str | None) -> Person:
    match caller:
        case EndUser():
            if user_id not in (None, caller.id):
                raise Problem("not_yourself", "A user's token acts for its own user only.")
            return Person(caller.key, caller.id)
        case ApiCaller():
            if user_id is None:
                raise Problem("actor_required", "Say on whose behalf, with `user_id`.")
            return Person(await user_of(hub, caller.app, user_id), user_id)


def _acted(done: ActedOn) -> ActedShown:
    return ActedShown(action=action_shown(done.intent), task=task_shown(done.task), repeated=done.repeated)


@router.post("/{task_id}/actions/{action}/result", operation_id="settleTaskAction", response_model=ActedShown)
async def settle_task_action(
    hub: Hub, caller: Writer, task_id: TaskPath, action: HubId, body: ResultBody
) -> Response:
    """Say what you make of a decision that was `pending`. Twice the same is harmless."""
    verdict = IntentState.APPLIED if body.result == "applied" else IntentState.REJECTED_BY_BUSINESS
    done = await hub.approvals.result(caller.app, task_id, action, verdict, reason=body.reason)
    return shown(_acted(done))


@router.get("/{task_id}/timeline", operation_id="getTaskTimeline", response_model=Listing[TaskEventShown])
async def get_task_timeline(
    request: Request, hub: Hub, caller: Looker, task_id: TaskPath, limit: Limit = 50, after: After = None
) -> Response:
    """Read what happened to a task, oldest first."""
    task = await seen(hub, caller, task_id)
    found = await hub.approvals.store.timeline(task.id, page_of(limit, after))
    return listed(request, found, _line)


def _line(line: Recorded) -> TaskEventShown:
    event = line.event
    return TaskEventShown(
        id=line.id, at=event.at, event=event.name, actor=event.actor, detail=dict(event.detail)
    )


@router.post("/check", operation_id="checkTasks", response_model=CheckShown)
async def check_tasks(hub: Hub, caller: Reader, body: CheckBody) -> Response:
    """Compare: which of your tasks the hub does not have, or has in another version. Put those again."""
    found = await hub.approvals.check(caller.app, [(one.id, one.version) for one in body.tasks])
    return shown(CheckShown(missing=list(found.missing), stale=list(found.stale), ahead=list(found.ahead)))


@instances.put("/{instance_id}", operation_id="putInstance", response_model=InstanceShown)
async def put_instance(
    request: Request, hub: Hub, caller: Writer, instance_id: TaskPath, body: InstancePut
) -> Response:
    """Put all tasks of an instance. Those that the hub has open and that are not named are canceled."""
    for index, one in enumerate(body.tasks):
        if one.instance.id != instance_id:
            detail = f"`/tasks/{index}` is of another instance."
            raise Problem("request_invalid", detail)
    wishes = [wish_of(one.id, one) for one in body.tasks]
    answers, canceled = await hub.approvals.put_instance(caller.app, instance_id, wishes)
    return shown(
        InstanceShown(
            tasks=[_one(request, ref, found) for ref, found in answers],
            canceled=[task.business_id for task in canceled],
        )
    )


def _one(request: Request, ref: str, found: Task | HubError) -> InstanceShown.One:
    if isinstance(found, HubError):
        problem = document(request, found.code, found.detail, error=found)
        return InstanceShown.One(id=ref, task=None, problem=problem)
    return InstanceShown.One(id=ref, task=task_shown(found), problem=None)
