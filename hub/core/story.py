"""Why somebody did or did not get something: what is known, put into one verdict. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hub.core.delivery import DeliveryState
from hub.core.records import DeliveryView, RecipientView
from hub.core.words import Told, Words, reason_told


class Verdict(StrEnum):
    """How it stands with one person, the best news first."""

    READ = "read"
    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    """A channel has it; nobody has said that it reached the person."""
    ON_THE_WAY = "on_the_way"
    """Something will still be tried, or waits for its time."""
    IN_QUEUE = "in_queue"
    """Nothing more will be tried; it waits in the person's queue for their next visit."""
    NOT_ADDRESSED = "not_addressed"
    """The person is not among the recipients."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict in a sentence, and the step that it rests on."""

    verdict: Verdict
    sentence: Words
    because: DeliveryView | None
    do: Words


_SENTENCES = {
    Verdict.READ: Words("此人已读", "the person has read it"),
    Verdict.DELIVERED: Words("已送达此人的设备", "it reached the person's device"),
    Verdict.ACCEPTED: Words("渠道已接受，尚无送达回执", "a channel accepted it, and no receipt has come"),
    Verdict.ON_THE_WAY: Words("仍在发送途中", "it is still on its way"),
    Verdict.NOT_ADDRESSED: Words("此人不在收件人之中", "the person is not among the recipients"),
    Verdict.IN_QUEUE: Words(
        "没有渠道送达；消息在此人的队列中等待其下次上线",
        "no channel reached the person; it waits in their queue for their next visit",
    ),
}
_TAKEN = frozenset({DeliveryState.ACCEPTED, DeliveryState.UNKNOWN})


def verdict_of(person: RecipientView) -> Verdict:
    """How it stands with one recipient."""
    if person.read:
        return Verdict.READ
    if person.delivered:
        return Verdict.DELIVERED
    if any(d.state is DeliveryState.ACCEPTED for d in person.deliveries) or person.pushed:
        return Verdict.ACCEPTED
    if any(not d.state.final and d.due_at is not None for d in person.deliveries):
        return Verdict.ON_THE_WAY
    return Verdict.IN_QUEUE


def explain(person: RecipientView | None) -> Explanation:
    """Why this person did or did not get it; None is somebody whom it was not for."""
    if person is None:
        nothing = Words("", "")
        return Explanation(Verdict.NOT_ADDRESSED, _SENTENCES[Verdict.NOT_ADDRESSED], None, nothing)
    verdict = verdict_of(person)
    because = _because(person.deliveries, verdict)
    told = reason_told(because.reason) if because is not None else None
    return Explanation(
        verdict, _sentence(verdict, because, told), because, told.do if told else Words("", "")
    )


def _because(deliveries: Sequence[DeliveryView], verdict: Verdict) -> DeliveryView | None:
    """The step that decided: the one that reached the person, else the last one that did not."""
    ordered = sorted(deliveries, key=lambda delivery: (delivery.hop, delivery.created_at))
    match verdict:
        case Verdict.READ | Verdict.DELIVERED:
            reached = [d for d in ordered if d.state is DeliveryState.DELIVERED or d.read]
            return reached[-1] if reached else None
        case Verdict.ACCEPTED:
            taken = [d for d in ordered if d.state in _TAKEN]
            return taken[-1] if taken else None
        case Verdict.ON_THE_WAY:
            open_ = [d for d in ordered if not d.state.final]
            return open_[-1] if open_ else None
        case Verdict.IN_QUEUE | Verdict.NOT_ADDRESSED:
            return ordered[-1] if ordered else None


def _sentence(verdict: Verdict, because: DeliveryView | None, told: Told | None) -> Words:
    base = _SENTENCES[verdict]
    if because is None:
        return base
    if told is None:
        return Words(f"{base.zh}（{because.channel}）", f"{base.en} ({because.channel})")
    return Words(
        f"{base.zh}（{because.channel}：{told.what.zh}）", f"{base.en} ({because.channel}: {told.what.en})"
    )
