"""Drafts about tasks: accepted under keys of their own, so that doing a follow-up twice sends once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hub.core.approvals_ports import ApprovalPorts
from hub.core.approvals_words import closing, closing_data, dumps, language, notice, template_data
from hub.core.errors import HubError
from hub.core.message import (
    SYSTEM,
    Accepted,
    Draft,
    MessageId,
    NotificationDraft,
    NotificationId,
    TemplatePin,
    ToInbox,
    UserKey,
)
from hub.core.policy import PUSH_ONLY, Hop, Mode, Policy
from hub.core.task import Holder, StoredFollowUp, Task
from hub.core.task_links import LINK_LIFE, TaskLink

_NOTIFICATION = "notification"
CARD = "card"


class Sender:
    """Submits what approvals have to say, and remembers who has which card."""

    def __init__(self, ports: ApprovalPorts) -> None:
        self._ports = ports

    async def name_of(self, task: Task) -> str:
        """Whom to name as the one who decided: by name, or by id where none is known."""
        said = task.decided_by
        if said is None:
            return ""
        found = (await self._ports.people.profiles([said.person.key])).get(said.person.key)
        return (found.name if found else "") or said.person.id

    def _link(self, task: Task) -> str | None:
        """The short address of a task that has somewhere to go to."""
        if not (task.content.link.web or task.content.link.mp_path):
            return None
        link = TaskLink(task.id, SYSTEM, self._ports.clock() + LINK_LIFE)
        return f"{self._ports.public}/t/{self._ports.links.token(link)}"

    async def assign(
        self,
        task: Task,
        one: StoredFollowUp,
        people: Sequence[UserKey],
        why: str,
        *,
        route: Callable[[Policy], Policy] = lambda policy: policy,
    ) -> None:
        """Put the task before these people, with its buttons."""
        if not people:
            return
        notify = task.content.notify
        named = await self._ports.rules.policy(task.app, notify.policy)
        policy = route(named.policy if named else PUSH_ONLY)
        pin = await self._ports.rules.template(task.app, notify.template) if notify.template else None
        comment = one.what.detail if why == "remind" else ""
        link = self._link(task)
        type_ = "approval.task.reminder" if why == "remind" else "approval.task.assigned"
        drafts = await self._drafts(
            task,
            one.id,
            people,
            policy,
            lambda spoken: notice(task, why, spoken, acts=True, comment=comment, link=link),
            type_=type_,
            priority=notify.priority,
            template=pin,
        )
        await self._submit(task, drafts, cc=False)

    async def inform(self, task: Task, one: StoredFollowUp, why: str) -> None:
        """Let these people know: lower priority, and nothing to press."""
        link = self._link(task)
        drafts = await self._drafts(
            task,
            one.id,
            one.what.people,
            PUSH_ONLY,
            lambda spoken: notice(task, why, spoken, acts=False, link=link),
            type_=f"approval.task.{why}",
            priority="normal" if why == "escalated" else "low",
        )
        await self._submit(task, drafts, cc=True)

    async def tell(
        self, task: Task, key: str, people: Sequence[UserKey], channels: Collection[str], who: str
    ) -> None:
        """Say how it ended, to those whom it reached: on these channels too, where there are words for them."""
        name, link = task.content.notify.closed_template, self._link(task)
        pin = await self._ports.rules.template(task.app, name) if name else None
        policy = Policy(tuple(map(Hop, channels)), mode=Mode.ALL) if pin else PUSH_ONLY
        drafts = await self._drafts(
            task,
            key,
            people,
            policy,
            lambda spoken: closing(task, who, spoken),
            type_="approval.task.closed",
            priority="low",
            template=pin,
            data=lambda spoken: closing_data(task, who, spoken, link),
        )
        _checked(await self._ports.submit(drafts))

    async def cards(
        self, task: Task, cards: Mapping[str, tuple[Sequence[UserKey], dict[str, Any]]], key: str
    ) -> None:
        """The new state of each card, to its holders' queues."""
        drafts = [
            Draft(
                id=MessageId(self._ports.new_id("msg")),
                app=task.app,
                sender=SYSTEM,
                sender_id=None,
                to=ToInbox(tuple(users)),
                kind=CARD,
                body=dumps(body),
                created_at=self._ports.clock(),
                client_msg_id=f"{key}:{number}",
                as_member=False,
                control=True,
            )
            for number, (users, body) in enumerate(cards.values())
        ]
        _checked(await self._ports.submit(drafts))

    async def _drafts(
        self,
        task: Task,
        key: str,
        people: Collection[UserKey],
        policy: Policy,
        body: Callable[[str], dict[str, Any]],
        *,
        type_: str,
        priority: str,
        template: TemplatePin | None = None,
        data: Callable[[str], str] | None = None,
    ) -> list[Draft]:
        """One a language, each under a key of its own. `data` fills the template instead of what the task says."""
        fill = data or (lambda _: template_data(task, self._link(task)))
        profiles = await self._ports.people.profiles(people)
        spoken: dict[str, list[UserKey]] = defaultdict(list)
        for user in people:
            if user in profiles:
                spoken[language(profiles[user].locale)].append(user)
        return [
            Draft(
                id=MessageId(self._id("msg", key, tongue)),
                app=task.app,
                sender=SYSTEM,
                sender_id=None,
                to=ToInbox(tuple(users)),
                kind=_NOTIFICATION,
                body=dumps(body(tongue)),
                created_at=self._ports.clock(),
                notification=NotificationDraft(
                    id=NotificationId(self._id("ntf", key, tongue)),
                    type=type_,
                    policy=policy,
                    category="approval",
                    priority=priority,
                    dedupe_key=f"task:{key}:{tongue}",
                    collapse_key=f"task:{task.id}",
                    thread=task.content.instance.id,
                    template=template,
                    data=fill(tongue) if template else None,
                    task=task.id,
                ),
                as_member=False,
            )
            for tongue, users in sorted(spoken.items())
        ]

    def _id(self, prefix: str, key: str, tongue: str) -> str:
        """The same for the same follow-up, so that its card is known before it is sent."""
        stem = key.removeprefix("flw_")
        return f"{prefix}_{stem}{tongue[0]}" if stem.isalnum() else self._ports.new_id(prefix)

    async def _submit(self, task: Task, drafts: Sequence[Draft], *, cc: bool) -> None:
        """Its recipients hold a card. Noted first: whoever dies between the two must not leave a card behind that no
        change of the task finds."""
        holders = [
            Holder(user, draft.notification.id, draft.id, cc=cc)
            for draft in drafts
            if draft.notification is not None and isinstance(draft.to, ToInbox)
            for user in draft.to.users
        ]
        await self._ports.store.hold(task.id, holders)
        _checked(await self._ports.submit(drafts))


def _checked(answers: Sequence[Accepted | HubError]) -> list[Accepted]:
    """Raises the first error: the whole follow-up is done again, and what was accepted stays accepted."""
    for answer in answers:
        if isinstance(answer, HubError):
            raise answer
    return [answer for answer in answers if isinstance(answer, Accepted)]
