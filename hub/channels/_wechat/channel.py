"""What both WeChat channels are made of: the mail room behind `deliver`, the proofs behind checks and previews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hub.channels._wechat import plainly
from hub.channels._wechat.addressing import Addressing
from hub.channels._wechat.mailroom import Composer, Mailroom
from hub.channels._wechat.proofs import Proofs
from hub.channels._wechat.purse import Strays
from hub.channels._wechat.switchboard import Switchboard
from hub.core.accounts import TemplateKind
from hub.core.books import WeChatBooks
from hub.core.channel import Advice, Capabilities, ContentFault, Envelope
from hub.core.identity import Recipient
from hub.core.message import AppId
from hub.core.outcome import Outcome
from hub.core.templates import ChannelMapping, TemplateBook, TemplateVersion


class WeChatChannel:
    """core.channel.Channel, Templated and Explains. A channel of this kind says how its messages are composed and what
    the engine must know of it; `default_kind` is how a template is sent that the provider says nothing about."""

    def __init__(
        self,
        name: str,
        capabilities: Capabilities,
        composer: Composer,
        default_kind: TemplateKind,
        *,
        switchboard: Switchboard,
        books: WeChatBooks,
        templates: TemplateBook,
        strays: Strays | None,
    ) -> None:
        self.name = name
        self.capabilities = replace(capabilities, receipt_within=switchboard.limits.receipt_within)
        addressing = Addressing(name, books, templates, default_kind=default_kind)
        self._mailroom = Mailroom(addressing, composer, switchboard, books, strays)
        self._proofs = Proofs(name, addressing, composer)

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
