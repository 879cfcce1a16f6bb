"""The WeChat part of the wiring: a pool of connections, the switchboard over it, both channels, and the way in."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

from hub.channels._wechat.entrance import Entrance, Surroundings, wechat_entrance
from hub.channels._wechat.memory import RedisMemory
from hub.channels._wechat.purse import Strays
from hub.channels._wechat.switchboard import Switchboard, SwitchLimits
from hub.channels._wechat.transport import HttpLimits, open_transport
from hub.channels.miniprogram.channel import MiniProgram
from hub.channels.wechat_mp.channel import WeChatMp
from hub.core.books import WeChatBooks
from hub.core.channel import Channel
from hub.core.engine import Engine
from hub.core.later import Later
from hub.core.ports import DeliveryStore
from hub.core.templates import TemplateBook
from hub.redis_link import RedisLink
from hub.settings import Settings
from hub.store.clock import utc_now
from hub.store.secrets import SecretBox


async def open_switchboard(
    settings: Settings, stack: AsyncExitStack, books: WeChatBooks, link: RedisLink
) -> Switchboard:
    """Connects when it is first used; closed with the stack."""
    http = HttpLimits(
        connect=settings.wechat_connect_timeout,
        read=settings.wechat_read_timeout,
        total=settings.wechat_timeout,
        connections=2 * settings.wechat_concurrency,
    )
    limits = SwitchLimits(
        in_flight=settings.wechat_concurrency,
        per_second=float(settings.wechat_pace),
        # Before the dispatcher gives up the whole batch, those sends included that have long been answered.
        batch=settings.delivery_lease * 0.7,
        receipt_within=settings.wechat_receipt_within,
        token_lock=2 * settings.wechat_timeout + timedelta(seconds=10),
    )
    transport = await stack.enter_async_context(open_transport(settings.wechat_api, http))
    box = SecretBox(settings.secret_key.get_secret_value())
    return Switchboard(transport, books.accounts, link, box, now=utc_now, limits=limits)


def wechat_channels(
    board: Switchboard, books: WeChatBooks, templates: TemplateBook, strays: Strays
) -> Sequence[Channel]:
    """Official accounts and mini programs."""
    return [
        WeChatMp(board, books, templates, strays=strays),
        MiniProgram(board, books, templates, strays=strays),
    ]


def open_entrance(
    settings: Settings,
    board: Switchboard,
    books: WeChatBooks,
    engine: Engine,
    store: DeliveryStore,
    link: RedisLink,
    later: Later,
) -> Entrance:
    """What WeChat and browsers call, and the desk of the API."""
    return wechat_entrance(
        Surroundings(
            books=books,
            lines=board,
            dispatcher=engine.dispatcher,
            deliveries=store,
            memory=RedisMemory(link),
            later=later,
            clock=utc_now,
            public_url=settings.public,
            open_url=settings.wechat_open,
        )
    )
