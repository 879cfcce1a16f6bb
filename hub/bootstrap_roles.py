"""A web process by its role: the whole hub, its gateway, or the API alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from hub.approvals_wiring import approvals_on
from hub.bootstrap import Hub, channels_of_wechat, common_parts, open_engine_on, open_ground, open_hub
from hub.channels.ws.broker import NodeBroker
from hub.channels.ws.channel import WsChannel
from hub.channels.ws.frames import encode
from hub.channels.ws.sightings import Sightings
from hub.core.channel import Registry
from hub.core.ports import Executor
from hub.roles import Role
from hub.settings import Settings


def open_web_hub(settings: Settings, *, executor: Executor) -> AbstractAsyncContextManager[Hub]:
    """What a web process opens. A gateway's parts are those of the whole: sockets send, press buttons and route."""
    if settings.role is Role.API:
        return open_api_hub(settings, executor=executor)
    return open_hub(settings, executor=executor)


@asynccontextmanager
async def open_api_hub(settings: Settings, *, executor: Executor) -> AsyncIterator[Hub]:
    """The engine without sockets: it looks at presence, publishes to gateways, and is no node itself."""
    async with AsyncExitStack() as stack:
        ground = await open_ground(settings, stack)
        sightings = Sightings(ground.link, ground.nodes)
        broker = NodeBroker(ground.link, sightings, encode=encode)
        stack.callback(broker.close)
        channels = Registry([WsChannel(sightings), *channels_of_wechat(ground)])
        engine = await open_engine_on(settings, stack, ground, broker, executor, channels)
        approvals = approvals_on(settings, ground, engine)
        yield common_parts(settings, ground, engine, sightings, broker, approvals)
