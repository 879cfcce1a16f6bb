"""Schemas of approvals: tasks, snapshots of them, and decisions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from hub.api.origins import is_web_link
from hub.api.schemas import Duration, FreeObject, Line, Moment, Shown, Strict, Text, Title, UserId, example
from hub.api.schemas_routing import PolicyName
from hub.core.policy import TimerClock
from hub.core.task import MAX_ASSIGNEES, MAX_CC, Effect, EscalateTo, IntentState, SignMode, TaskState

_PUT: Final[dict[str, Any]] = {
    "instance": {
        "id": "inst-778",
        "title": "差旅报销",
        "applicant": "u_9",
        "status": "pending",
        "version": 7,
    },
    "node": {"id": "n2", "name": "部门经理", "sign_mode": "any"},
    "assignees": ["u_1024", "u_1025"],
    "cc": ["u_77"],
    "state": "pending",
    "due_at": "2026-03-02T18:00:00+08:00",
    "version": 7,
    "actions": ["approve", "reject", "transfer"],
    "link": {"web": "https://oa.example.com/tasks/2", "mp_path": "pages/task?id=t2"},
    "summary": [{"label": "金额", "value": "¥1,200.00", "type": "amount"}],
    "notify": {"policy": "approval"},
}
ACTION: Final[dict[str, Any]] = {
    "id": "act_0195a1",
    "user_id": "u_1024",
    "action_id": "approve",
    "effect": "approve",
    "state": "applied",
    "reason": "",
    "comment": "",
    "client_action_id": "c-1",
    "acted_from": "app",
    "at": "2026-03-01T01:12:00Z",
    "settled_at": "2026-03-01T01:12:01Z",
}
TASK: Final[dict[str, Any]] = {
    "id": "tsk_0195a1",
    "business_id": "oa:inst-778:t2",
    "instance": _PUT["instance"],
    "node": {"id": "n2", "name": "部门经理", "sign_mode": "any"},
    "state": "approved",
    "processing": False,
    "version": 7,
    "rev": 3,
    "assignees": [
        {
            "user_id": "u_1024",
            "state": "approved",
            "given_by": None,
            "action": "approve",
            "comment": "",
            "acted_at": "2026-03-01T01:12:01Z",
        }
    ],
    "cc": ["u_77"],
    "due_at": "2026-03-02T10:00:00Z",
    "actions": [{"id": "approve", "label": "", "style": "primary", "effect": "approve", "requires": []}],
    "transferable": True,
    "link": _PUT["link"],
    "summary": _PUT["summary"],
    "decision": ACTION,
    "intents": [ACTION],
    "metadata": None,
    "created_at": "2026-03-01T01:10:00Z",
    "updated_at": "2026-03-01T01:12:01Z",
}

TaskRef: TypeAlias = Annotated[
    UserId,
    Field(description="The business system's own id of the task, or the hub's.", examples=["oa:inst-778:t2"]),
]
Word64: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")
]
Comment: TypeAlias = Annotated[Text, StringConstraints(max_length=4_000)]
Origin: TypeAlias = Annotated[str, StringConstraints(max_length=32, pattern=r"^[a-z0-9_]*$")]
Version: TypeAlias = Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)]


def _web(text: str) -> str:
    if not is_web_link(text):
        message = (
            "a web link begins with https:// or http:// and a host, without user name, blanks or backslashes"
        )
        raise ValueError(message)
    return text


class InstanceBody(Strict):
    """The flow that the task belongs to."""

    id: UserId
    title: Title = ""
    applicant: Annotated[Line, StringConstraints(max_length=128)] = Field(
        "", description="A user's id: may see the task, press its assignees and take it back."
    )
    status: Annotated[Line, StringConstraints(max_length=64)] = ""
    version: Version = 0


class NodeBody(Strict):
    """The step of the flow. `any`: the first decision counts; `all`: everybody approves, one rejection ends it."""

    id: Annotated[Line, StringConstraints(max_length=128)] = ""
    name: Annotated[Line, StringConstraints(max_length=128)] = ""
    sign_mode: SignMode = SignMode.ANY


class AssigneeBody(Strict):
    """Somebody who is asked; `state` where the business system knows how their part stands."""

    user_id: UserId
    state: TaskState = TaskState.PENDING


class TaskActionBody(Strict):
    """A button. `effect` is what pressing it means for the task."""

    id: Word64
    label: Annotated[Line, StringConstraints(max_length=64)] = ""
    style: Literal["default", "primary", "danger"] = "default"
    effect: Effect
    requires: Annotated[tuple[Literal["comment"], ...], Field(max_length=1)] = ()


class LinkBody(Strict):
    """Where the task is looked at."""

    web: Annotated[Line, StringConstraints(max_length=2_048), AfterValidator(_web)] | None = None
    mp_path: Annotated[Line, StringConstraints(max_length=1_024)] | None = None


class SummaryLine(Strict):
    """A line of the card."""

    label: Annotated[Line, StringConstraints(min_length=1, max_length=64)]
    value: Annotated[Line, StringConstraints(max_length=512)]
    type: Annotated[str, StringConstraints(max_length=32, pattern=r"^[a-z_]+$")] = "text"


class RemindBody(Strict):
    """How often people may be pressed: by one requester about one task, and in a day by everybody."""

    cooldown: Duration | None = None
    daily_cap: Annotated[int, Field(ge=0, le=1_000, strict=True)] | None = None


class EscalationBody(Strict):
    """`after` counts from when the task came, on its clock."""

    after: Duration
    to: EscalateTo
    user: UserId | None = None


class NotifyBody(Strict):
    """How the people are told."""

    policy: PolicyName = "approval"
    template: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    data: FreeObject | None = Field(
        None, description="Fills the template, beside what the task says by itself."
    )
    priority: Literal["low", "normal", "high", "critical"] = "high"
    tell_others: bool = Field(
        True, description="Say how it ended to those whom a channel outside the app has reached."
    )
    tell_recall: bool = Field(False, description="Say to them that it was taken back.")
    closed_template: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        None,
        description="The template by which both are said outside; without one they are said in the app only.",
    )
    clock: TimerClock = Field(TimerClock.ALWAYS, description="What `due_in` and `escalation` are counted in.")
    remind: RemindBody | None = None
    escalation: Annotated[tuple[EscalationBody, ...], Field(max_length=8)] = ()


class CallbackBody(Strict):
    """The webhook endpoint that is asked about decisions."""

    endpoint_id: Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_-]+$")]


class TaskPut(Strict):
    """A task as it should be. A `version` that is not newer than what the hub has changes nothing."""

    model_config = example(_PUT)

    instance: InstanceBody
    node: NodeBody | None = None
    assignees: Annotated[list[UserId | AssigneeBody], Field(min_length=1, max_length=MAX_ASSIGNEES)]
    cc: Annotated[tuple[UserId, ...], Field(max_length=MAX_CC)] = ()
    state: TaskState = TaskState.PENDING
    decided_by: UserId | None = Field(None, description="Who ended it, where `state` says that somebody did.")
    due_at: Moment | None = None
    due_in: Duration | None = Field(None, description="Instead of `due_at`, on the clock of `notify`.")
    version: Version
    actions: Annotated[
        tuple[Literal["approve", "reject", "transfer"] | TaskActionBody, ...],
        Field(min_length=1, max_length=8),
    ] = ("approve", "reject")
    link: LinkBody | None = None
    summary: Annotated[tuple[SummaryLine, ...], Field(max_length=32)] = ()
    notify: NotifyBody = NotifyBody()
    callback: CallbackBody | None = None
    metadata: FreeObject | None = None

    @model_validator(mode="after")
    def _one_deadline(self) -> Self:
        if self.due_at is not None and self.due_in is not None:
            message = "give either `due_at` or `due_in`"
            raise ValueError(message)
        return self


class TaskPutOf(TaskPut):
    """A task of a snapshot, with its id."""

    model_config = example({"id": "oa:inst-778:t2", **_PUT})

    id: TaskRef


class InstancePut(Strict):
    """All tasks of an instance. Those that the hub has open and that are not named are canceled."""

    model_config = example({"tasks": [{"id": "oa:inst-778:t2", **_PUT}]})

    tasks: Annotated[list[TaskPutOf], Field(max_length=200)]


class AssigneeShown(Shown):
    """Somebody who is or was asked. `given_by`: from whom it came by delegation or transfer."""

    user_id: str
    state: TaskState
    given_by: str | None
    action: str | None
    comment: str
    acted_at: datetime | None


class TaskActionShown(Shown):
    """A decision and what the business system made of it."""

    model_config = example(ACTION)

    id: str
    user_id: str
    action_id: str
    effect: Effect
    state: IntentState
    reason: str
    comment: str
    client_action_id: str | None
    acted_from: str
    at: datetime
    settled_at: datetime | None


class TaskShown(Shown):
    """A task. `processing`: a decision waits for the business system. `rev` is the ETag."""

    model_config = example(TASK, title="Task")

    id: str
    business_id: str
    instance: InstanceBody
    node: NodeBody
    state: TaskState
    processing: bool
    version: int
    rev: int
    assignees: list[AssigneeShown]
    cc: list[str]
    due_at: datetime | None
    actions: list[TaskActionBody]
    transferable: bool
    link: LinkBody
    summary: list[SummaryLine]
    decision: TaskActionShown | None
    intents: list[TaskActionShown]
    metadata: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime


class InstanceShown(Shown):
    """What became of a snapshot: each task, or why not; and those that were canceled."""

    model_config = example(
        {"tasks": [{"id": "oa:inst-778:t2", "task": TASK, "problem": None}], "canceled": []}
    )

    class One(Shown):
        """The task, or the problem."""

        id: str
        task: TaskShown | None
        problem: dict[str, Any] | None

    tasks: list[One]
    canceled: list[str]


class ActBody(Strict):
    """A decision. The same `client_action_id` again gets the first answer."""

    model_config = example({"action_id": "approve", "comment": "OK", "client_action_id": "c-1"})

    action_id: Word64
    comment: Comment = ""
    client_action_id: (
        Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$")] | None
    ) = None
    acted_from: Origin = Field("", description="Where the person was: `app`, `wechat_mp`, …")
    user_id: UserId | None = Field(None, description="With an API key: on whose behalf.")


class ActedShown(Shown):
    """The decision and the task as they are now. `pending`: the business system has not answered yet."""

    model_config = example({"action": ACTION, "task": TASK, "repeated": False})

    action: TaskActionShown
    task: TaskShown
    repeated: bool


class ResultBody(Strict):
    """What the business system makes of a decision, said by itself."""

    model_config = example({"result": "applied", "reason": ""})

    result: Literal["applied", "rejected"]
    reason: Annotated[Text, StringConstraints(max_length=1_000)] = ""
