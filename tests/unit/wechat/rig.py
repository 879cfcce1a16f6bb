"""A client and the little WeChat that it talks to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from hub.channels._wechat.client import (
    Credentials,
    MiniMessage,
    TemplateMessage,
    WeChatClient,
    stable_token,
)
from hub.channels._wechat.faults import Failure
from hub.channels._wechat.shelf import LocalShelf
from hub.channels._wechat.tokens import TokenSource
from hub.channels._wechat.transport import HttpLimits, open_transport
from tests.unit.wechat.fake_wechat import APPID, SECRET, FakeWeChat, running

QUICK = HttpLimits(
    connect=timedelta(milliseconds=200),
    read=timedelta(milliseconds=200),
    total=timedelta(milliseconds=500),
    max_bytes=100_000,
)
MESSAGE = TemplateMessage("oAnn", "T1", {"thing1": "差旅报销 👍", "amount2": "¥1200.00"}, "0" * 32)
MINI = MiniMessage("oAnn", "T1", {"thing1": "x"})
MSGID = "3248682510344192008"


class Rig:
    def __init__(self, fake: FakeWeChat, client: WeChatClient) -> None:
        self.fake = fake
        self.client = client

    async def failed(self) -> Failure:
        """The failure of a send."""
        async with asyncio.timeout(5):
            result = await self.client.send_template(MESSAGE)
        assert isinstance(result, Failure)
        for secret in (SECRET, self.fake.token, "http://"):
            assert secret not in repr(result)
        return result


async def client_of(stack: AsyncExitStack, base: str, limits: HttpLimits = QUICK) -> WeChatClient:
    transport = await stack.enter_async_context(open_transport(base, limits))
    account = Credentials(APPID, SECRET)
    tokens = TokenSource(APPID, stable_token(transport, account), LocalShelf())
    return WeChatClient(transport, account, tokens)


@asynccontextmanager
async def open_rig() -> AsyncIterator[Rig]:
    """Both, until the end of the test."""
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(running(FakeWeChat()))
        yield Rig(fake, await client_of(stack, fake.base))
