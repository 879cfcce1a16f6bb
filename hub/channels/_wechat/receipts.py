"""What WeChat says afterwards of a send, as receipts for deliveries, and what that means for bindings and the ledger.

A send is found by WeChat's own number for it. A subscribe message that timed out has none here: then the ledger tells
whose it was, if only one delivery can be meant.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Final, Protocol, assert_never

from hub.channels._wechat.events import JobStatus, SentResult, SubscribeSent, TemplateJobFinished
from hub.core.accounts import Account, BindingBook, BindingState, GrantBook, GrantKey, Sighting
from hub.core.delivery import Delivery, DeliveryId, DeliveryState, Event
from hub.core.outcome import Delivered, Reason, Rejected
from hub.core.ports import DeliveryStore
from hub.core.receipts import Receipt

log = logging.getLogger("hub.wechat")

_AMBIGUOUS: Final = frozenset({DeliveryState.ATTEMPTING, DeliveryState.UNKNOWN})


class Settling(Protocol):
    """The verbs of core.dispatch.Dispatcher that receipts need."""

    async def receive(self, channel: str, provider_id: str, receipt: Receipt, *, about: str = "") -> None:
        """By the provider's id; parked where no delivery has it yet."""
        ...

    async def settle(self, delivery: DeliveryId, event: Event) -> None:
        """For a delivery that is known."""
        ...


def provider_id(appid: str, msgid: str) -> str:
    """How a delivery remembers WeChat's number: unique among all accounts, and text, since it exceeds 2^53."""
    return f"{appid}:{msgid}"


def about(key: GrantKey) -> str:
    """What a receipt is parked under beside its number, so that a send whose answer was lost can be known by it."""
    text = "\n".join((key.account, key.address, key.template))
    return hashlib.sha256(text.encode()).hexdigest()


class Receipts:
    """Every method may be called again for the same event, and may raise errors.Unavailable."""

    def __init__(
        self,
        *,
        dispatcher: Settling,
        deliveries: DeliveryStore,
        grants: GrantBook,
        bindings: BindingBook,
    ) -> None:
        self._dispatcher = dispatcher
        self._deliveries = deliveries
        self._grants = grants
        self._bindings = bindings

    async def job_finished(self, account: Account, event: TemplateJobFinished) -> None:
        """The end of a template message."""
        number = provider_id(account.external_id, event.msgid)
        receipt = _of_job(event, number)
        if receipt is None:
            log.warning("wechat_status_unknown", extra={"account": account.id, "status": event.words[:80]})
            return
        if event.status is JobStatus.USER_BLOCK:
            # Before the receipt: the hop that follows must not try the same address again.
            address = event.origin.openid
            await self._bindings.note([Sighting(account.id, address, "event", state=BindingState.BLOCKED)])
        await self._dispatcher.receive(account.channel, number, receipt)

    async def subscribe_sent(self, account: Account, event: SubscribeSent) -> None:
        """The end of one or several subscribe messages."""
        for result in event.results:
            await self._sent(account, event.origin.openid, result)

    async def _sent(self, account: Account, openid: str, result: SentResult) -> None:
        if not result.msgid:
            return  # nobody could tell which send is meant
        number = provider_id(account.external_id, result.msgid)
        receipt = _of_result(result, number)
        row = await self._deliveries.by_provider_id(account.channel, number)
        delivery = row.id if row else await self._holder(account, openid, result.template_id)
        if delivery is None:
            key = GrantKey(account.id, openid, result.template_id)
            await self._dispatcher.receive(account.channel, number, receipt, about=about(key))
            return
        await self._dispatcher.settle(delivery, receipt)
        # Also where WeChat's system failed afterwards: it took the grant when it accepted the send, and nothing says
        # that it gives one back. Counting one too few costs a question to the person, one too many a refused send.
        await self._grants.commit(delivery)

    async def _holder(self, account: Account, openid: str, template: str) -> DeliveryId | None:
        """The one delivery whose send may have come about without our knowing its number: still running, or timed out.

        None where several could be meant, and while another send to the same person runs: it may have spent its
        grant already and be about to save this very number.
        """
        holders = await self._grants.holders(GrantKey(account.id, openid, template))
        if len(holders) != 1:
            return None
        for row in await self._deliveries.deliveries(holders):
            if row.channel == account.channel and _may_have_been_sent(row):
                return None if await self._another_runs(row) else row.id
        return None

    async def _another_runs(self, row: Delivery) -> bool:
        return any(
            other.state is DeliveryState.ATTEMPTING and other.channel == row.channel and other.id != row.id
            for other in await self._deliveries.open_of_users([row.user])
        )


def _may_have_been_sent(row: Delivery) -> bool:
    doubtful = row.state in _AMBIGUOUS or (row.doubt_since is not None and not row.state.final)
    return doubtful and row.provider_id is None


def _of_job(event: TemplateJobFinished, number: str) -> Receipt | None:
    """None for words that may mean anything."""
    match event.status:
        case JobStatus.SUCCESS:
            return Delivered(number)
        case JobStatus.USER_BLOCK:
            return Rejected(Reason.USER_BLOCK, event.words)
        case JobStatus.SYSTEM_FAILED:
            # It was accepted, so a repeat within ten minutes would be swallowed as a duplicate: the next hop's turn.
            return Rejected(Reason.PROVIDER_DOWN, event.words)
        case JobStatus.UNKNOWN:
            failed = event.words.lower().startswith("failed")
            return Rejected(Reason.UNKNOWN, event.words) if failed else None
        case _:
            assert_never(event.status)


def _of_result(result: SentResult, number: str) -> Receipt:
    if result.errcode == 0:
        return Delivered(number)
    return Rejected(Reason.PROVIDER_DOWN, result.words, str(result.errcode))
