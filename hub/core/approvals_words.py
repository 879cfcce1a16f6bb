"""Pure: what approvals say: notifications about a task, the state of its card, and the data of its webhooks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hub.core.task import Action, Intent, IntentState, SignMode, Task, TaskEvent, TaskState

ZH = "zh-CN"
EN = "en"
_LABELS: Mapping[str, tuple[str, str]] = {
    "approve": ("同意", "Approve"),
    "agree": ("同意", "Approve"),
    "reject": ("驳回", "Reject"),
    "refuse": ("驳回", "Reject"),
}
_ENDED: Mapping[TaskState, tuple[str, str]] = {
    TaskState.PENDING: ("待处理", "Waiting for a decision"),
    TaskState.APPROVED: ("已由{who}同意", "Approved by {who}"),
    TaskState.REJECTED: ("已由{who}驳回", "Rejected by {who}"),
    TaskState.TRANSFERRED: ("已转交", "Handed over"),
    TaskState.DONE_BY_OTHER: ("已由他人处理", "Decided by somebody else"),
    TaskState.WITHDRAWN: ("已撤回", "Withdrawn"),
    TaskState.CANCELED: ("已取消", "Canceled"),
    TaskState.EXPIRED: ("已过期", "Expired"),
}
_PHRASES: Mapping[TaskState, str] = {
    TaskState.APPROVED: "已同意",
    TaskState.REJECTED: "已驳回",
    TaskState.DONE_BY_OTHER: "已处理",
}
_WHY: Mapping[str, tuple[str, str]] = {
    "assigned": ("待审批", "To approve"),
    "transferred": ("转交给您审批", "Handed to you"),
    "reopened": ("请重新处理", "Open again"),
    "cc": ("抄送", "For your information"),
    "remind": ("催办", "Reminder"),
    "escalated": ("超时未处理", "Overdue"),
}


def language(locale: str) -> str:
    """Which of the two languages somebody is spoken to in."""
    return ZH if locale.lower().startswith("zh") else EN


def _say(pair: tuple[str, str], spoken: str) -> str:
    return pair[0] if spoken == ZH else pair[1]


def rfc3339(moment: datetime) -> str:
    """UTC, as JSON carries times."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def dumps(value: object) -> str:
    """JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def label_of(action: Action, spoken: str) -> str:
    """What stands on a button."""
    if action.label:
        return action.label
    return _say(_LABELS[action.id], spoken) if action.id in _LABELS else action.id


def notice(
    task: Task, why: str, spoken: str, *, acts: bool, comment: str = "", link: str | None = None
) -> dict[str, Any]:
    """The body of a notification that puts a task before somebody. `acts`: with its buttons."""
    content = task.content
    colon, left, right = ("：", "（", "）") if spoken == ZH else (": ", " (", ")")
    place = f"{left}{content.node}{right}" if content.node else ""
    title = f"{_say(_WHY[why], spoken)}{colon}"
    lines = [f"{line.label}：{line.value}" for line in content.summary]
    if comment:
        lines.insert(0, comment)
    body: dict[str, Any] = {
        "title": f"{title}{content.instance.title or task.business_id}{place}"[:256],
        "text": "\n".join(lines)[:20_000],
        "data": {
            "task": task.id,
            "business_id": task.business_id,
            "instance": content.instance.id,
            "applicant": content.instance.applicant,
            "state": task.state.value,
            "version": task.version,
            "rev": task.rev,
            "summary": [{"label": x.label, "value": x.value, "type": x.type} for x in content.summary],
            **({"due_at": rfc3339(task.due_at)} if task.due_at else {}),
            **({"mp_path": content.link.mp_path} if content.link.mp_path else {}),
        },
    }
    if link or content.link.web:
        body["link"] = link or content.link.web
    if acts:
        body["actions"] = [
            {
                "id": action.id,
                "label": label_of(action, spoken),
                "style": action.style,
                **({"requires": list(action.requires)} if action.requires else {}),
            }
            for action in content.actions
        ]
    return body


def template_data(task: Task, link: str | None) -> str:
    """What fills a hub template: the business system's own data over what the task says by itself."""
    given = json.loads(task.content.notify.data) if task.content.notify.data else {}
    return dumps(_own_data(task, link) | given)


def closing_data(task: Task, who: str, spoken: str, link: str | None) -> str:
    """What fills the template of the closing notice: how it ended over everything that the other template gets.
    `phrase` is a Chinese word of at most five characters, whichever the language; `who` may be empty."""
    given = json.loads(task.content.notify.data) if task.content.notify.data else {}
    said = task.decided_by
    ended = {
        "state": task.state.value,
        "outcome": outcome_text(task, who, spoken),
        "phrase": _PHRASES.get(task.state, _say(_ENDED[task.state], ZH)),
        "who": who,
        "at": rfc3339((said.settled_at or said.at) if said else task.updated_at),
        "comment": said.comment if said else "",
    }
    return dumps(_own_data(task, link) | given | ended)


def _own_data(task: Task, link: str | None) -> dict[str, Any]:
    content = task.content
    own = {
        "title": content.instance.title,
        "applicant": content.instance.applicant,
        "node": content.node,
        "task": task.business_id,
        "instance": content.instance.id,
        "submitted_at": rfc3339(task.created_at),
    }
    if link or content.link.web:
        own["link"] = link or content.link.web
    if content.link.mp_path:
        own["mp_path"] = content.link.mp_path
    if task.due_at is not None:
        own["due_at"] = rfc3339(task.due_at)
    return own


def outcome_text(task: Task, who: str, spoken: str) -> str:
    """How it stands, in a few words."""
    deciding = task.deciding
    if deciding is not None and not task.state.final and task.sign_mode is SignMode.ANY:
        return "处理中" if spoken == ZH else "Processing"
    if task.state in (TaskState.APPROVED, TaskState.REJECTED) and not who:
        return (
            ("已同意" if task.state is TaskState.APPROVED else "已驳回") if spoken == ZH else task.state.value
        )
    return _say(_ENDED[task.state], spoken).format(who=who)


def closing(task: Task, who: str, spoken: str) -> dict[str, Any]:
    """The body of the notification that says how it ended."""
    title = task.content.instance.title or task.business_id
    return {
        "title": f"{outcome_text(task, who, spoken)}：{title}"[:256],
        "text": "",
        "data": {"task": task.id, "business_id": task.business_id, "state": task.state.value},
    }


def card(task: Task, notification: str, who: str) -> dict[str, Any]:
    """The state of a card, for every device of everybody who holds it. Of two the one with the higher `rev` counts."""
    said = task.decided_by or task.deciding
    return {
        "task": task.id,
        "business_id": task.business_id,
        "notification": notification,
        "state": task.state.value,
        "processing": task.deciding is not None,
        "version": task.version,
        "rev": task.rev,
        "decided_by": said.person.id if said else None,
        "action": said.action if said else None,
        "at": rfc3339(said.at if said else task.updated_at),
        "texts": {spoken: outcome_text(task, who, spoken) for spoken in (ZH, EN)},
        "assignees": [{"user_id": one.person.id, "state": one.state.value} for one in task.assignees],
        **_refusal(task),
    }


def _refusal(task: Task) -> dict[str, Any]:
    """What the business system said to the newest decision, where it refused it."""
    last = task.intents[-1] if task.intents else None
    if last is None or last.state is not IntentState.REJECTED_BY_BUSINESS or task.state.final:
        return {}
    return {"refused": {"user_id": last.person.id, "action": last.action, "reason": last.reason}}


def question(task: Task, intent: Intent) -> dict[str, Any]:
    """The data of `task.action`: what the business system is asked."""
    return {
        "intent": intent.id,
        "task": task.business_id,
        "task_id": task.id,
        "instance": task.content.instance.id,
        "version": intent.version,
        "action": intent.action,
        "effect": intent.effect.value,
        "user_id": intent.person.id,
        "comment": intent.comment,
        "client_action_id": intent.client_action_id,
        "acted_from": intent.acted_from,
        "at": rfc3339(intent.at),
    }


def happened(task: Task, event: TaskEvent) -> dict[str, Any]:
    """The data of `task.<event>`."""
    return {
        "task": task.business_id,
        "task_id": task.id,
        "instance": task.content.instance.id,
        "state": task.state.value,
        "version": task.version,
        "actor": event.actor,
        "at": rfc3339(event.at),
        **({"detail": dict(event.detail)} if event.detail else {}),
    }
