"""A HookCaller that posts nowhere: it remembers what was asked, and answers what a test told it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from hub.core.errors import NotFound, Refused
from hub.core.message import AppId
from hub.core.webhooks import EndpointId, HookAnswer, WebhookBook, WebhookEventId
from hub.webhooks.guard import Guard


@dataclass(frozen=True)
class Asked:
    """One question."""

    app: AppId
    endpoint: EndpointId
    type: str
    data: str
    id: WebhookEventId | None
    timeout: timedelta


@dataclass
class ScriptedHooks:
    """`answers` are given in turn; then `usual`. Endpoints are looked up in the book as by the real one."""

    book: WebhookBook
    allow: Sequence[str] = ()
    usual: HookAnswer = field(default_factory=lambda: HookAnswer(204))
    answers: list[HookAnswer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    async def ask(
        self,
        app: AppId,
        endpoint: EndpointId,
        type_: str,
        data: str,
        *,
        timeout: timedelta = timedelta(seconds=10),
        id_: WebhookEventId | None = None,
    ) -> HookAnswer:
        found = await self.book.endpoint(app, endpoint)
        if found is None:
            raise NotFound("webhook_not_found", "There is no such webhook endpoint.")
        if found.disabled_at is not None:
            raise Refused("webhook_disabled", "This webhook endpoint is disabled.")
        self.asked.append(Asked(app, endpoint, type_, data, id_, timeout))
        return self.answers.pop(0) if self.answers else self.usual

    def check_url(self, url: str) -> None:
        Guard(self.allow).check_url(url)
