"""What a channel adapter must offer, and how channels are looked up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from hub.core.delivery import Delivery
from hub.core.message import Message
from hub.core.outcome import Outcome


class Lane(StrEnum):
    """INLINE runs on the accepting node, right after the commit; WORKER runs in Celery."""

    INLINE = "inline"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`repeatable`: a second try with the same delivery id is de-duplicated by the provider.
    `receipt_within`: a receipt that has not come by then will not come.
    """

    lane: Lane
    batch: int = 1
    repeatable: bool = False
    receipt_within: timedelta | None = None
    knows_presence: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """One delivery with the body it carries and the person's id in the product."""

    delivery: Delivery
    message: Message
    user_id: str


class Channel(Protocol):
    """One way to reach people. One try per envelope; nothing is retried, slept on, stored or enqueued inside.

    `deliver` answers in the same order and number as it was asked, and never raises for what a provider or a
    network can do. It may be called twice for one delivery, and passes `delivery.id` on as the provider's
    de-duplication key where there is one.
    """

    @property
    def name(self) -> str:
        """The channel's name in policies."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the engine must know to use it well."""
        ...

    async def deliver(self, batch: Sequence[Envelope]) -> Sequence[Outcome]:
        """Try each once."""
        ...


class Registry:
    """The channels of this process, by name."""

    def __init__(self, channels: Iterable[Channel] = ()) -> None:
        self._channels: Mapping[str, Channel] = {channel.name: channel for channel in channels}

    def get(self, name: str) -> Channel | None:
        """The channel, or None where this process has none of that name."""
        return self._channels.get(name)

    @property
    def names(self) -> frozenset[str]:
        """All names, for policies to be checked against."""
        return frozenset(self._channels)

    def on_lane(self, lane: Lane) -> frozenset[str]:
        """The names of the channels that run on `lane`."""
        return frozenset(n for n, c in self._channels.items() if c.capabilities.lane is lane)
