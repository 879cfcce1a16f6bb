"""Why somebody did or did not get something."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hub.core.delivery import DeliveryId, DeliveryState
from hub.core.message import MessageId, NotificationId
from hub.core.outcome import Reason
from hub.core.records import DeliveryView, RecipientView
from hub.core.story import Verdict, explain
from hub.core.words import reason_told, state_told

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def step(
    hop: int, channel: str, state: DeliveryState, reason: Reason | None = None, *, due: bool = False
) -> DeliveryView:
    return DeliveryView(
        id=DeliveryId(f"dlv_{hop}"),
        notification=NotificationId("ntf_1"),
        message=MessageId("msg_1"),
        user_id="u",
        hop=hop,
        channel=channel,
        state=state,
        reason=None if reason is None else reason.value,
        attempts=1,
        provider_id=None,
        read=False,
        created_at=NOW,
        due_at=NOW if due else None,
        expires_at=None,
    )


def person(*steps: DeliveryView) -> RecipientView:
    return RecipientView("u", 7, pushed=False, delivered=False, read=False, deliveries=steps)


OFFLINE = step(0, "ws", DeliveryState.SKIPPED, Reason.OFFLINE)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_words_in_both_languages(reason: Reason) -> None:
    told = reason_told(reason.value)
    assert told is not None
    assert told.what.zh
    assert told.what.en
    assert bool(told.do.zh) == bool(told.do.en)


@pytest.mark.parametrize("state", list(DeliveryState))
def test_every_state_has_words(state: DeliveryState) -> None:
    assert state_told(state.value).zh != state.value


def test_a_word_of_another_version_is_no_error() -> None:
    assert reason_told("moon_phase") is None
    assert state_told("dreaming").en == "dreaming"


def test_nobody_reached_names_the_last_step_and_what_to_do() -> None:
    found = explain(person(OFFLINE, step(1, "wechat_mp", DeliveryState.SKIPPED, Reason.NOT_BOUND)))
    assert found.verdict is Verdict.IN_QUEUE
    assert found.because is not None
    assert found.because.channel == "wechat_mp"
    assert "not bound" in found.sentence.en
    assert "绑定" in found.sentence.zh
    assert found.do.en


def test_what_waits_for_its_time_is_on_the_way() -> None:
    waiting = step(1, "wechat_mp", DeliveryState.WAITING, Reason.QUIET_HOURS, due=True)
    found = explain(person(OFFLINE, waiting))
    assert found.verdict is Verdict.ON_THE_WAY
    assert "quiet hours" in found.sentence.en


def test_accepted_is_not_called_delivered() -> None:
    found = explain(person(OFFLINE, step(1, "wechat_mp", DeliveryState.ACCEPTED)))
    assert found.verdict is Verdict.ACCEPTED


def test_a_read_message_was_read_whatever_the_channels_said() -> None:
    failed = step(1, "wechat_mp", DeliveryState.FAILED, Reason.AUTH_FAILED)
    assert explain(replace(person(OFFLINE, failed), delivered=True, read=True)).verdict is Verdict.READ


def test_without_any_step_there_is_still_a_sentence() -> None:
    assert explain(person()).verdict is Verdict.IN_QUEUE
    assert explain(replace(person(), delivered=True)).verdict is Verdict.DELIVERED
