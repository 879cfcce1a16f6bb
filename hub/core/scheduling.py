"""Notifications that are sent later: kept whole until their time, then submitted like any other."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hub.core.control import ScheduledRow, ScheduledState
from hub.core.conversation import inbox_id
from hub.core.errors import Conflict, HubError, Refused, Unavailable
from hub.core.message import Accepted, AppId, Draft, NotificationId
from hub.core.ports import Clock, MessageStore, Prior
from hub.core.routing_ports import RoutingStore

log = logging.getLogger("hub.scheduling")

_LEASE = timedelta(seconds=60)
"""Longer than a submission may take; who died in the middle is followed by the next sweep."""


class Appointments:
    """What waits for its time. Everything that depends on people is decided when it comes."""

    def __init__(
        self,
        *,
        store: RoutingStore,
        messages: MessageStore,
        submit_many: Callable[[Sequence[Draft]], Awaitable[Sequence[Accepted | HubError]]],
        clock: Clock,
    ) -> None:
        self._store = store
        self._messages = messages
        self._submit_many = submit_many
        self._clock = clock

    async def schedule(self, draft: Draft, at: datetime) -> Accepted:
        """Keep a notification until `at`. A repeat (dedupe key or Idempotency-Key, kept or sent already) gets the first
        one's answer. Raises Refused for what is no notification, Conflict for a key used otherwise."""
        notification = draft.notification
        if notification is None:
            raise Refused("not_a_notification", "Only notifications can be sent later.")
        prior = (await self._messages.prior([draft])).get(draft.id)
        if prior is not None:
            return _repeat(draft, prior)
        claim = draft.idempotency
        kept = await self._store.schedule(
            ScheduledRow(
                id=notification.id,
                app=draft.app,
                message=draft.id,
                state=ScheduledState.SCHEDULED,
                send_at=at,
                # Submitting it twice must be harmless, whether it has keys of its own or not.
                draft=replace(
                    draft,
                    idempotency=None,
                    client_msg_id=draft.client_msg_id or f"scheduled:{notification.id}",
                ),
                created_at=self._clock(),
                fingerprint=claim.fingerprint if claim else None,
                idempotency_key=claim.key if claim else None,
            )
        )
        answer = Accepted(kept.message, inbox_id(kept.app), 0, kept.send_at, kept.id)
        return answer if kept.id == notification.id else _repeat(draft, Prior(answer, kept.fingerprint))

    async def submit_due(self, *, limit: int) -> int:
        """Submit what is due. Returns how many were submitted or refused."""
        now = self._clock()
        rows = await self._store.take_scheduled(now=now, lease_until=now + _LEASE, limit=limit)
        if not rows:
            return 0
        answers = await self._submit_many([replace(row.draft, created_at=now) for row in rows])
        for row, answer in zip(rows, answers, strict=True):
            await self._note(row, answer)
        return len(rows)

    async def _note(self, row: ScheduledRow, answer: Accepted | HubError) -> None:
        """What the hub could not do for now is submitted again when the lease ends."""
        match answer:
            case Accepted():
                await self._store.end_scheduled(row.id, ScheduledState.SENT, now=self._clock())
            case Unavailable():
                log.warning("scheduled_postponed", extra={"notification": row.id, "code": answer.code})
            case HubError():
                await self._store.end_scheduled(
                    row.id, ScheduledState.REFUSED, now=self._clock(), detail=str(answer)
                )

    async def cancel(self, app: AppId, id_: NotificationId) -> bool:
        """Not to be sent at all. False where it is not waiting (any more). Raises Unavailable at the very moment at
        which it is submitted."""
        row = await self._store.scheduled(app, id_)
        if row is None or row.state not in (ScheduledState.SCHEDULED, ScheduledState.SENDING):
            return False
        if await self._store.end_scheduled(id_, ScheduledState.CANCELED, now=self._clock()):
            return True
        row = await self._store.scheduled(app, id_)
        if row is not None and row.state is ScheduledState.SENDING:
            raise Unavailable("being_sent", "It is being sent at this moment. Try again shortly.")
        return row is not None and row.state is ScheduledState.CANCELED


def _repeat(draft: Draft, prior: Prior) -> Accepted:
    claim = draft.idempotency
    if claim is not None and prior.fingerprint is not None and claim.fingerprint != prior.fingerprint:
        raise Conflict(
            "idempotency_mismatch",
            "This Idempotency-Key was used with another request. Use a new key for a new request.",
        )
    return replace(prior.accepted, duplicate=True)
