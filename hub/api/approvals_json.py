"""Tasks between their JSON and the core's values."""

from __future__ import annotations

from hub.api.answers import loads, raw_json
from hub.api.problems import Fault, Problem
from hub.api.schemas_approvals import (
    AssigneeBody,
    AssigneeShown,
    InstanceBody,
    LinkBody,
    NodeBody,
    NotifyBody,
    SummaryLine,
    TaskActionBody,
    TaskActionShown,
    TaskPut,
    TaskShown,
)
from hub.core.approvals_people import Asked, TaskWish
from hub.core.task import (
    Action,
    Content,
    Effect,
    EscalationStep,
    Instance,
    Intent,
    Line,
    Link,
    Notify,
    RemindRule,
    Task,
)

_PLAIN = {
    "approve": Action("approve", Effect.APPROVE, style="primary"),
    "reject": Action("reject", Effect.REJECT, style="danger"),
}
TRANSFER = "transfer"
HUB_PREFIX = "tsk_"


def wish_of(business_id: str, body: TaskPut) -> TaskWish:
    """The task that a request asks for. Raises Problem for ids that are the hub's own, and for buttons named twice."""
    if business_id.startswith(HUB_PREFIX):
        detail = f"Ids that begin with {HUB_PREFIX!r} are the hub's own; put a task under yours."
        raise Problem("request_invalid", detail, errors=[Fault("path:task_id", "reserved", detail)])
    node = body.node or NodeBody()
    return TaskWish(
        business_id=business_id,
        version=body.version,
        content=_content(body, node),
        sign_mode=node.sign_mode,
        state=body.state,
        assignees=tuple(
            Asked(one.user_id, one.state) if isinstance(one, AssigneeBody) else Asked(one)
            for one in body.assignees
        ),
        cc=tuple(dict.fromkeys(body.cc)),
        due_at=body.due_at,
        due_in=body.due_in,
        decided_by=body.decided_by,
    )


def _content(body: TaskPut, node: NodeBody) -> Content:
    link = body.link or LinkBody()
    return Content(
        instance=Instance(
            body.instance.id,
            body.instance.title,
            body.instance.applicant,
            body.instance.status,
            body.instance.version,
        ),
        node_id=node.id,
        node=node.name,
        summary=tuple(Line(line.label, line.value, line.type) for line in body.summary),
        link=Link(link.web or "", link.mp_path or ""),
        actions=_actions(body),
        transferable=TRANSFER in body.actions,
        notify=_notify(body.notify),
        callback=body.callback.endpoint_id if body.callback else None,
        metadata=None if body.metadata is None else raw_json(body.metadata),
    )


def _actions(body: TaskPut) -> tuple[Action, ...]:
    found: list[Action] = []
    for one in body.actions:
        if isinstance(one, TaskActionBody):
            found.append(Action(one.id, one.effect, one.label, one.style, tuple(one.requires)))
        elif one in _PLAIN:
            found.append(_PLAIN[one])
    names = [action.id for action in found]
    if len(set(names)) < len(names) or not found or TRANSFER in names:
        detail = "Each action is named once, and one of them decides."
        raise Problem("request_invalid", detail, errors=[Fault("/actions", "not_distinct", detail)])
    return tuple(found)


def _notify(body: NotifyBody) -> Notify:
    usual = RemindRule()
    rule = usual
    if body.remind is not None:
        cap = body.remind.daily_cap
        rule = RemindRule(body.remind.cooldown or usual.cooldown, usual.daily_cap if cap is None else cap)
    return Notify(
        policy=body.policy,
        template=body.template,
        data=None if body.data is None else raw_json(body.data),
        priority=body.priority,
        tell_others=body.tell_others,
        tell_recall=body.tell_recall,
        closed_template=body.closed_template,
        clock=body.clock,
        remind=rule,
        escalation=tuple(EscalationStep(one.after, one.to, one.user) for one in body.escalation),
    )


def task_shown(task: Task) -> TaskShown:
    """A task as answers show it."""
    content = task.content
    return TaskShown(
        id=task.id,
        business_id=task.business_id,
        instance=InstanceBody.model_construct(
            id=content.instance.id,
            title=content.instance.title,
            applicant=content.instance.applicant,
            status=content.instance.status,
            version=content.instance.version,
        ),
        node=NodeBody.model_construct(id=content.node_id, name=content.node, sign_mode=task.sign_mode),
        state=task.state,
        processing=task.deciding is not None,
        version=task.version,
        rev=task.rev,
        assignees=[
            AssigneeShown(
                user_id=one.person.id,
                state=one.state,
                given_by=one.given_by,
                action=one.action,
                comment=one.comment,
                acted_at=one.acted_at,
            )
            for one in task.assignees
        ],
        cc=[one.id for one in task.cc],
        due_at=task.due_at,
        actions=[
            TaskActionBody.model_validate(
                {
                    "id": one.id,
                    "label": one.label,
                    "style": one.style,
                    "effect": one.effect,
                    "requires": one.requires,
                }
            )
            for one in content.actions
        ],
        transferable=content.transferable,
        link=LinkBody.model_construct(web=content.link.web or None, mp_path=content.link.mp_path or None),
        summary=[
            SummaryLine.model_construct(label=line.label, value=line.value, type=line.type)
            for line in content.summary
        ],
        decision=None if task.decided_by is None else action_shown(task.decided_by),
        intents=[action_shown(intent) for intent in task.intents],
        metadata=None if content.metadata is None else loads(content.metadata),
        created_at=task.created_at,
        updated_at=task.updated_at,
    )


def action_shown(intent: Intent) -> TaskActionShown:
    """A decision as answers show it."""
    return TaskActionShown(
        id=intent.id,
        user_id=intent.person.id,
        action_id=intent.action,
        effect=intent.effect,
        state=intent.state,
        reason=intent.reason,
        comment=intent.comment,
        client_action_id=intent.client_action_id,
        acted_from=intent.acted_from,
        at=intent.at,
        settled_at=intent.settled_at,
    )
