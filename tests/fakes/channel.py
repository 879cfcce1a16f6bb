"""A channel of the WORKER lane that does what a test tells it: accept, refuse, time out, crash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from hub.core.channel import Capabilities, Envelope, Lane
from hub.core.outcome import Accepted, Outcome, Reason, Rejected, Retry, Unknown

Behaviour = Callable[[Envelope], Outcome]


class ScriptedChannel:
    """Records every envelope it was given. `behaviour` decides each answer; a crash raises, a hang never ends."""

    def __init__(self, name: str = "scripted", *, repeatable: bool = True, batch: int = 10) -> None:
        self.name = name
        self.capabilities = Capabilities(
            lane=Lane.WORKER, batch=batch, repeatable=repeatable, receipt_within=timedelta(minutes=1)
        )
        self.behaviour: Behaviour = accept
        self.crash: Exception | None = None
        self.hang = False
        self.network_cut = False
        self.calls: list[list[Envelope]] = []
        self.sent: dict[str, int] = {}
        """How often the provider performed each delivery id: what a repeatable provider keeps at one."""

    async def deliver(self, batch: Sequence[Envelope]) -> Sequence[Outcome]:
        """Answer as told."""
        self.calls.append(list(batch))
        if self.network_cut:
            return [Retry(Reason.PROVIDER_DOWN) for _ in batch]
        if self.hang:
            await asyncio.sleep(3600)
        if self.crash is not None:
            raise self.crash
        outcomes = [self.behaviour(envelope) for envelope in batch]
        for envelope, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Accepted | Unknown):
                done = self.sent.get(envelope.delivery.id, 0)
                self.sent[envelope.delivery.id] = 1 if self.capabilities.repeatable else done + 1
        return outcomes


def accept(envelope: Envelope) -> Outcome:
    """The provider has it."""
    return Accepted(provider_id=f"p-{envelope.delivery.id}")


def refuse(envelope: Envelope) -> Outcome:
    """Never this way."""
    return Rejected(Reason.UNSUBSCRIBED)


def busy(envelope: Envelope) -> Outcome:
    """Not now."""
    return Retry(Reason.PROVIDER_DOWN)


def time_out_after_sending(envelope: Envelope) -> Outcome:
    """It may have happened."""
    return Unknown(Reason.TIMED_OUT)
