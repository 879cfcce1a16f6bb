"""The channel `wechat_mp`: official accounts."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from hub.channels._wechat.channel import WeChatChannel
from hub.channels._wechat.purse import Strays
from hub.channels._wechat.switchboard import Switchboard
from hub.channels.wechat_mp.render import OfficialComposer
from hub.core.accounts import TemplateKind
from hub.core.books import WeChatBooks
from hub.core.channel import Capabilities, Lane
from hub.core.templates import TemplateBook

NAME: Final = "wechat_mp"
CAPABILITIES: Final = Capabilities(
    lane=Lane.WORKER,
    batch=100,
    # Template messages: WeChat sends one only per (openid, client_msg_id) within ten minutes. Subscribe notifications
    # have no such id; a repeat of one that may have arrived is answered Unknown here, without a call.
    repeatable=True,
    repeatable_for=timedelta(minutes=8),
    disturbs=True,
)


class WeChatMp(WeChatChannel):
    """Template messages by kind MESSAGE, subscribe notifications by the others."""

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
            OfficialComposer(),
            TemplateKind.MESSAGE,
            switchboard=switchboard,
            books=books,
            templates=templates,
            strays=strays,
        )
