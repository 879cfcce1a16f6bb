"""Changes to webhook endpoints, in a transaction of the directory: noted in the audit, never with a secret."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from hub.core.errors import Conflict, NotFound
from hub.core.webhooks import (
    MAX_ENDPOINTS,
    Endpoint,
    EndpointId,
    HookState,
    WebhookSecret,
    new_webhook_secret,
)
from hub.store.directory_base import APP, dumps
from hub.store.directory_members import MemberWrites
from hub.store.webhook_outbox import DELIVERY, ENDPOINT
from hub.store.webhooks_rows import endpoint_of, sealed, unsealed

_BY_HAND = "disabled by hand"


class WebhookWrites(MemberWrites):
    """The part of a change that is about webhooks: core.webhooks.WebhookChange."""

    committed: list[Callable[[], None]]

    async def create_webhook(self, url: str, events: Sequence[str], description: str) -> tuple[Endpoint, str]:
        """See the port."""
        # The app's row is the lock: two at once must not both be the last that fits.
        await self._connection.execute(select(APP.c.id).where(APP.c.id == self._app).with_for_update())
        count = select(func.count()).select_from(ENDPOINT).where(ENDPOINT.c.app_id == self._app)
        if int(await self._connection.scalar(count) or 0) >= MAX_ENDPOINTS:
            raise Conflict("webhooks_full", f"An app has at most {MAX_ENDPOINTS} webhook endpoints.")
        id_, secret = EndpointId(self._basis.new_id("whe")), new_webhook_secret()
        row = {
            "id": id_,
            "app_id": self._app,
            "url": url,
            "events": dumps(list(events)),
            "description": description,
            "secrets": sealed(self._basis.secrets, [WebhookSecret(secret)]),
            "created_at": self._now,
            "disabled_reason": "",
        }
        await self._connection.execute(insert(ENDPOINT).values(row))
        await self._audit("webhook.create", id_, {"url": url, "events": list(events)})
        self._forget_webhooks()
        return endpoint_of(await self._webhook(id_)), secret

    async def patch_webhook(
        self,
        endpoint: EndpointId,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Endpoint:
        """See the port."""
        known = endpoint_of(await self._webhook(endpoint))
        given: dict[str, Any] = {"url": url, "description": description}
        given["events"] = None if events is None else dumps(list(events))
        given = {name: value for name, value in given.items() if value is not None}
        if enabled is False and known.disabled_at is None:
            given |= {"disabled_at": self._now, "disabled_reason": _BY_HAND}
        if enabled and known.disabled_at is not None:
            given |= {"disabled_at": None, "disabled_reason": ""}
            await self._wake(endpoint)
        if given:
            await self._connection.execute(update(ENDPOINT).where(ENDPOINT.c.id == endpoint).values(given))
        changed = {"url": url, "events": None if events is None else list(events), "enabled": enabled}
        noted = {name: value for name, value in changed.items() if value is not None}
        await self._audit("webhook.change", endpoint, noted)
        self._forget_webhooks()
        return endpoint_of(await self._webhook(endpoint))

    async def rotate_webhook_secret(self, endpoint: EndpointId, *, overlap: timedelta) -> str:
        """See the port."""
        row = await self._webhook(endpoint)
        until, fresh = self._now + overlap, new_webhook_secret()
        old = [
            replace(one, expires_at=until if one.expires_at is None else min(until, one.expires_at))
            for one in unsealed(self._basis.secrets, row.secrets, self._now)
        ]
        # Nothing of what ends now: an overlap of zero is for a secret that leaked.
        kept = [one for one in old if one.expires_at is not None and one.expires_at > self._now]
        column = sealed(self._basis.secrets, [WebhookSecret(fresh), *kept])
        await self._connection.execute(
            update(ENDPOINT).where(ENDPOINT.c.id == endpoint).values(secrets=column)
        )
        await self._audit("webhook.rotate", endpoint, {"overlap": overlap.total_seconds()})
        return fresh

    async def delete_webhook(self, endpoint: EndpointId) -> None:
        """See the port. Its deliveries are never claimed again, and go when their events do."""
        await self._webhook(endpoint)
        await self._connection.execute(delete(ENDPOINT).where(ENDPOINT.c.id == endpoint))
        await self._audit("webhook.delete", endpoint)
        self._forget_webhooks()

    async def _webhook(self, endpoint: EndpointId) -> Row[Any]:
        query = select(ENDPOINT).where(ENDPOINT.c.id == endpoint, ENDPOINT.c.app_id == self._app)
        row = (await self._connection.execute(query.with_for_update())).one_or_none()
        if row is None:
            raise NotFound("webhook_not_found", "There is no such webhook endpoint.")
        return row

    async def _wake(self, endpoint: EndpointId) -> None:
        """What waited is due."""
        waiting = (
            DELIVERY.c.endpoint_id == endpoint,
            DELIVERY.c.state == HookState.PENDING.value,
            DELIVERY.c.due_at.is_(None),
        )
        await self._connection.execute(update(DELIVERY).where(*waiting).values(due_at=self._now))

    def _forget_webhooks(self) -> None:
        self.committed.append(lambda: self._basis.caches.webhooks.forget(self._app))
