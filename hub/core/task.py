"""Values of approvals: a task that people decide, who is asked, what they did, and what the business system said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NewType

from hub.core.message import AppId, MessageId, NotificationId, UserKey
from hub.core.policy import TimerClock

TaskId = NewType("TaskId", str)
IntentId = NewType("IntentId", str)
FollowUpId = NewType("FollowUpId", str)

MAX_ASSIGNEES: Final = 200
MAX_CC: Final = 200
MAX_DELEGATIONS: Final = 5
"""People that one assignment is passed on through before it stays where it is."""


class TaskState(StrEnum):
    """Where a task, or one assignee's part of it, stands. Everything but PENDING is final."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    TRANSFERRED = "transferred"
    """Handed to somebody else (of a task: by the business system's own word)."""
    DONE_BY_OTHER = "done_by_other"
    """Decided without this person."""
    WITHDRAWN = "withdrawn"
    """Taken back by the applicant."""
    CANCELED = "canceled"
    """Taken away by the business system."""
    EXPIRED = "expired"
    """Not decided by `due_at`."""

    @property
    def final(self) -> bool:
        """Nobody can act any more."""
        return self is not TaskState.PENDING


class SignMode(StrEnum):
    """ANY: the first decision counts for all. ALL: everybody approves, the first rejection ends it."""

    ANY = "any"
    ALL = "all"


class Effect(StrEnum):
    """What an action does to the task once the business system has taken it."""

    APPROVE = "approve"
    REJECT = "reject"

    @property
    def state(self) -> TaskState:
        """Where the actor's part goes."""
        return TaskState.APPROVED if self is Effect.APPROVE else TaskState.REJECTED


class IntentState(StrEnum):
    """How far a decision got with the business system."""

    DECIDING = "deciding"
    """It is being asked."""
    APPLIED = "applied"
    REJECTED_BY_BUSINESS = "rejected_by_business"
    """It said no; the task is open again."""
    PENDING = "pending"
    """It did not answer in time, and is asked again until it does."""

    @property
    def live(self) -> bool:
        """It holds the task: nobody else can decide."""
        return self is not IntentState.REJECTED_BY_BUSINESS

    @property
    def settled(self) -> bool:
        """The business system has spoken."""
        return self in (IntentState.APPLIED, IntentState.REJECTED_BY_BUSINESS)


class EscalateTo(StrEnum):
    """Who hears of a task that rests too long."""

    REMIND = "remind"
    """Those who are asked, one channel higher."""
    DELEGATE = "delegate"
    """The stand-in that each assignee names."""
    MANAGER = "manager"
    """The step's `user`, or each assignee's own manager."""
    WEBHOOK = "webhook"
    """The business system: an SLA is broken."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user by the hub's number and the product's id."""

    key: UserKey
    id: str


@dataclass(frozen=True, slots=True)
class Action:
    """A button. `effect` is what it means; `requires` names what must come with it."""

    id: str
    effect: Effect
    label: str = ""
    style: str = "default"
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Instance:
    """The flow that the task belongs to."""

    id: str
    title: str = ""
    applicant: str = ""
    status: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A label with its value, as the card shows it."""

    label: str
    value: str
    type: str = "text"


@dataclass(frozen=True, slots=True)
class Link:
    """Where the task is looked at. `web` is an http(s) address, `mp_path` a mini program's page."""

    web: str = ""
    mp_path: str = ""


@dataclass(frozen=True, slots=True)
class EscalationStep:
    """`after` counts from when the task came, on the task's clock."""

    after: timedelta
    to: EscalateTo
    user: str | None = None


@dataclass(frozen=True, slots=True)
class RemindRule:
    """How often people may be pressed: one requester about one task, and one person in a day by everybody."""

    cooldown: timedelta = timedelta(minutes=10)
    daily_cap: int = 10


@dataclass(frozen=True, slots=True)
class Notify:
    """How the people are told. `data` (encoded JSON) fills the template beside what the task itself says."""

    policy: str = "approval"
    template: str | None = None
    data: str | None = None
    priority: str = "high"
    tell_others: bool = True
    """Say "decided by …" to those whom an outside channel reached."""
    tell_recall: bool = False
    """Say "taken back" to those whom an outside channel reached."""
    closed_template: str | None = None
    """The hub template that says so outside; without one it is said in the app only."""
    clock: TimerClock = TimerClock.ALWAYS
    remind: RemindRule = field(default_factory=RemindRule)
    escalation: tuple[EscalationStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """What the business system says of a task."""

    instance: Instance
    node_id: str = ""
    node: str = ""
    summary: tuple[Line, ...] = ()
    link: Link = field(default_factory=Link)
    actions: tuple[Action, ...] = (
        Action("approve", Effect.APPROVE, style="primary"),
        Action("reject", Effect.REJECT, style="danger"),
    )
    transferable: bool = False
    """Assignees may hand it on by themselves."""
    notify: Notify = field(default_factory=Notify)
    callback: str | None = None
    """The webhook endpoint that is asked about decisions; None is the oldest that subscribes to `task.action`."""
    metadata: str | None = None

    def action(self, action_id: str) -> Action | None:
        """The button of this id."""
        return next((action for action in self.actions if action.id == action_id), None)


@dataclass(frozen=True, slots=True)
class Assignee:
    """Somebody who is asked. `given_by` is the person from whom it came by delegation or transfer."""

    person: Person
    state: TaskState = TaskState.PENDING
    given_by: str | None = None
    action: str | None = None
    comment: str = ""
    acted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """Somebody's decision. While it is live it holds `slot`, of which a task has one each: the database's key
    decides who was first."""

    id: IntentId
    person: Person
    action: str
    effect: Effect
    at: datetime
    version: int
    comment: str = ""
    client_action_id: str | None = None
    state: IntentState = IntentState.DECIDING
    slot: str | None = None
    reason: str = ""
    acted_from: str = ""
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Timer:
    """Something that is to happen to a task by itself: `expire`, or `escalate:<step>`."""

    name: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Task:
    """A task with everything that decisions about it need. `version` is the business system's, `rev` the hub's own
    (0: not stored yet); `intents` are in order of their making."""

    id: TaskId
    app: AppId
    business_id: str
    content: Content
    sign_mode: SignMode
    state: TaskState
    version: int
    assignees: tuple[Assignee, ...]
    created_at: datetime
    updated_at: datetime
    cc: tuple[Person, ...] = ()
    rev: int = 0
    due_at: datetime | None = None
    decided_by: Intent | None = None
    """The decision that ended it, where a person's did."""
    intents: tuple[Intent, ...] = ()
    timers: tuple[Timer, ...] = ()

    def assignee(self, user: UserKey) -> Assignee | None:
        """This user's part."""
        return next((one for one in self.assignees if one.person.key == user), None)

    @property
    def open(self) -> tuple[Assignee, ...]:
        """Who could still act."""
        if self.state.final:
            return ()
        return tuple(one for one in self.assignees if not one.state.final)

    @property
    def deciding(self) -> Intent | None:
        """The decision that waits for the business system."""
        return next((i for i in self.intents if i.state.live and not i.state.settled), None)

    def held_by(self, user: UserKey) -> Intent | None:
        """The live decision that keeps this user from acting: anybody's with ANY; with ALL one's own, or somebody's
        rejection."""
        for intent in self.intents:
            mine = intent.person.key == user or self.sign_mode is SignMode.ANY
            if intent.state.live and (mine or intent.effect is Effect.REJECT):
                return intent
        return None

    def waits_for(self, user: UserKey) -> bool:
        """Whether this person is still to be pressed."""
        return any(one.person.key == user for one in self.open) and self.held_by(user) is None


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """A line of a task's story, and what webhooks hear as `task.<name>`."""

    name: str
    at: datetime
    actor: str = ""
    """A user's id, or `business`, or `hub`."""
    detail: Mapping[str, str] = field(default_factory=dict)


class FollowUpKind(StrEnum):
    """What is to be done after a change has been committed. Each may be done twice."""

    ASK = "ask"
    """Ask the business system about an intent (`detail`)."""
    ANNOUNCE = "announce"
    """Tell `people` that they are asked (or `cc`)."""
    CARDS = "cards"
    """Bring the card of every holder up to date, on every device."""
    STOP = "stop"
    """Cancel what is still to be sent to those who need not act any more."""
    TELL = "tell"
    """Say how it ended to those whom an outside channel reached."""
    REMIND = "remind"
    """Press `people`."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Committed with the change that caused it, removed when it is done. `detail` depends on the kind."""

    kind: FollowUpKind
    people: tuple[UserKey, ...] = ()
    detail: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True)
class StoredFollowUp:
    """A follow-up that waits to be done."""

    id: FollowUpId
    app: AppId
    task: TaskId
    what: FollowUp
    created_at: datetime
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who has a card of a task in their queue."""

    user: UserKey
    notification: NotificationId
    message: MessageId
    cc: bool = False


@dataclass(frozen=True, slots=True)
class Reminder:
    """Somebody was pressed."""

    task: TaskId
    requester: str
    user: UserKey
    at: datetime
    level: int
