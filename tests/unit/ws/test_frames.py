"""Server frames: encoded once, stamped for each recipient, cut to size."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.channels.ws import codes
from hub.channels.ws.frames import (
    Stamp,
    bye_frame,
    encode,
    error_frame,
    history_batch,
    message_frame,
    named_presence,
    refused_of,
    stamp,
    stamped,
    sync_batch,
)
from hub.channels.ws.requests import KNOWN
from hub.channels.ws.wire import ws_frame
from hub.core.errors import NotFound, Unavailable
from hub.core.message import (
    AppId,
    ConversationId,
    Entry,
    HistoryPage,
    Message,
    MessageId,
    NotificationId,
    Page,
    Published,
    UserKey,
)

AT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def a_message(seq: int = 7, body: str = '{"text":"50 % 语"}', **more: Any) -> Message:
    return Message(
        MessageId(f"msg_{seq}"), AppId("app"), ConversationId("cnv"), seq, UserKey(1), "alice", "text", body, AT,
        **more,
    )  # fmt: skip


def payload(frame: bytes) -> Any:
    """The JSON of an unmasked text frame."""
    start = {126: 4, 127: 10}.get(frame[1], 2)
    return json.loads(frame[start:])


def test_a_message_is_encoded_once_with_everybodys_number() -> None:
    entries = (Entry(UserKey(1), 12, MessageId("msg_7")), Entry(UserKey(2), 340, MessageId("msg_7")))
    parcel = encode(Published(a_message(), entries))
    assert parcel.users == [(1, 12), (2, 340)]
    assert (parcel.conversation, parcel.seq, parcel.grew) == ("cnv", 7, False)
    assert payload(stamped(parcel.rest, 340)) == {
        "type": "message",
        "q": 340,
        "id": "msg_7",
        "conversation": "cnv",
        "seq": 7,
        "sender": "alice",
        "kind": "text",
        "body": {"text": "50 % 语"},
        "at": "2026-03-01T09:00:00Z",
    }


def test_what_a_message_may_have_besides() -> None:
    message = a_message(
        client_msg_id="c1",
        mentions=("bob",),
        notification=NotificationId("ntf_1"),
        expires_at=AT + timedelta(hours=1),
    )
    frame = payload(message_frame(1, message))
    assert frame["client_msg_id"] == "c1"
    assert frame["mentions"] == ["bob"]
    assert frame["notification"] == "ntf_1"
    assert frame["expires_at"] == "2026-03-01T10:00:00Z"


def test_a_closed_number_is_a_tombstone() -> None:
    frame = payload(message_frame(9, None))
    assert (frame["q"], frame["kind"], frame["id"], frame["body"]) == (9, "tombstone", None, None)


def test_growth_of_a_read_diffused_conversation_is_one_frame_for_all() -> None:
    parcel = encode(Published(a_message(), grew=True))
    assert json.loads(parcel.rest) == {"type": "grew", "conversation": "cnv", "seq": 7}
    assert (parcel.users, parcel.grew) == ([], True)


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=20), st.integers(0, 70_000))
def test_every_way_of_stamping_gives_the_same_bytes(numbers: list[int], size: int) -> None:
    rest = b',"body":"%d %%' + b"x" * size + b'"}'
    many = Stamp(rest)
    for q in numbers:
        whole = ws_frame(b'{"type":"message","q":%d' % q + rest)
        assert many.frame(q) == stamped(rest, q) == stamp(rest, 1)(q) == stamp(rest, 99)(q) == whole


def test_a_page_is_cut_where_its_bodies_are_too_many_bytes() -> None:
    messages = [a_message(seq, body='"' + "x" * 1_000 + '"') for seq in range(1, 11)]
    entries = tuple((Entry(UserKey(1), m.seq, m.id), m) for m in messages)
    whole = json.loads(sync_batch("s", Page(entries, next=10, more=False), most_bytes=100_000))
    assert [e["q"] for e in whole["entries"]] == list(range(1, 11))
    assert (whole["id"], whole["next"], whole["more"]) == ("s", 10, False)
    part = json.loads(sync_batch("s", Page(entries, next=10, more=False), most_bytes=3_500))
    assert [e["q"] for e in part["entries"]] == [1, 2, 3]
    assert (part["next"], part["more"]) == (3, True)
    one = json.loads(sync_batch("s", Page(entries, next=10, more=False), most_bytes=10))
    assert ([e["q"] for e in one["entries"]], one["next"]) == ([1], 1)


def test_a_page_of_history_loses_the_end_that_is_farther() -> None:
    messages = tuple(a_message(seq, body='"' + "x" * 1_000 + '"') for seq in range(11, 21))
    page = HistoryPage(messages, more=False, low=11, high=20)
    back = json.loads(history_batch(1, "cnv", page, newest_first=True, most_bytes=3_500))
    assert [e["seq"] for e in back["entries"]] == [18, 19, 20]
    assert (back["low"], back["high"], back["more"]) == (18, 20, True)
    ahead = json.loads(history_batch(1, "cnv", page, newest_first=False, most_bytes=3_500))
    assert [e["seq"] for e in ahead["entries"]] == [11, 12, 13]
    assert (ahead["low"], ahead["high"], ahead["more"]) == (11, 13, True)
    whole = json.loads(history_batch(1, "cnv", page, newest_first=True, most_bytes=10**6))
    assert [e["seq"] for e in whole["entries"]] == list(range(11, 21))
    assert "gap" not in whole
    assert "q" not in whole["entries"][0]


def test_a_gap_in_history_is_told() -> None:
    page = HistoryPage((a_message(1),), more=False, gap=(2, 4), low=1, high=1)
    assert json.loads(history_batch(1, "cnv", page, newest_first=False, most_bytes=10**6))["gap"] == [2, 4]


def test_errors_say_whether_to_try_again() -> None:
    assert json.loads(error_frame("r", NotFound("conversation_not_found", "no"))) == {
        "type": "error",
        "code": "conversation_not_found",
        "detail": "no",
        "retryable": False,
        "id": "r",
    }
    away = json.loads(error_frame(None, Unavailable("store_away", "no", retry_after=timedelta(seconds=3))))
    assert (away["retryable"], away["retry_after_s"]) == (True, 3.0)
    assert "id" not in away


def test_a_bye_says_whether_to_come_back() -> None:
    assert json.loads(bye_frame(codes.DRAINING, retry_after_s=1.5)) == {
        "type": "bye",
        "code": 1012,
        "reason": "draining",
        "reconnect": True,
        "retry_after_s": 1.5,
    }
    assert json.loads(bye_frame(codes.REPLACED))["reconnect"] is False


def test_reasons_and_their_codes_are_one_to_one_but_for_bad_tokens() -> None:
    reasons = [parting.reason for parting in codes.PARTINGS]
    assert len(set(reasons)) == len(reasons)
    shared = [parting for parting in codes.PARTINGS if parting.code == 4401]
    assert {parting.reason for parting in shared} == {"token_invalid", "token_revoked"}
    for parting in codes.PARTINGS:
        same = {other.reconnect for other in codes.PARTINGS if other.code == parting.code}
        assert len(same) == 1, "a client that missed the bye goes by the code"


def test_presence_of_who_may_not_be_told_of_is_refused_by_name() -> None:
    names = {"bob": UserKey(2)}
    assert named_presence(names, {UserKey(2): {"online": True}}) == {"bob": {"online": True}}
    assert named_presence(names, {}) == {"bob": {"online": False}}
    assert refused_of(["bob", "eve"], names) == ["eve"]


def test_the_documentation_names_every_code() -> None:
    text = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
    rows = {tuple(cell.strip() for cell in line.split("|")[1:4]) for line in text.splitlines() if "|" in line}
    for parting in codes.PARTINGS:
        (row,) = [row for row in rows if row[0] == str(parting.code)]
        assert f"`{parting.reason}`" in row[1]
        assert row[2] == ("yes" if parting.reconnect else "no")
    for code in codes.ErrorCode:
        assert f"`{code}`" in text
    for name in KNOWN:
        assert f"`{name}`" in text
