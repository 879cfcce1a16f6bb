"""What every channel must pass. A subclass supplies `channel`, `address` (a product user id) and `cut_the_network`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from hub.core.channel import Channel, Envelope
from hub.core.delivery import Delivery, DeliveryId, DeliveryState
from hub.core.identity import Recipient
from hub.core.message import AppId, ConversationId, Message, MessageId, UserKey
from hub.core.outcome import Accepted, Delivered, Rejected, Retry, Unknown

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def envelopes(user: UserKey, user_id: str, count: int) -> list[Envelope]:
    """`count` deliveries of different messages to one user."""
    result: list[Envelope] = []
    for number in range(1, count + 1):
        message = Message(
            id=MessageId(f"msg_{number:04}"),
            app=AppId("app_test"),
            conversation=ConversationId("cnv_test"),
            seq=number,
            sender=UserKey(0),
            sender_id=None,
            kind="text",
            body='{"text":"审批 ✓"}',
            created_at=NOW,
        )
        delivery = Delivery(
            id=DeliveryId(f"dlv_{number:04}"),
            app=message.app,
            message=message.id,
            notification=None,
            conversation=message.conversation,
            seq=number,
            user=user,
            user_seq=number,
            hop=0,
            channel="test",
            state=DeliveryState.ATTEMPTING,
            created_at=NOW,
            attempts=1,
        )
        result.append(Envelope(delivery, message, Recipient(user_id)))
    return result


class ChannelContract:
    """Subclass as `Test…`. Fixtures may replace the attributes."""

    channel: Channel
    user: UserKey = UserKey(1)
    user_id: str = "alice"

    async def cut_the_network(self) -> None:
        """Make the provider unreachable."""
        raise NotImplementedError

    async def test_answers_each_delivery_in_order_and_number(self) -> None:
        batch = envelopes(self.user, self.user_id, self.channel.capabilities.batch)
        outcomes = await self.channel.deliver(batch)
        assert len(outcomes) == len(batch)

    async def test_every_answer_is_an_outcome(self) -> None:
        for outcome in await self.channel.deliver(envelopes(self.user, self.user_id, 1)):
            assert isinstance(outcome, Accepted | Delivered | Retry | Rejected | Unknown)

    async def test_an_empty_batch_is_no_work(self) -> None:
        assert list(await self.channel.deliver([])) == []

    async def test_a_repeat_is_answered_like_the_first(self) -> None:
        batch = envelopes(self.user, self.user_id, 1)
        first = await self.channel.deliver(batch)
        second = await self.channel.deliver(batch)
        assert [type(o) for o in first] == [type(o) for o in second]

    async def test_a_broken_network_is_an_outcome_not_an_exception(self) -> None:
        await self.cut_the_network()
        async with asyncio.timeout(10):
            (outcome,) = await self.channel.deliver(envelopes(self.user, self.user_id, 1))
        assert isinstance(outcome, Retry | Rejected | Unknown)

    def test_it_says_what_it_is(self) -> None:
        assert self.channel.name
        assert self.channel.capabilities.batch >= 1
