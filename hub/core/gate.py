"""Pure: whether a delivery may go out now, as its person, its policy and the hour say; and why not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hub.core.delivery import Canceled, Delivery, Event, Held, ReadReceipt
from hub.core.identity import Recipient
from hub.core.message import NotificationDraft
from hub.core.outcome import Reason, Rejected
from hub.core.policy import QuietHours
from hub.core.preferences import Preferences, parse
from hub.core.quiet import quiet_until
from hub.core.routing import speaks
from hub.core.routing_ports import Facts

CRITICAL = "critical"
"""The priority that neither quiet hours nor caps nor digests hold back."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A delivery that somebody is about to claim. `outside` is a channel outside the app, which alone preferences,
    mutes and quiet hours speak of; `disturbs` one that makes a phone ring."""

    row: Delivery
    draft: NotificationDraft
    person: Recipient
    facts: Facts
    outside: bool
    disturbs: bool

    @property
    def begun(self) -> bool:
        """Whether it has been tried: only what holds for every try is asked again then."""
        return self.row.attempts > 0

    @property
    def held_back(self) -> bool:
        """Whether hours, caps and digests concern it. What may have arrived already is repeated at once: in time the
        provider knows it again."""
        return self.disturbs and self.row.priority != CRITICAL and self.row.doubt_since is None


def verdict(asked: Asked, now: datetime) -> Event | None:
    """What happens to it instead of a try; None where it may go."""
    hop = asked.draft.policy.hops[asked.row.hop]
    if asked.facts.superseded:
        return Canceled(Reason.SUPERSEDED)
    if asked.facts.read and "read" in asked.draft.policy.stop_on:
        return ReadReceipt()
    if not asked.begun and not speaks(hop, asked.person.locale):
        return Rejected(Reason.NOT_APPLICABLE)
    if not asked.outside:
        return None
    wishes = parse(asked.person.preferences)
    if not asked.begun and (unwanted := _unwanted(asked, wishes)) is not None:
        return Rejected(unwanted)
    return _quiet(asked, wishes, now)


def _unwanted(asked: Asked, wishes: Preferences) -> Reason | None:
    draft = asked.draft
    if not wishes.wants(asked.row.channel, draft.category):
        return Reason.PREFERENCE_OFF
    muted = wishes.mutes(thread=draft.thread, category=draft.category, type_=draft.type)
    return Reason.MUTED if muted or asked.facts.muted else None


def _quiet(asked: Asked, wishes: Preferences, now: datetime) -> Event | None:
    policy = asked.draft.policy.quiet_hours
    if not asked.held_back or policy is QuietHours.IGNORE:
        return None
    until = quiet_until(wishes.quiet, asked.person.timezone, now)
    if until is None:
        return None
    if policy is QuietHours.SKIP and not asked.begun:
        return Rejected(Reason.QUIET_HOURS)
    return Held(until, Reason.QUIET_HOURS)
