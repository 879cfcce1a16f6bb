"""One connection's conversation with the hub, without I/O: what each frame asks for, and which entry may be
written next.

    AWAITING_HELLO ── hello ──> GREETING ── begin() ──> LIVE ── leave() ──> LEAVING

Order is kept by one rule: `sent_q` is the last number written, and only `sent_q + 1` may be written. Anything
earlier is a duplicate, which is ordinary; anything later is held back and makes the session `behind` until it
has been read from the queue. So a client sees each number once per connection, without gaps, whatever the order,
loss or repetition on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

from hub.channels.ws import codes
from hub.channels.ws.chat_requests import ChatFrame, Edit
from hub.channels.ws.codes import ErrorCode, Parting
from hub.channels.ws.frames import Error, encode_frame
from hub.channels.ws.requests import (
    Ack,
    Action,
    Bye,
    ClientFrame,
    Conversations,
    Hello,
    History,
    Malformed,
    Ping,
    Read,
    Send,
    Sync,
    Typing,
    Watch,
    content_fault,
    decode,
    peek_id,
)

if TYPE_CHECKING:
    from hub.settings import Settings

_BYTES_PER_TOKEN: Final = 4_096
_FAULTS: Final = 16

Request: TypeAlias = Send | Sync | History | Conversations | Read | Typing | Watch | Ping | Action | ChatFrame


class Phase(Enum):
    """Where the session is."""

    AWAITING_HELLO = auto()
    GREETING = auto()
    LIVE = auto()
    LEAVING = auto()


@dataclass(frozen=True, slots=True)
class Rules:
    """The bounds of every session of a node."""

    frames_per_second: int
    body_bytes: int
    in_flight: int = 64

    @staticmethod
    def of(settings: Settings) -> Rules:
        """As configured."""
        return Rules(frames_per_second=settings.frames_per_second, body_bytes=settings.body_max_bytes)


@dataclass(frozen=True, slots=True)
class Greet:
    """Authenticate; nothing more is fed until begin()."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class Perform:
    """Do this; call done() when it is."""

    request: Request


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The device's cursor moves to `seq`."""

    seq: int


@dataclass(frozen=True, slots=True)
class Reply:
    """Write this payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """Write the payload, if any, then say bye and close."""

    parting: Parting
    payload: bytes | None = None
    retry_after_s: float | None = None


Decision: TypeAlias = Greet | Perform | Acknowledge | Reply | Finish | None


class Session:
    """The state of one connection. Time is an argument (monotonic seconds)."""

    __slots__ = (
        "_faults",
        "_paused",
        "_requests",
        "_rules",
        "_stamp",
        "_tokens",
        "acked_q",
        "flowing",
        "hint",
        "phase",
        "recovering",
        "seen_q",
        "sent_q",
        "told_q",
    )

    def __init__(self, rules: Rules, *, now: float) -> None:
        self.phase = Phase.AWAITING_HELLO
        self.sent_q = 0
        self.seen_q = 0
        self.acked_q = 0
        self.flowing = False
        """Whether the next number may be written as it comes."""
        self.recovering = False
        self.hint = False
        """Whether the client only hears that there is news, and pulls. `sent_q` is then how far it has pulled."""
        self.told_q = 0
        """In hint mode: the head in the last `news`. It is unanswered while the client has not pulled that far."""
        self._paused = False
        self._rules = rules
        self._requests = 0
        self._faults = 0
        self._tokens = float(rules.frames_per_second)
        self._stamp = now

    # What the client says

    def receive(self, data: bytes, *, now: float) -> Decision:
        """What to do about a text frame, which is valid UTF-8."""
        over = self.spend(now, cost=1 + len(data) // _BYTES_PER_TOKEN)
        if over is not None:
            return over if isinstance(over, Finish) else self._limited(data)
        try:
            frame = decode(data)
        except Malformed as error:
            return self._fault(error)
        if self.phase is Phase.AWAITING_HELLO:
            return self._greet(frame)
        return self._decide(frame)

    def spend(self, now: float, *, cost: int = 1) -> Finish | bool | None:
        """Pay for a frame from the token bucket: None where it was paid for, True where it must be refused, and
        Finish for who goes on regardless."""
        rate = self._rules.frames_per_second
        tokens = min(float(rate), self._tokens + (now - self._stamp) * rate) - cost
        self._tokens, self._stamp = tokens, now
        if tokens >= 0:
            return None
        if tokens < -rate:
            self.leave()
            return Finish(codes.RATE_LIMITED, retry_after_s=5.0)
        return True

    def _limited(self, data: bytes) -> Reply:
        after = round(max(0.1, -self._tokens / self._rules.frames_per_second), 1)
        detail = f"more than {self._rules.frames_per_second} frames a second (4 KiB count as one)"
        return _error(ErrorCode.RATE_LIMITED, detail, peek_id(data), retry_after_s=after)

    def _fault(self, error: Malformed) -> Reply | Finish:
        reply = _error(error.code, error.detail, error.id)
        self._faults += 1
        if self.phase is Phase.AWAITING_HELLO or self._faults > _FAULTS:
            self.leave()
            return Finish(codes.BAD_REQUEST, reply.payload)
        return reply

    def _greet(self, frame: ClientFrame) -> Greet | Finish:
        if isinstance(frame, Hello):
            self.phase = Phase.GREETING
            return Greet(frame)
        self.leave()
        if isinstance(frame, Bye):
            return Finish(codes.NORMAL)
        request = getattr(frame, "id", None)
        return Finish(
            codes.BAD_REQUEST,
            _error(ErrorCode.BAD_REQUEST, "the first frame must be `hello`", request).payload,
        )

    def _decide(self, frame: ClientFrame) -> Decision:
        self._faults = max(0, self._faults - 1)
        match frame:
            case Ack(seq):
                return self._ack(seq)
            case Bye():
                self.leave()
                return Finish(codes.NORMAL)
            case Hello():
                return _error(ErrorCode.ALREADY_GREETED, "one hello a connection", frame.id)
            case _:
                return self._request(frame)

    def _ack(self, seq: int) -> Acknowledge | Reply | None:
        newest = self.seen_q if self.hint else self.sent_q
        if seq > newest:
            return _error(ErrorCode.ACK_BEYOND_SENT, f"the newest sent here is {newest}", None)
        if seq <= self.acked_q:
            return None
        if self.hint:
            self.sent_q = max(self.sent_q, seq)
        self.acked_q = seq
        return Acknowledge(seq)

    def _request(self, request: Request) -> Perform | Reply:
        name = None if isinstance(request, Read | Typing) else request.id
        if self.phase is Phase.LEAVING:
            return _error(ErrorCode.DRAINING, "reconnect and repeat", name, retryable=True)
        if isinstance(request, Send | Edit):
            fault = content_fault(request, most_bytes=self._rules.body_bytes)
            if fault is not None:
                return _error(*fault, name)
        if self._requests >= self._rules.in_flight:
            detail = f"more than {self._rules.in_flight} requests wait for their answers"
            return _error(ErrorCode.TOO_MANY_REQUESTS, detail, name, retryable=True)
        self._requests += 1
        return Perform(request)

    def done(self) -> None:
        """A performed request has been answered."""
        self._requests -= 1

    @property
    def waiting(self) -> int:
        """Requests that have not been answered."""
        return self._requests

    # What the client is sent

    def begin(self, *, cursor: int, head: int, hint: bool = False) -> None:
        """The hello was good: recovery starts after `cursor`. What came meanwhile is remembered as seen."""
        self.phase = Phase.LIVE
        self.hint = hint
        self.sent_q = self.acked_q = self.told_q = cursor
        self.seen_q = max(self.seen_q, head)
        self.recovering = True

    def offer(self, q: int) -> bool:
        """Whether the live entry `q` is to be written now."""
        if q == self.sent_q + 1 and self.flowing:
            self.sent_q = q
            return True
        if q > self.seen_q:
            self.seen_q = q
        return False

    @property
    def behind(self) -> bool:
        """Whether something newer than what was sent is known of."""
        return self.seen_q > self.sent_q

    @property
    def up_to_date(self) -> bool:
        """Whether the client has exactly what is known of: nothing to read, and no cursor beyond the queue."""
        return self.seen_q == self.sent_q

    def heard_head(self, head: int) -> None:
        """The queue has grown to `head`, as far as somebody knows."""
        if head > self.seen_q:
            self.seen_q = head

    def recover(self) -> bool:
        """Start to read the queue: live entries are held back until settle(). False where that goes on already,
        or the socket is too full, or nobody listens."""
        if self.recovering or self._paused or self.phase is not Phase.LIVE or self.hinted:
            return False
        self.recovering = True
        self.flowing = False
        return True

    def replay(self, q: int) -> bool:
        """Whether the entry `q`, read from the queue, is to be written now. False ends the page: the socket is
        full, or the entry does not follow."""
        if q != self.sent_q + 1 or self._paused or self.phase is not Phase.LIVE:
            return False
        self.sent_q = q
        if q > self.seen_q:
            self.seen_q = q
        return True

    def rebase(self, head: int) -> None:
        """The cursor is given up; live entries continue after `head`."""
        self.sent_q = self.told_q = head
        self.acked_q = min(self.acked_q, head)
        self.seen_q = max(self.seen_q, head)

    def give_up(self) -> None:
        """What was heard of is not in the queue: believe the queue."""
        self.seen_q = self.sent_q

    def settle(self) -> bool:
        """The queue has been read to its end for now. True where there is more by now."""
        self.recovering = False
        self._flow()
        return self.behind and not self.hinted

    # In hint mode

    @property
    def hinted(self) -> bool:
        """Whether the client knows of news that it has not pulled yet."""
        return self.hint and self.told_q > self.sent_q

    def announce(self) -> bool:
        """Whether `news` of `seen_q` is to be written now."""
        if not self.hint or self.hinted or self.recovering or not self.hears or not self.behind:
            return False
        self.told_q = self.seen_q
        return True

    def found(self, reached: int) -> None:
        """The queue has something past `sent_q`, up to `reached` at least: `news` of `seen_q` follows."""
        self.seen_q = self.told_q = max(self.seen_q, reached)

    def pulled(self, reached: int, *, more: bool) -> bool:
        """The client was given its queue up to `reached`. True where something is known of beyond the end of it."""
        if not self.hint:
            return False
        self.sent_q = max(self.sent_q, reached)
        self.seen_q = max(self.seen_q, reached)
        if not more:
            self.told_q = min(self.told_q, self.sent_q)
        return self.behind and not more

    # What the socket says

    def pause(self) -> None:
        """The socket is full: nothing more is pushed."""
        self._paused = True
        self.flowing = False

    def resume(self) -> bool:
        """The socket has drained. True where something was held back meanwhile."""
        self._paused = False
        self._flow()
        return self.behind

    @property
    def hears(self) -> bool:
        """Whether what is not stored may be written now."""
        return self.phase is Phase.LIVE and not self._paused

    @property
    def paused(self) -> bool:
        """Whether the socket is full."""
        return self._paused

    def leave(self) -> None:
        """The end is near: nothing is pushed and no request accepted; those accepted may still be answered."""
        self.phase = Phase.LEAVING
        self.flowing = False

    def _flow(self) -> None:
        live = self.phase is Phase.LIVE and not self.hint
        self.flowing = live and not self.recovering and not self._paused


def _error(
    code: ErrorCode,
    detail: str,
    request: str | int | None,
    *,
    retryable: bool = False,
    retry_after_s: float | None = None,
) -> Reply:
    retryable = retryable or retry_after_s is not None
    return Reply(encode_frame(Error(code, detail, retryable, request, retry_after_s)))
