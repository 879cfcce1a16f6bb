"""Schemas of notifications, routing policies and deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from hub.api.schemas import (
    FreeObject,
    Line,
    Locale,
    Moment,
    Shown,
    Strict,
    Text,
    UserId,
    example,
)
from hub.api.schemas_chat import MessageShown
from hub.api.schemas_deliveries import DELIVERY, DeliveryShown
from hub.api.schemas_routing import ROUTE, PolicyName, RouteBody, Word
from hub.api.schemas_sending import OwnKind
from hub.api.schemas_templates import TemplateKey
from hub.core.policy import QuietHours

_NOTIFICATION: Final[dict[str, Any]] = {
    "type": "approval.task.assigned",
    "to": [{"user_id": "u_1024"}],
    "actor": {"user_id": "u_9"},
    "dedupe_key": "oa:inst-778:task-2:assigned",
    "content": {
        "title": "差旅报销待审批 ✈️",
        "text": "王小明提交了 1,200.00 元的差旅报销",
        "data": {"instance": "778"},
        "link": "https://oa.example.com/tasks/2",
    },
    "actions": [
        {"id": "approve", "label": "同意", "style": "primary"},
        {"id": "reject", "label": "驳回", "style": "danger", "requires": ["comment"]},
    ],
    "policy": "approval",
    "thread": "inst-778",
    "priority": "high",
    "category": "approval",
    "metadata": {"biz": "oa"},
}
_ACCEPTED: Final[dict[str, Any]] = {
    "id": "ntf_0195a1",
    "status": "accepted",
    "deduplicated": False,
    "recipients": {"resolved": 1},
    "links": {"self": "/v1/notifications/ntf_0195a1", "timeline": "/v1/notifications/ntf_0195a1/timeline"},
}


def _no_padding(text: str) -> str:
    # MySQL compares without trailing spaces: two keys would be one there, and two elsewhere.
    if text.strip() != text:
        message = "a key has no spaces at its ends"
        raise ValueError(message)
    return text


BusinessKey = Annotated[Line, StringConstraints(min_length=1, max_length=200), AfterValidator(_no_padding)]


class ActionBody(Strict):
    """A button."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
    label: Annotated[Line, StringConstraints(max_length=64)] = ""
    style: Literal["default", "primary", "danger"] = "default"
    link: Annotated[Line, StringConstraints(max_length=2_048)] | None = None
    requires: (
        Annotated[
            list[
                Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
            ],
            Field(max_length=8),
        ]
        | None
    ) = Field(None, description="What must be given with it, such as `comment`.", examples=[["comment"]])


Actions = Annotated[list[ActionBody], Field(max_length=8)]


class CardContent(Strict):
    """What a notification says; kept as a message of the kind `notification`."""

    title: Annotated[Line, StringConstraints(min_length=1, max_length=256)]
    text: Annotated[Text, StringConstraints(max_length=20_000)] = ""
    data: FreeObject | None = None
    link: Annotated[Line, StringConstraints(max_length=2_048)] | None = None
    actions: Actions | None = None


class RawContent(Strict):
    """A message of the product's own kind."""

    kind: OwnKind
    body: FreeObject | Text


class Recipient(Strict):
    """A user; one who is not known yet is made."""

    user_id: UserId


class ToConversationBody(Strict):
    """Everybody in a conversation."""

    conversation: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class TemplateRef(Strict):
    """A template of the app, filled with `data`."""

    key: TemplateKey
    version: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] | None = Field(
        None, description="Null: the newest. What was accepted keeps its version."
    )
    locale: Locale | None = Field(None, description="Null: each recipient's own.")


class NotificationCallback(Strict):
    """Who hears of this notification."""

    endpoint_id: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


def _addressed(value: object) -> str:
    return "people" if isinstance(value, list) else "conversation"


def _spoken(value: object) -> str:
    own = isinstance(value, RawContent) or (
        isinstance(value, dict) and not {"kind", "body"}.isdisjoint(value)
    )
    return "own" if own else "card"


People = Annotated[list[Recipient], Field(min_length=1, max_length=1_000)]


class NotificationNew(Strict):
    """What to tell, whom, and how hard to try."""

    model_config = example(_NOTIFICATION)

    type: Annotated[Line, StringConstraints(min_length=1, max_length=128)] = Field(
        "notification",
        description="What happened, in the product's own words.",
        examples=["approval.task.assigned"],
    )
    to: Annotated[
        Annotated[People, Tag("people")] | Annotated[ToConversationBody, Tag("conversation")],
        Discriminator(_addressed),
    ]
    actor: Recipient | None = Field(None, description="Who did it: shown as the sender.")
    content: (
        Annotated[
            Annotated[CardContent, Tag("card")] | Annotated[RawContent, Tag("own")], Discriminator(_spoken)
        ]
        | None
    ) = Field(
        None,
        description="Either `title`, `text`, … or your own `kind` and `body`; at most HUB_BODY_MAX_BYTES as JSON. "
        "Give this or `template`.",
    )
    template: TemplateRef | None = Field(None, description="What it says, instead of `content`.")
    data: FreeObject | None = Field(None, description="Fills the template.")
    actions: Actions | None = Field(None, description="Buttons of the card.")
    dedupe_key: BusinessKey | None = Field(
        None, description="Of the business event: a second notification with the same key is the first one."
    )
    policy: PolicyName | None = Field(
        None, description="A named policy; `default` if neither it nor `route` is given."
    )
    route: RouteBody | None = None
    priority: Literal["low", "normal", "high", "critical"] = "normal"
    category: Word = "default"
    collapse_key: BusinessKey | None = Field(
        None, description="The newer one replaces the older one, as far as it has not been sent."
    )
    thread: BusinessKey | None = Field(
        None, description="What it belongs to in the business; events end a whole thread."
    )
    digest_key: BusinessKey | None = Field(
        None, description="What may be sent as one, where the policy has a `digest`."
    )
    quiet_hours: QuietHours | None = Field(None, description="Instead of what the policy says.")
    send_at: Moment | None = Field(None, description="Not before this: nothing happens until then.")
    not_before: Moment | None = Field(None, description="Another name of `send_at`.")
    callback: NotificationCallback | None = Field(
        None, description="A webhook endpoint that hears of this notification, whatever it subscribes to."
    )
    expires_at: Moment | None = Field(None, description="After that nothing more is sent.")
    metadata: FreeObject | None = Field(None, description="Kept, and given back; never shown to users.")

    @model_validator(mode="after")
    def _one_policy(self) -> Self:
        if self.policy is not None and self.route is not None:
            message = "give either `policy` or `route`"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        wrong = ""
        if (self.content is None) == (self.template is None):
            wrong = "give exactly one of `content` and `template`"
        elif self.data is not None and self.template is None:
            wrong = "`data` fills a `template`; a card of your own has its data in `content`"
        elif self.actions is not None and isinstance(self.content, RawContent):
            wrong = "a message of your own kind has no `actions`"
        elif (
            self.actions is not None
            and isinstance(self.content, CardContent)
            and self.content.actions is not None
        ):
            wrong = "give `actions` once"
        elif self.send_at is not None and self.not_before is not None:
            wrong = "`not_before` is another name of `send_at`: give one of them"
        if wrong:
            raise ValueError(wrong)
        return self


class NotificationAccepted(Shown):
    """Committed. `deduplicated` says that it was earlier; `scheduled`, that it waits for its `send_at`."""

    model_config = example(_ACCEPTED)

    class Recipients(Shown):
        """How many users it goes to; null for a conversation."""

        resolved: int | None

    class Links(Shown):
        """Where it can be followed."""

        self: str
        timeline: str

    id: str
    status: Literal["accepted", "scheduled"]
    deduplicated: bool
    recipients: Recipients
    links: Links


class NotificationBatch(Strict):
    """Notifications, each accepted or refused by itself."""

    model_config = example({"notifications": [_NOTIFICATION]})

    # Checked one by one in the route, so that one bad one does not spoil the others; openapi.py names the schema.
    notifications: Annotated[list[Any], Field(min_length=1, max_length=500)]


class NotificationBatchAnswer(Shown):
    """One answer per notification, in their order: what a POST of it alone would have got."""

    model_config = example({"data": [{"status": 202, "notification": _ACCEPTED, "problem": None}]})

    class One(Shown):
        """The status, and the notification or the problem."""

        status: int
        notification: NotificationAccepted | None
        problem: dict[str, Any] | None

    data: list[One]


class RecipientShown(Shown):
    """How far a notification got with one person."""

    user_id: str
    state: Literal["accepted", "pushed", "delivered", "read"]
    queue_seq: int | None
    deliveries: list[DeliveryShown]


Status = Literal["scheduled", "accepted", "active", "settled", "canceled", "expired", "refused"]


class NotificationShown(Shown):
    """A notification and what became of it."""

    model_config = example(
        {
            "id": "ntf_0195a1",
            "status": "active",
            "type": "approval.task.assigned",
            "category": "approval",
            "priority": "high",
            "dedupe_key": "oa:inst-778:task-2:assigned",
            "collapse_key": None,
            "metadata": {"biz": "oa"},
            "route": ROUTE,
            "send_at": None,
            "created_at": "2026-03-01T01:12:00Z",
            "expires_at": None,
            "message": None,
            "summary": {"total": 1, "accepted": 0, "pushed": 0, "delivered": 1, "read": 0},
            "recipients": [
                {"user_id": "u_1024", "state": "delivered", "queue_seq": 42, "deliveries": [DELIVERY]}
            ],
        },
        title="Notification",
    )

    class Summary(Shown):
        """How many recipients are how far, each counted once."""

        total: int
        accepted: int
        pushed: int
        delivered: int
        read: int

    id: str
    status: Status
    type: str
    category: str
    priority: str
    dedupe_key: str | None
    collapse_key: str | None
    metadata: dict[str, Any] | None
    route: RouteBody
    send_at: datetime | None = Field(description="When it will be sent; null once it is.")
    created_at: datetime
    expires_at: datetime | None
    message: MessageShown | None = Field(description="Null once retention has removed the body.")
    summary: Summary
    recipients: list[RecipientShown]


class TimelineEventShown(Shown):
    """A line of the story."""

    model_config = example(
        {
            "at": "2026-03-01T01:12:00Z",
            "event": "delivered",
            "user_id": "u_1024",
            "channel": "ws",
            "delivery": "dlv_0195a1",
            "reason": None,
            "detail": "",
        },
        title="TimelineEvent",
    )

    at: datetime
    event: str
    user_id: str | None
    channel: str | None
    delivery: str | None
    reason: str | None
    detail: str
