"""Circuits and paces that all processes share through Redis; `backpressure` decides, this keeps.

While Redis is away each process keeps its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from hub.channels._wechat.backpressure import (
    Breaker,
    BreakerLimits,
    Bucket,
    Gate,
    Pace,
    Passage,
    admit,
    enter,
    full,
    leave,
    record,
)
from hub.channels._wechat.faults import Breaks, Failure, Kind
from hub.core.accounts import AccountId
from hub.core.errors import QueueUnavailable
from hub.core.outcome import Reason
from hub.partitions import tag
from hub.redis_link import RedisLink
from hub.redis_wire import load_script

log = logging.getLogger("hub.wechat")

T = TypeVar("T")

_KEPT: Final = 3_600_000
"""Milliseconds. By then every circuit may be tried and every bucket is full."""
_TRIES: Final = 64
_LOCKS: Final = 64
_LOCAL_SIZE: Final = 10_000
_WORDS: Final = 200


class _Contended(Exception):
    """Others changed the state again and again."""


@dataclass(frozen=True, slots=True)
class GateKey:
    """What is held back together: an API of an account, or a template of it."""

    account: AccountId
    name: str


class Gates:
    """`enter` before sends through an API, `leave` after them; `shut` and `answered` for templates."""

    def __init__(
        self,
        link: RedisLink,
        *,
        limits: BreakerLimits | None = None,
        clock: Callable[[], datetime],
    ) -> None:
        self._link = link
        self._limits = limits or BreakerLimits()
        self._clock = clock
        self._local: OrderedDict[str, Gate] = OrderedDict()
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]
        self._read = load_script(__package__, "gate_read")
        self._swap = load_script(__package__, "gate_swap")

    async def enter(self, key: GateKey, wanted: int, pace: Pace) -> Passage:
        """How many of `wanted` sends may go now."""
        return await self._change(
            key, lambda gate, now: enter(gate or _new(pace, now), wanted, self._limits, pace, now=now)
        )

    async def leave(
        self, key: GateKey, results: Sequence[Failure | None], pace: Pace, *, unused: int
    ) -> None:
        """What became of those admitted."""

        def decide(gate: Gate | None, now: datetime) -> tuple[Gate, bool]:
            before = gate or _new(pace, now)
            after = leave(before, results, self._limits, pace, now=now, unused=unused)
            return after, before.breaker.closed and not after.breaker.closed

        if await self._change(key, decide):
            why = next((f for f in reversed(results) if f is not None), None)
            extra = {"account": key.account, "api": key.name, "errcode": why.errcode if why else None}
            log.warning("wechat_circuit_opened", extra=extra)

    async def shut(self, keys: Collection[GateKey]) -> tuple[Mapping[GateKey, Failure], frozenset[GateKey]]:
        """Those templates that WeChat has banned or restricted a while ago, with what it said; and those of which one
        send may find out now whether they still are."""
        found: dict[GateKey, Failure] = {}
        trials: set[GateKey] = set()
        for key, gate in (await self.look(keys)).items():
            if gate is None or gate.breaker.closed or gate.breaker.why is None:
                continue
            if await self._change(key, self._try_template) is None:
                trials.add(key)
            else:
                found[key] = gate.breaker.why
        return found, frozenset(trials)

    async def answered(self, key: GateKey, failure: Failure | None) -> None:
        """What WeChat said of a template that it bans now, or that was on trial."""

        def decide(gate: Gate | None, now: datetime) -> tuple[Gate, None]:
            before = gate or _new(Pace(), now)
            after = record(before.breaker, failure, self._limits, now=now, scope=Breaks.TEMPLATE)
            return replace(before, breaker=after), None

        await self._change(key, decide)

    async def look(self, keys: Collection[GateKey]) -> Mapping[GateKey, Gate | None]:
        """The states as they are; None for one that has no history. One round trip."""
        wanted = list(keys)
        try:
            replies = await self._link.run([["GET", _name(key)] for key in wanted])
        except QueueUnavailable:
            return {key: self._local.get(_name(key)) for key in wanted}
        return {key: _decode(reply) for key, reply in zip(wanted, replies, strict=True)}

    async def reset(self, keys: Collection[GateKey]) -> None:
        """As if nothing had ever gone wrong."""
        for key in keys:
            self._local.pop(_name(key), None)
        try:
            await self._link.run([["DEL", _name(key)] for key in keys])
        except QueueUnavailable:
            return

    def _try_template(self, gate: Gate | None, now: datetime) -> tuple[Gate, timedelta | None]:
        before = gate or _new(Pace(), now)
        breaker, wait = admit(before.breaker, self._limits, now=now)
        return replace(before, breaker=breaker), wait

    async def _change(self, key: GateKey, decide: Callable[[Gate | None, datetime], tuple[Gate, T]]) -> T:
        name = _name(key)
        try:
            async with self._locks[hash(name) % _LOCKS]:  # one of a process at a time: fewer rivals
                return await self._change_shared(name, decide)
        except QueueUnavailable:
            return self._change_here(name, decide)
        except _Contended:
            log.warning("wechat_gate_contended", extra={"account": key.account, "gate": key.name})
            return self._change_here(name, decide)

    async def _change_shared(self, name: str, decide: Callable[[Gate | None, datetime], tuple[Gate, T]]) -> T:
        """Compare and set, by the clock of Redis: the clocks of two machines may differ by more than a pause."""
        before, at = await self._link.ask(self._read, 1, name)
        for _ in range(_TRIES):
            gate, answer = decide(_decode(before), datetime.fromtimestamp(at / 1000, UTC))
            reply = await self._link.ask(self._swap, 1, name, before, _encode(gate), _KEPT)
            if reply is None:
                return answer
            before, at = reply
        raise _Contended

    def _change_here(self, name: str, decide: Callable[[Gate | None, datetime], tuple[Gate, T]]) -> T:
        gate, answer = decide(self._local.get(name), self._clock())
        self._local[name] = gate
        self._local.move_to_end(name)
        while len(self._local) > _LOCAL_SIZE:
            self._local.popitem(last=False)
        return answer


def _new(pace: Pace, now: datetime) -> Gate:
    return Gate(full(pace, now=now))


def _name(key: GateKey) -> str:
    return f"hub:wx:gate:{tag(f'wx:{key.account}')}:{key.account}:{key.name}"


def _encode(gate: Gate) -> str:
    bucket, breaker = gate.bucket, gate.breaker
    state: dict[str, Any] = {
        "n": secrets.token_hex(6),
        "t": [bucket.tokens, _ms(bucket.at), bucket.share],
        "p": _ms(gate.promised) if gate.promised else None,
    }
    if breaker != Breaker():
        open_until = _ms(breaker.open_until) if breaker.open_until else None
        pause = breaker.pause.total_seconds()
        state["b"] = [breaker.failures, open_until, pause, breaker.probing, _words_of(breaker.why)]
    return json.dumps(state, separators=(",", ":"))


def _decode(text: bytes | None) -> Gate | None:
    """None for no state, and for one that another release has written."""
    if not text:
        return None
    try:
        state = json.loads(text)
        tokens, at, share = state["t"]
        promised = _time(state["p"]) if state["p"] is not None else None
        return Gate(Bucket(float(tokens), _time(at), float(share)), _breaker(state.get("b")), promised)
    except (ValueError, KeyError, TypeError):
        return None


def _breaker(state: Any) -> Breaker:
    if state is None:
        return Breaker()
    failures, open_until, pause, probing, why = state
    until = _time(open_until) if open_until is not None else None
    return Breaker(int(failures), until, timedelta(seconds=pause), _failure_of(why), bool(probing))


def _words_of(why: Failure | None) -> list[Any] | None:
    if why is None:
        return None
    words = why.words[:_WORDS]
    return [why.kind.value, why.reason.value, why.errcode, words, why.rid, why.breaks.value]


def _failure_of(value: Any) -> Failure | None:
    if value is None:
        return None
    kind, reason, errcode, words, rid, breaks = value
    return Failure(Kind(kind), Reason(reason), errcode, str(words), rid, breaks=Breaks(breaks))


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
