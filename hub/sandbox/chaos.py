"""Troubles on demand: which call meets which trouble is drawn from a seed, so a run can be repeated."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from random import Random

from hub.sandbox.chance import dice


class Effect(StrEnum):
    """What happens to a call."""

    DELAY = "delay"
    """Waits `ms`. With `after`, the send has been accepted by then: a client's time-out is ambiguous."""
    RESET = "reset"
    """The connection is reset, before anything was done or, with `after`, instead of the answer."""
    HTML = "html"
    """HTTP 200 with an HTML page."""
    EMPTY = "empty"
    """HTTP 200 with nothing."""
    STATUS = "status"
    """An HTTP error with `status`, 502 by default."""
    ERRCODE = "errcode"
    """HTTP 200 with `errcode`: -1, 40001, 45009, 45011, 40164 or any other."""
    KILL_TOKENS = "kill_tokens"
    """All tokens of the account stop being valid before the call: it answers 40001."""


@dataclass(slots=True)
class Rule:
    """One trouble. It hits a matching call by `rate`, only each `every`th, and at most `times` times."""

    effect: Effect
    path: str = "*"
    appid: str = "*"
    rate: float = 1.0
    every: int = 1
    times: int | None = None
    after: bool = False
    ms: int = 0
    errcode: int = -1
    status: int = 502
    matched: int = 0
    hit: int = 0

    def draw(self, random: Random, *, path: str, appid: str) -> bool:
        """Whether this call is hit. Draws once for each matching call, hit or not."""
        if not (fnmatchcase(path, self.path) and fnmatchcase(appid, self.appid)):
            return False
        self.matched += 1
        drawn = random.random()
        if self.times is not None and self.hit >= self.times:
            return False
        if self.matched % max(self.every, 1) or drawn >= self.rate:
            return False
        self.hit += 1
        return True


@dataclass(slots=True)
class EventTrouble:
    """What happens to callbacks, by rate from 0 to 1."""

    drop: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    late_ms: int = 1000
    early: float = 0.0
    """The event is delivered before the send is answered."""
    fail: float = 0.0
    """The message ends as a system failure and is not shown."""


@dataclass(frozen=True, slots=True)
class EventPlan:
    """What was drawn for one event."""

    dropped: bool
    copies: int
    delay_ms: int
    early: bool
    failed: bool


@dataclass(slots=True)
class ChaosPlan:
    """What POST /sandbox/chaos takes."""

    seed: int = 1
    rules: list[Rule] = field(default_factory=list)
    events: EventTrouble = field(default_factory=EventTrouble)


class Chaos:
    """The plan in force, with its dice."""

    def __init__(self, plan: ChaosPlan | None = None) -> None:
        self.use(plan or ChaosPlan())

    def use(self, plan: ChaosPlan) -> None:
        """Takes a new plan; its dice begin at their seed."""
        self.plan = plan
        self._rules = [dice(plan.seed, "rule", str(number)) for number in range(len(plan.rules))]
        self._events = dice(plan.seed, "events")

    def draw(self, *, path: str, appid: str) -> list[Rule]:
        """The rules that hit this call, in their order."""
        pairs = zip(self.plan.rules, self._rules, strict=True)
        return [rule for rule, random in pairs if rule.draw(random, path=path, appid=appid)]

    def draw_event(self) -> EventPlan:
        """What happens to the next event. Always five draws, whatever the rates are."""
        trouble = self.plan.events
        drawn = [self._events.random() for _ in range(5)]
        return EventPlan(
            dropped=drawn[0] < trouble.drop,
            copies=2 if drawn[1] < trouble.duplicate else 1,
            delay_ms=trouble.late_ms if drawn[2] < trouble.late else 0,
            early=drawn[3] < trouble.early,
            failed=drawn[4] < trouble.fail,
        )
