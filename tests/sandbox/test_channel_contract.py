"""Both WeChat channels pass what every channel passes, against the sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from hub.core.channel import Capabilities, Channel, Envelope
from hub.core.outcome import Accepted, Outcome
from tests.contract.channel_contract import ChannelContract, envelopes
from tests.sandbox.post import APP, Post, envelope


class Dressed:
    """The contract's envelopes as notifications with a template."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    @property
    def name(self) -> str:
        return self.channel.name

    @property
    def capabilities(self) -> Capabilities:
        return self.channel.capabilities

    async def deliver(self, batch: Sequence[Envelope]) -> Sequence[Outcome]:
        dressed = [
            replace(
                one,
                notification=envelope(channel=self.name).notification,
                delivery=replace(one.delivery, app=APP, channel=self.name),
            )
            for one in batch
        ]
        return await self.channel.deliver(dressed)


class TestWeChatMp(ChannelContract):
    @pytest.fixture(autouse=True)
    async def _fresh(self, post: Post, unused_port: int) -> None:
        await post.follower()
        self.channel = Dressed((await post.worker()).mp)
        self.broken = Dressed((await post.worker(base=f"http://127.0.0.1:{unused_port}")).mp)

    async def cut_the_network(self) -> None:
        self.channel = self.broken

    async def test_everything_is_accepted(self) -> None:
        outcomes = await self.channel.deliver(envelopes(self.user, self.user_id, 100))
        assert {type(outcome) for outcome in outcomes} == {Accepted}


class TestMiniProgram(ChannelContract):
    @pytest.fixture(autouse=True)
    async def _fresh(self, post: Post, unused_port: int) -> None:
        await post.subscriber(times=100)
        self.channel = Dressed((await post.worker()).mini)
        self.broken = Dressed((await post.worker(base=f"http://127.0.0.1:{unused_port}")).mini)

    async def cut_the_network(self) -> None:
        self.channel = self.broken

    async def test_everything_is_accepted(self) -> None:
        outcomes = await self.channel.deliver(envelopes(self.user, self.user_id, 100))
        assert {type(outcome) for outcome in outcomes} == {Accepted}
