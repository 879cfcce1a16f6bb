"""Schemas of the delivery story: every step, try and receipt with its meaning in plain Chinese and English."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from hub.api.schemas import Shown, example
from hub.api.schemas_deliveries import DELIVERY, AttemptShown, DeliveryEventShown, DeliveryShown
from hub.core.story import Verdict

_OFFLINE: Final[dict[str, Any]] = {
    "what": {"zh": "用户当时不在线", "en": "the user was offline"},
    "do": {"zh": "", "en": ""},
}
_TRY: Final[dict[str, Any]] = {
    "number": 1,
    "started_at": "2026-03-01T01:12:00Z",
    "finished_at": "2026-03-01T01:12:01Z",
    "outcome": "rejected",
    "reason": "unsubscribed",
    "provider_id": None,
    "detail": "errcode 43004: require subscribe",
    "code": "43004",
    "meaning": {
        "what": {"zh": "接收者没有关注公众号", "en": "the recipient does not follow the account"},
        "do": {"zh": "请用户关注", "en": "ask the user to follow"},
    },
}
STEP: Final[dict[str, Any]] = {
    **DELIVERY,
    "state_words": {"zh": "已送达", "en": "delivered"},
    "meaning": None,
    "events": [
        {
            "version": 0,
            "at": "2026-03-01T01:12:00Z",
            "state": "queued",
            "reason": None,
            "words": {"zh": "排队中", "en": "in the queue"},
        }
    ],
    "tries": [_TRY],
}


class WordsShown(Shown):
    """The same in Chinese and English."""

    zh: str
    en: str


class MeaningShown(Shown):
    """What a code means and what to do about it; `do` is empty where there is nothing to do."""

    what: WordsShown
    do: WordsShown


class TryShown(AttemptShown):
    """One try, with the provider's own code and words, and their meaning where it is known."""

    code: str = Field(description="The provider's own code, such as WeChat's errcode.")
    meaning: MeaningShown | None


class StepEventShown(DeliveryEventShown):
    """A state that a step has been in."""

    words: WordsShown


class StepShown(DeliveryShown):
    """One step of the way to one person, with everything that happened to it."""

    model_config = example(STEP, title="DeliveryStep")

    state_words: WordsShown
    meaning: MeaningShown | None = Field(description="Of the reason, if there is one.")
    events: list[StepEventShown]
    tries: list[TryShown]


class ExplanationShown(Shown):
    """Why a person did or did not get something."""

    model_config = example(
        {
            "message": "msg_0195a1",
            "user_id": "u_1024",
            "verdict": "in_queue",
            "sentence": {
                "zh": "没有渠道送达；消息在此人的队列中等待其下次上线（ws：用户当时不在线）",
                "en": "no channel reached the person; it waits in their queue for their next visit "
                "(ws: the user was offline)",
            },
            "do": {"zh": "", "en": ""},
            "queue_seq": 42,
            "steps": [{**STEP, "state": "skipped", "reason": "offline", "meaning": _OFFLINE}],
        },
        title="Explanation",
    )

    message: str
    user_id: str
    verdict: Verdict
    sentence: WordsShown
    do: WordsShown = Field(description="What would help; empty where nothing needs to be done.")
    queue_seq: int | None = Field(description="Its number in the person's queue.")
    steps: list[StepShown]
