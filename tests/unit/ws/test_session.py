"""The session: what each frame asks for, and an order that no history can break."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from hub.channels.ws import codes
from hub.channels.ws.requests import Hello, Ping, Send, Typing
from hub.channels.ws.session import (
    Acknowledge,
    Finish,
    Greet,
    Perform,
    Phase,
    Reply,
    Rules,
    Session,
)

RULES = Rules(frames_per_second=100, body_bytes=1_000, in_flight=4)
HELLO = b'{"type":"hello","id":"h","token":"t","device":{"id":"d","platform":"web"}}'


def send(body: str = '{"text":"hi"}', request: object = 1) -> bytes:
    return (
        f'{{"type":"send","id":{json.dumps(request)},"to":{{"user":"u"}},'
        f'"client_msg_id":"m","kind":"text","body":{body}}}'
    ).encode()


def live(*, cursor: int = 0, rules: Rules = RULES) -> Session:
    """A session that has caught up."""
    session = Session(rules, now=0.0)
    assert isinstance(session.receive(HELLO, now=0.0), Greet)
    session.begin(cursor=cursor, head=cursor)
    assert not session.settle()
    return session


def error_of(decision: object) -> Any:
    """The error frame in a reply."""
    assert isinstance(decision, Reply)
    frame = json.loads(decision.payload)
    assert frame["type"] == "error"
    return frame


def test_hello_comes_first() -> None:
    session = Session(RULES, now=0.0)
    greet = session.receive(HELLO, now=0.0)
    assert isinstance(greet, Greet)
    assert isinstance(greet.hello, Hello)
    assert session.phase is Phase.GREETING


@pytest.mark.parametrize("data", [send(), b'{"type":"ping","id":1}', b'{"type":"ack","seq":1}', b"{", b"[]"])
def test_anything_else_first_ends_the_session(data: bytes) -> None:
    finish = Session(RULES, now=0.0).receive(data, now=0.0)
    assert isinstance(finish, Finish)
    assert finish.parting is codes.BAD_REQUEST
    assert finish.payload is not None
    assert json.loads(finish.payload)["code"] == "bad_request"


def test_a_client_may_leave_at_any_time() -> None:
    for session in (Session(RULES, now=0.0), live()):
        assert session.receive(b'{"type":"bye"}', now=0.0) == Finish(codes.NORMAL)
        assert session.phase is Phase.LEAVING


def test_requests_are_performed_up_to_a_number() -> None:
    session = live()
    for _ in range(RULES.in_flight):
        assert isinstance(session.receive(b'{"type":"ping","id":1}', now=0.0), Perform)
    refused = error_of(session.receive(send(request="late"), now=0.0))
    assert (refused["code"], refused["id"], refused["retryable"]) == ("too_many_requests", "late", True)
    session.done()
    perform = session.receive(send(), now=0.0)
    assert isinstance(perform, Perform)
    assert isinstance(perform.request, Send)
    assert session.waiting == RULES.in_flight


def test_frames_without_an_answer_are_requests_too() -> None:
    session = live()
    for frame in (b'{"type":"typing","conversation":"c"}', b'{"type":"read","conversation":"c","seq":1}'):
        assert isinstance(session.receive(frame, now=0.0), Perform)
    assert session.waiting == 2


def test_a_body_has_bounds() -> None:
    session = live()
    long = error_of(session.receive(send('"' + "x" * 1_000 + '"'), now=0.0))
    assert (long["code"], long["id"]) == ("too_large", 1)
    assert isinstance(session.receive(send('"' + "x" * 998 + '"'), now=1.0), Perform)
    deep = error_of(session.receive(send('{"a":' * 70 + "1" + "}" * 70), now=2.0))
    assert deep["code"] == "too_large"


def test_a_second_hello_is_refused_and_the_session_lives() -> None:
    session = live()
    assert error_of(session.receive(HELLO, now=0.0))["code"] == "already_greeted"
    assert session.phase is Phase.LIVE


def test_garbage_is_answered_until_it_is_too_much() -> None:
    session = live()
    for _ in range(16):
        assert error_of(session.receive(b"?", now=0.0))["code"] == "bad_request"
    last = session.receive(b"?", now=0.0)
    assert isinstance(last, Finish)
    assert last.parting is codes.BAD_REQUEST


def test_garbage_now_and_then_is_forgiven() -> None:
    session = live()
    for at in range(100):
        error_of(session.receive(b"?", now=float(at)))
        session.receive(b'{"type":"ack","seq":0}', now=float(at))
    assert session.phase is Phase.LIVE


def test_a_flood_is_limited_then_ended() -> None:
    session = live()
    answers = [session.receive(b'{"type":"ack","seq":0}', now=0.0) for _ in range(205)]
    assert answers[98] is None
    limited = error_of(answers[120])
    assert (limited["code"], limited["retryable"]) == ("rate_limited", True)
    assert limited["retry_after_s"] > 0
    endings = [answer for answer in answers if isinstance(answer, Finish)]
    assert endings[0].parting is codes.RATE_LIMITED
    assert endings[0].retry_after_s is not None


def test_a_limited_request_is_named_and_tokens_come_back() -> None:
    session = live()
    for _ in range(100):
        session.receive(b'{"type":"ack","seq":0}', now=0.0)
    assert error_of(session.receive(send(request="q"), now=0.0))["id"] == "q"
    assert isinstance(session.receive(send(), now=1.0), Perform)


def test_large_frames_cost_more() -> None:
    session = live(rules=Rules(frames_per_second=10, body_bytes=100_000))
    assert isinstance(session.receive(send('"' + "x" * 30_000 + '"'), now=0.0), Perform)
    assert error_of(session.receive(send('"' + "x" * 30_000 + '"'), now=0.0))["code"] == "rate_limited"


def test_control_frames_are_paid_for_too() -> None:
    session = live()
    for _ in range(98):
        session.spend(0.0)
    assert session.spend(0.0) is None
    assert session.spend(0.0) is True
    for _ in range(99):
        session.spend(0.0)
    assert isinstance(session.spend(0.0), Finish)


def test_acks_move_forward_once_and_not_past_what_was_sent() -> None:
    session = live(cursor=10)
    assert session.receive(b'{"type":"ack","seq":10}', now=0.0) is None
    assert session.offer(11)
    assert session.receive(b'{"type":"ack","seq":11}', now=0.0) == Acknowledge(11)
    assert session.receive(b'{"type":"ack","seq":11}', now=0.0) is None
    assert session.receive(b'{"type":"ack","seq":5}', now=0.0) is None
    assert error_of(session.receive(b'{"type":"ack","seq":12}', now=0.0))["code"] == "ack_beyond_sent"
    assert session.acked_q == 11


def test_who_leaves_is_pushed_nothing_and_told_to_repeat_elsewhere() -> None:
    session = live()
    session.leave()
    assert not session.offer(1)
    refused = error_of(session.receive(send(request="again"), now=0.0))
    assert (refused["code"], refused["id"], refused["retryable"]) == ("draining", "again", True)
    assert "id" not in error_of(session.receive(b'{"type":"typing","conversation":"c"}', now=0.0))
    session.sent_q = 1
    assert session.receive(b'{"type":"ack","seq":1}', now=0.0) == Acknowledge(1)


def test_the_next_number_is_written_and_no_other() -> None:
    session = live(cursor=5)
    assert session.offer(6)
    assert not session.offer(6)
    assert not session.offer(3)
    assert not session.behind
    assert not session.offer(8)
    assert session.behind
    assert session.offer(7)
    assert session.behind


def test_nothing_is_pushed_before_the_first_recovery_is_over() -> None:
    session = Session(RULES, now=0.0)
    session.receive(HELLO, now=0.0)
    assert not session.offer(4)
    session.begin(cursor=2, head=3)
    assert not session.offer(3)
    assert session.replay(3)
    assert session.settle(), "4 came while nobody could write it"
    assert session.recover()
    assert not session.recover()
    assert not session.offer(4)
    assert session.replay(4)
    assert not session.settle()
    assert session.offer(5)


def test_a_full_socket_is_pushed_nothing() -> None:
    session = live()
    session.pause()
    assert session.paused
    assert not session.hears
    assert not session.offer(1)
    assert not session.recover()
    assert session.resume()
    assert session.recover()
    session.pause()
    assert not session.replay(1)
    assert session.settle()
    assert not session.flowing
    assert session.resume()


def test_a_rebase_continues_after_the_head() -> None:
    session = Session(RULES, now=0.0)
    session.receive(HELLO, now=0.0)
    session.begin(cursor=100, head=40)
    session.rebase(40)
    assert not session.settle()
    assert session.offer(41)
    assert session.receive(b'{"type":"ack","seq":41}', now=0.0) == Acknowledge(41)


def test_what_never_comes_is_given_up_and_found_again() -> None:
    session = live()
    session.heard_head(3)
    assert session.behind
    session.give_up()
    assert not session.behind
    session.heard_head(2)
    assert session.behind


def test_typing_and_ping_are_told_apart() -> None:
    session = live()
    typing = session.receive(b'{"type":"typing","conversation":"c"}', now=0.0)
    ping = session.receive(b'{"type":"ping","id":"p"}', now=0.0)
    assert isinstance(typing, Perform)
    assert isinstance(typing.request, Typing)
    assert isinstance(ping, Perform)
    assert isinstance(ping.request, Ping)


class Client:
    """Applies what it is sent, and knows what it has seen over all its connections."""

    def __init__(self) -> None:
        self.cursor = 0
        self.seen: list[int] = []
        self.here: list[int] = []
        """On this connection."""

    def receive(self, q: int) -> None:
        self.here.append(q)
        if q == self.cursor + 1:
            self.cursor = q
            self.seen.append(q)


class Histories(RuleBasedStateMachine):
    """Commits, parcels in any order, lost or repeated; recovery interrupted anywhere; full sockets; reconnects."""

    parcels = Bundle("parcels")

    def __init__(self) -> None:
        super().__init__()
        self.head = 0
        self.client = Client()
        self.connect(0)

    def connect(self, cursor: int) -> None:
        self.session = Session(RULES, now=0.0)
        self.session.receive(HELLO, now=0.0)
        self.begun = False
        self.cursor = cursor
        self.client.here = []

    @rule(target=parcels)
    def commit(self) -> int:
        self.head += 1
        return self.head

    @rule(q=parcels)
    def a_parcel_comes(self, q: int) -> None:
        if self.session.offer(q):
            self.client.receive(q)

    @rule(q=consumes(parcels))
    def a_parcel_is_lost(self, q: int) -> None:
        pass

    @precondition(lambda self: not self.begun)
    @rule(stale=st.integers(0, 3))
    def welcome(self, stale: int) -> None:
        self.session.begin(cursor=self.cursor, head=max(0, self.head - stale))
        self.begun = True

    @precondition(lambda self: self.begun and self.session.recovering)
    @rule(page=st.integers(1, 4))
    def a_page_is_read(self, page: int) -> None:
        after = self.session.sent_q
        for q in range(after + 1, min(after + page, self.head) + 1):
            if not self.session.replay(q):
                break
            self.client.receive(q)

    @precondition(lambda self: self.begun and self.session.recovering)
    @rule()
    def recovery_ends_early_or_not(self) -> None:
        self.session.settle()

    @precondition(lambda self: self.begun and self.session.behind)
    @rule()
    def recovery_starts(self) -> None:
        self.session.recover()

    @precondition(lambda self: self.begun)
    @rule()
    def a_heartbeat_tells_the_head(self) -> None:
        self.session.heard_head(self.head)

    @rule()
    def the_socket_is_full(self) -> None:
        self.session.pause()

    @rule()
    def the_socket_drains(self) -> None:
        self.session.resume()

    @rule(seq=st.integers(0, 40))
    def ack(self, seq: int) -> None:
        if self.session.phase is not Phase.LIVE:
            return
        before = self.session.acked_q
        decision = self.session.receive(b'{"type":"ack","seq":%d}' % seq, now=1e9)
        if seq > self.session.sent_q:
            assert isinstance(decision, Reply)
        elif seq > before:
            assert decision == Acknowledge(seq)
        else:
            assert decision is None

    @rule(lost=st.integers(0, 3))
    def reconnect(self, lost: int) -> None:
        """The client comes back with its cursor, or (restored from a back-up) an older one."""
        self.client.cursor = max(0, self.client.cursor - lost)
        del self.client.seen[self.client.cursor :]
        self.connect(self.client.cursor)

    @invariant()
    def each_number_once_and_without_gaps(self) -> None:
        assert self.client.here == list(range(self.cursor + 1, self.cursor + 1 + len(self.client.here)))
        assert self.client.seen == list(range(1, self.client.cursor + 1))
        if self.begun:
            assert self.session.sent_q == self.cursor + len(self.client.here)

    def teardown(self) -> None:
        """Whatever happened, a heartbeat and one undisturbed recovery bring everything."""
        if not self.begun:
            self.welcome(0)
        self.session.resume()
        self.session.heard_head(self.head)
        if not self.session.recovering:
            self.session.recover()
        if self.session.recovering:
            self.a_page_is_read(self.head + 1)
            assert not self.session.settle()
        assert self.client.cursor == self.head
        assert self.session.offer(self.head + 1)


TestHistories = Histories.TestCase
