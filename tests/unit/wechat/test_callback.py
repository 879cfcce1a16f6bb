"""A callback is believed only if it is signed, fresh, sealed as agreed and seen for the first time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from hub.channels._wechat.callback import (
    WINDOW,
    Callback,
    CallbackAccount,
    CallbackRefused,
    Refusal,
    check_url,
    open_callback,
)
from hub.channels._wechat.crypto import sign
from hub.channels._wechat.events import TemplateJobFinished
from hub.channels._wechat.memory import CLAIM, CallbackMemory, LocalMemory, Sight
from tests.unit.wechat.callbacks import (
    AES_KEY,
    APPID,
    JOB,
    NOW,
    PLAIN,
    SAFE,
    TOKEN,
    json_event,
    query_of,
    sealed,
    xml_event,
)


def refused(account: CallbackAccount, query: dict[str, str], body: bytes, *, now: datetime = NOW) -> Refusal:
    with pytest.raises(CallbackRefused) as caught:
        open_callback(account, query, body, now=now)
    return caught.value.refusal


def test_the_url_check_is_answered_with_the_echo() -> None:
    assert (
        check_url(PLAIN, {**query_of(), "echostr": "4375120948345356249"}, now=NOW) == "4375120948345356249"
    )
    with pytest.raises(CallbackRefused, match="unsigned"):
        check_url(PLAIN, {**query_of(token="other"), "echostr": "1"}, now=NOW)


def test_a_plain_callback_is_read_and_bound_to_its_signature() -> None:
    callback = open_callback(PLAIN, query_of(), JOB, now=NOW)
    assert isinstance(callback.event, TemplateJobFinished)
    assert callback.signature_key
    other = open_callback(PLAIN, query_of(nonce="1"), JOB, now=NOW)
    assert other.signature_key != callback.signature_key
    assert other.body_digest == callback.body_digest


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "inner", [JOB, json_event("TEMPLATESENDJOBFINISH", MsgID=200163836, Status="success")]
)
def test_a_sealed_callback_is_read_in_every_format(inner: bytes, as_json: bool) -> None:
    text, body = sealed(inner, as_json=as_json)
    callback = open_callback(SAFE, query_of(text), body, now=NOW)
    assert isinstance(callback.event, TemplateJobFinished)
    assert callback.event.msgid == "200163836"
    assert callback.signature_key == ""


def test_in_compatible_mode_only_the_sealed_half_counts() -> None:
    text, body = sealed(JOB)
    both = body.replace(b"<Encrypt>", b"<Event>unsubscribe</Event><MsgType>event</MsgType><Encrypt>")
    assert isinstance(open_callback(SAFE, query_of(text), both, now=NOW).event, TemplateJobFinished)


def test_plain_is_refused_where_sealing_was_agreed() -> None:
    assert refused(SAFE, query_of(), JOB) is Refusal.NOT_SEALED
    assert refused(SAFE, query_of(""), JOB.replace(b"</xml>", b"<Encrypt/></xml>")) is Refusal.NOT_SEALED


def test_the_plain_signature_is_worth_nothing_for_a_sealed_body() -> None:
    text, body = sealed(JOB)
    query = query_of(text)
    assert refused(SAFE, {**query, "msg_signature": query["signature"]}, body) is Refusal.UNSIGNED
    assert refused(SAFE, query_of(), body) is Refusal.UNSIGNED


def test_a_forged_sealed_body_is_not_decrypted() -> None:
    text, _ = sealed(JOB)
    _, other = sealed(xml_event("unsubscribe"))
    assert refused(SAFE, query_of(text), other) is Refusal.UNSIGNED


def test_sealed_for_another_account_or_key() -> None:
    text, body = sealed(JOB, appid="wxother")
    assert refused(SAFE, query_of(text), body) is Refusal.UNDECIPHERABLE
    text, body = sealed(JOB, key="B" * 43)
    assert refused(SAFE, query_of(text), body) is Refusal.UNDECIPHERABLE
    rotating = replace(SAFE, aes_keys=(AES_KEY, "B" * 43))
    assert open_callback(rotating, query_of(text), body, now=NOW).event.origin.openid == "oAnn"


@pytest.mark.parametrize("missing", ["signature", "timestamp", "nonce"])
def test_a_missing_part_is_unsigned(missing: str) -> None:
    query = {name: value for name, value in query_of().items() if name != missing}
    assert refused(PLAIN, query, JOB) is Refusal.UNSIGNED


def test_an_account_without_a_token_believes_nobody() -> None:
    assert refused(CallbackAccount(APPID, ""), query_of(token=""), JOB) is Refusal.UNSIGNED


@pytest.mark.parametrize("off", [WINDOW + timedelta(seconds=1), -WINDOW - timedelta(seconds=1)])
def test_old_and_future_callbacks_are_refused(off: timedelta) -> None:
    assert refused(PLAIN, query_of(at=NOW - off), JOB) is Refusal.STALE
    text, body = sealed(JOB)
    assert refused(SAFE, query_of(text, at=NOW - off), body) is Refusal.STALE


def test_the_window_is_open_on_both_sides() -> None:
    for off in (WINDOW, -WINDOW):
        open_callback(PLAIN, query_of(at=NOW - off), JOB, now=NOW)


@pytest.mark.parametrize("timestamp", ["9" * 200, "-1", "1e9", "١٢٣", " 1"])
def test_a_time_that_is_no_number_is_stale(timestamp: str) -> None:
    query = {"signature": sign(TOKEN, timestamp, "1"), "timestamp": timestamp, "nonce": "1"}
    assert refused(PLAIN, query, JOB) is Refusal.STALE


def test_oversize_is_refused_before_anything_else() -> None:
    assert refused(PLAIN, {}, b"<" * 10_000_000) is Refusal.OVERSIZE
    assert refused(PLAIN, {**query_of(), "nonce": "1" * 10_000}, JOB) is Refusal.OVERSIZE


@pytest.mark.parametrize("body", [JOB[:-5], b"", b"{}", b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><xml/>'])
def test_a_signed_body_that_cannot_be_read(body: bytes) -> None:
    assert refused(PLAIN, query_of(), body) is Refusal.UNREADABLE
    assert refused(SAFE, query_of(), body) in (Refusal.UNREADABLE, Refusal.NOT_SEALED)
    text, outer = sealed(body)
    assert refused(SAFE, query_of(text), outer) is Refusal.UNREADABLE


def test_secrets_do_not_show() -> None:
    assert AES_KEY not in repr(SAFE)
    assert TOKEN not in repr(SAFE).replace(APPID, "")


def plain_callback(body: bytes = JOB, nonce: str = "4242") -> Callback:
    return open_callback(PLAIN, query_of(nonce=nonce), body, now=NOW)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_an_event_is_new_once() -> None:
    memory = CallbackMemory(LocalMemory())
    assert await memory.sight(plain_callback()) is Sight.NEW
    assert await memory.sight(plain_callback()) is Sight.SEEN
    assert await memory.sight(plain_callback(nonce="resigned")) is Sight.SEEN


async def test_a_used_signature_does_not_carry_another_body() -> None:
    memory = CallbackMemory(LocalMemory())
    assert await memory.sight(plain_callback()) is Sight.NEW
    assert await memory.sight(plain_callback(xml_event("unsubscribe"))) is Sight.FORGED


async def test_what_failed_is_new_again() -> None:
    memory = CallbackMemory(LocalMemory())
    await memory.sight(plain_callback())
    await memory.forget(plain_callback())
    assert await memory.sight(plain_callback()) is Sight.NEW


async def test_who_dies_while_acting_holds_an_event_for_less_than_wechat_waits() -> None:
    clock = Clock()
    memory = CallbackMemory(LocalMemory(clock=clock))
    await memory.sight(plain_callback())
    clock.now = CLAIM.total_seconds() + 0.1
    assert clock.now < 5
    assert await memory.sight(plain_callback()) is Sight.NEW
    await memory.done(plain_callback())
    clock.now += 86_000
    assert await memory.sight(plain_callback()) is Sight.SEEN
    clock.now += 1_000
    assert await memory.sight(plain_callback()) is Sight.NEW


async def test_a_local_memory_is_bounded() -> None:
    memory = LocalMemory(size=2)
    for key in "abc":
        assert await memory.remember(key, "1", timedelta(minutes=1)) is None
    assert await memory.remember("c", "2", timedelta(minutes=1)) == "1"
    assert await memory.remember("a", "2", timedelta(minutes=1)) is None


async def test_what_is_kept_can_be_recalled_until_its_time_is_up() -> None:
    now = 0.0
    memory = LocalMemory(clock=lambda: now)
    assert await memory.recall("k") is None
    await memory.keep("k", "v", timedelta(seconds=5))
    assert await memory.recall("k") == "v"
    now = 5.0
    assert await memory.recall("k") is None
