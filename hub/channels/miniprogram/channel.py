"""The channel `miniprogram`: subscribe messages of mini programs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from hub.channels._wechat.channel import WeChatChannel
from hub.channels._wechat.purse import Strays
from hub.channels._wechat.switchboard import Switchboard
from hub.channels.miniprogram.render import ProgramComposer
from hub.core.accounts import TemplateKind
from hub.core.books import WeChatBooks
from hub.core.channel import Capabilities, Lane
from hub.core.delivery import DeliveryId
from hub.core.templates import TemplateBook

NAME: Final = "miniprogram"
CAPABILITIES: Final = Capabilities(
    lane=Lane.WORKER,
    batch=100,
    # WeChat has no id that it de-duplicates these by. A send that may have arrived waits for its event.
    repeatable=False,
    disturbs=True,
)


class MiniProgram(WeChatChannel):
    """A one-time template is sent once per grant, a long-term one while the person stays subscribed."""

    def __init__(
        self,
        switchboard: Switchboard,
        books: WeChatBooks,
        templates: TemplateBook,
        *,
        strays: Strays | None = None,
    ) -> None:
        super().__init__(
            NAME,
            CAPABILITIES,
            ProgramComposer(),
            TemplateKind.ONE_TIME,
            switchboard=switchboard,
            books=books,
            templates=templates,
            strays=strays,
        )
        self._grants = books.grants

    async def unsent(self, deliveries: Collection[DeliveryId]) -> Collection[DeliveryId]:
        """core.channel.Witness: a grant is set aside before every send, and given back only where nothing was sent."""
        noted = set(await self._grants.noted(deliveries))
        return [delivery for delivery in deliveries if delivery not in noted]
