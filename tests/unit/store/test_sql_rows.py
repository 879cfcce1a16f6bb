"""What is kept as JSON or as a word comes back as the value that it was."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hub.core.delivery import Attempt, DeliveryId
from hub.core.message import AppId, ConversationId, Entry, Message, MessageId, Published, UserKey
from hub.core.outcome import Accepted, Delivered, Outcome, Reason, Rejected, Retry, Unknown
from hub.store.sql_rows import DETAIL_LIMIT, attempt_values, published_of, refs_from, refs_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def published(id_: str, *entries: Entry, grew: bool = False) -> Published:
    message = Message(MessageId(id_), AppId("a"), ConversationId("c"), 1, UserKey(1), "u1", "text", "{}", NOW)
    return Published(message, entries, grew=grew)


def test_what_was_published_is_put_together_again() -> None:
    one = published("m1", Entry(UserKey(1), 5, MessageId("m1"), 9), Entry(UserKey(2), 6, MessageId("m1")))
    two = published("m2", grew=True)
    gone = published("m3", Entry(UserKey(1), 7, MessageId("m3")))
    refs = refs_from(refs_of((one, two, gone)))
    assert published_of(refs, {p.message.id: p.message for p in (one, two)}) == [one, two]


@pytest.mark.parametrize(
    ("outcome", "word", "reason", "provider_id"),
    [
        (None, None, None, None),
        (Delivered("p", "ok"), "delivered", None, "p"),
        (Accepted("p"), "accepted", None, "p"),
        (Retry(Reason.PROVIDER_DOWN), "retry", "provider_down", None),
        (Rejected(Reason.UNSUBSCRIBED), "rejected", "unsubscribed", None),
        (Unknown(Reason.TIMED_OUT), "unknown", "timed_out", None),
    ],
)
def test_every_outcome_has_a_row(
    outcome: Outcome | None, word: str | None, reason: str | None, provider_id: str | None
) -> None:
    row = attempt_values(Attempt(DeliveryId("d"), 2, NOW, NOW, outcome))
    assert row[0:2] == ("d", 2)
    assert row[4:7] == (word, reason, provider_id)


def test_a_providers_long_story_is_cut() -> None:
    row = attempt_values(Attempt(DeliveryId("d"), 1, NOW, NOW, Delivered(None, "字" * 1_000)))
    assert len(row[7]) == DETAIL_LIMIT
