"""What a channel adapter must offer, and how channels are looked up."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable

from hub.core.delivery import Delivery, DeliveryId
from hub.core.identity import Recipient
from hub.core.message import AppId, Message, NotificationDraft
from hub.core.outcome import Outcome
from hub.core.templates import ChannelMapping, TemplateVersion


class Lane(StrEnum):
    """INLINE runs on the accepting node, right after the commit; WORKER runs in Celery."""

    INLINE = "inline"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`repeatable`: a second try with the same delivery id is de-duplicated by the provider, for `repeatable_for`
    (None: always). `receipt_within`: a receipt that has not come by then will not come. `disturbs`: a message makes a
    phone ring, so that quiet hours and frequency caps hold for it.
    """

    lane: Lane
    batch: int = 1
    repeatable: bool = False
    receipt_within: timedelta | None = None
    knows_presence: bool = False
    repeatable_for: timedelta | None = None
    disturbs: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """One delivery with the body it carries and the person it is for. `notification` is None for a chat message;
    `digest_of` counts the notifications that this one send stands for."""

    delivery: Delivery
    message: Message
    recipient: Recipient
    notification: NotificationDraft | None = None
    digest_of: int = 1


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


@dataclass(frozen=True, slots=True)
class ContentFault:
    """Why something cannot be said on a channel: `field` is the provider's, `code` stable (`wx.thing.too_long`)."""

    field: str
    code: str
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a provider's code means and what to do about it, in one language."""

    what: str
    do: str


@runtime_checkable
class Templated(Protocol):
    """A channel that speaks through templates of its provider."""

    async def check_mapping(self, app: AppId, mapping: ChannelMapping) -> Sequence[ContentFault]:
        """At publishing: whether the provider's template has these fields, all of them and no others."""
        ...

    async def check_content(
        self,
        app: AppId,
        template: TemplateVersion,
        data: Mapping[str, object],
        recipient: Recipient,
        account: str | None = None,
    ) -> Sequence[ContentFault]:
        """At accepting: whether the provider would take what these data make of the template."""
        ...

    async def preview(
        self,
        app: AppId,
        template: TemplateVersion,
        data: Mapping[str, object],
        recipient: Recipient,
        account: str | None = None,
    ) -> Mapping[str, object]:
        """The request as it would be sent, without an address: `{"template_id":…, "data": {…}, …}`."""
        ...


@runtime_checkable
class Witness(Protocol):
    """A channel that writes down what it is about to send, so that it can say of a lost try that nothing left."""

    async def unsent(self, deliveries: Collection[DeliveryId]) -> Collection[DeliveryId]:
        """Those of which certainly no try has been sent. May raise errors.Unavailable."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A channel whose provider's codes can be told in plain words."""

    def explain(self, code: str, locale: str) -> Advice | None:
        """In Chinese for a `zh…` locale, otherwise in English; None for a code that nobody knows."""
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
