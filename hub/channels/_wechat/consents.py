"""Subscriptions: what people agree to and take back, written into the ledger of grants."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import assert_never

from hub.channels._wechat.events import Choice, SubscribeAnswered, SubscribeChanged
from hub.core.accounts import (
    Account,
    Consent,
    GrantBook,
    GrantKey,
    GrantSource,
    ProviderTemplates,
    TemplateKind,
)


class Consents:
    """Every method may be called again for the same event or report, and may raise errors.Unavailable."""

    def __init__(self, grants: GrantBook, templates: ProviderTemplates) -> None:
        self._grants = grants
        self._templates = templates

    async def answered(self, account: Account, event: SubscribeAnswered) -> None:
        """The dialog was answered. Consent counts where the account learns of it by events, a refusal always."""
        counts = account.options.grants_from is GrantSource.EVENTS
        for choice in event.choices:
            key = GrantKey(account.id, event.origin.openid, choice.template_id)
            if not choice.accepted:
                await self._declined(key)
            elif counts:
                await self._accepted(key, _once("event", event.origin.key, choice.template_id))

    async def changed(self, account: Account, event: SubscribeChanged) -> None:
        """A subscription was switched off in the settings: nothing may be sent any more."""
        for choice in event.choices:
            if not choice.accepted:
                await self._withdrawn(account, event.origin.openid, choice)

    async def reported(
        self, account: Account, address: str, answers: Mapping[str, Consent], *, once: str
    ) -> None:
        """What a client says the person answered, by template."""
        for template, answer in answers.items():
            key = GrantKey(account.id, address, template)
            match answer:
                case Consent.ACCEPT:
                    await self._accepted(key, _once("client", account.id, address, once, template))
                case Consent.REJECT:
                    await self._declined(key)
                case Consent.BAN | Consent.FILTER:
                    pass  # the person was not asked
                case _:
                    assert_never(answer)

    async def _accepted(self, key: GrantKey, once: str) -> None:
        if await self._is_long_term(key):
            await self._grants.set_unlimited(key, True)
        else:
            await self._grants.add(key, 1, once=once)

    async def _declined(self, key: GrantKey) -> None:
        """No to one question takes nothing back that was given once before; no to a lasting subscription ends it."""
        if await self._is_long_term(key):
            await self._grants.set_unlimited(key, False)

    async def _withdrawn(self, account: Account, openid: str, choice: Choice) -> None:
        key = GrantKey(account.id, openid, choice.template_id)
        await self._grants.set_unlimited(key, False)
        await self._grants.clear(key)

    async def _is_long_term(self, key: GrantKey) -> bool:
        """A template that has not been synchronised is taken for a one-time one: it is counted, so nothing that was
        not agreed to is sent."""
        template = await self._templates.template(key.account, key.template)
        return template is not None and template.kind is TemplateKind.LONG_TERM


def _once(*parts: str) -> str:
    """64 characters that stand for one agreement."""
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
