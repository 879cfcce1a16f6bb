"""A question to a business system that is answered right now."""

from __future__ import annotations

from datetime import timedelta

from hub.core.errors import NotFound, Refused
from hub.core.message import AppId
from hub.core.ports import Clock, NewId
from hub.core.webhooks import (
    EndpointId,
    HookAnswer,
    HookDelivery,
    HookSender,
    HookState,
    Outgoing,
    WebhookBook,
    WebhookEvent,
    WebhookEventId,
)
from hub.webhooks.guard import Guard


class EndpointCaller:
    """`HookCaller`."""

    def __init__(
        self, book: WebhookBook, sender: HookSender, guard: Guard, *, clock: Clock, new_id: NewId
    ) -> None:
        self._book = book
        self._sender = sender
        self._guard = guard
        self._clock = clock
        self._new_id = new_id

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
        """See the port."""
        found = await self._book.signed(app, endpoint)
        if found is None:
            raise NotFound("webhook_not_found", "There is no such webhook endpoint.")
        known, secrets = found
        if known.disabled_at is not None:
            raise Refused("webhook_disabled", "This webhook endpoint is disabled.")
        now = self._clock()
        event = WebhookEvent(id_ or WebhookEventId(self._new_id("evt")), app, type_, now, data, known.id)
        delivery = HookDelivery(event.id, known.id, HookState.PENDING, attempts=1, due_at=None)
        outgoing = Outgoing(delivery, event, known.url, secrets)
        return await self._sender.post(outgoing, now=now, timeout=timeout)

    def check_url(self, url: str) -> None:
        """See the port."""
        self._guard.check_url(url)
