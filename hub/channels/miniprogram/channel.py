"""The channel `miniprogram`: subscribe messages of mini programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from hub.channels._wechat import plainly
from hub.channels._wechat.addressing import Addressing
from hub.channels._wechat.mailroom import Mailroom
from hub.channels._wechat.proofs import Proofs
from hub.channels._wechat.purse import RECEIPT_WITHIN, Strays
from hub.channels._wechat.switchboard import Switchboard
from hub.channels.miniprogram.render import ProgramComposer
from hub.core.accounts import TemplateKind
from hub.core.books import WeChatBooks
from hub.core.channel import Advice, Capabilities, ContentFault, Envelope, Lane
from hub.core.identity import Recipient
from hub.core.message import AppId
from hub.core.outcome import Outcome
from hub.core.templates import ChannelMapping, TemplateBook, TemplateVersion

NAME: Final = "miniprogram"
CAPABILITIES: Final = Capabilities(
    lane=Lane.WORKER,
    batch=100,
    # WeChat has no id that it de-duplicates these by. A send that may have arrived waits for its event.
    repeatable=False,
    receipt_within=RECEIPT_WITHIN,
    disturbs=True,
)


class MiniProgram:
    """A one-time template is sent once per grant, a long-term one while the person stays subscribed."""

    name = NAME

    def __init__(
        self,
        switchboard: Switchboard,
        books: WeChatBooks,
        templates: TemplateBook,
        *,
        strays: Strays | None = None,
    ) -> None:
        self.capabilities = replace(CAPABILITIES, receipt_within=switchboard.limits.receipt_within)
        addressing = Addressing(NAME, books, templates, default_kind=TemplateKind.ONE_TIME)
        composer = ProgramComposer()
        self._mailroom = Mailroom(addressing, composer, switchboard, books, strays)
        self._proofs = Proofs(NAME, addressing, composer)

    async def deliver(self, batch: Sequence[Envelope]) -> Sequence[Outcome]:
        """Try each once."""
        return await self._mailroom.deliver(batch)

    async def check_mapping(self, app: AppId, mapping: ChannelMapping) -> Sequence[ContentFault]:
        """At publishing."""
        return await self._proofs.check_mapping(app, mapping)

    async def check_content(
        self,
        app: AppId,
        template: TemplateVersion,
        data: Mapping[str, object],
        recipient: Recipient,
        account: str | None = None,
    ) -> Sequence[ContentFault]:
        """At accepting."""
        return await self._proofs.check_content(app, template, data, recipient, account)

    async def preview(
        self,
        app: AppId,
        template: TemplateVersion,
        data: Mapping[str, object],
        recipient: Recipient,
        account: str | None = None,
    ) -> Mapping[str, object]:
        """The request as it would be sent."""
        return await self._proofs.preview(app, template, data, recipient, account)

    def explain(self, code: str, locale: str) -> Advice | None:
        """A code in plain words."""
        return plainly.explain(code, locale)
