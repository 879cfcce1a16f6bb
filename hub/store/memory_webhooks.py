"""The book of webhooks in this process's memory: for tests and for a hub without a database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from hub.core.message import AppId
from hub.core.ports import Clock
from hub.core.records import PageRequest, Slice
from hub.core.webhooks import (
    HEALTH_LIMIT,
    MAX_REPLAY,
    Endpoint,
    EndpointId,
    HookAnswer,
    HookDelivery,
    HookHealth,
    HookState,
    Outgoing,
    WebhookEvent,
    WebhookEventId,
    WebhookSecret,
    may_want,
    subscribes,
)

_Key = tuple[WebhookEventId, EndpointId]


class MemoryWebhooks:
    """`WebhookBook`. What happens in one call happens at once."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._endpoints: dict[EndpointId, tuple[Endpoint, tuple[WebhookSecret, ...]]] = {}
        self._events: dict[WebhookEventId, WebhookEvent] = {}
        self._ways: dict[_Key, HookDelivery] = {}

    def put_endpoint(self, endpoint: Endpoint, *secrets: WebhookSecret) -> None:
        """An endpoint, new or changed; enabled again, what waited is due."""
        self._endpoints[endpoint.id] = (endpoint, secrets)
        if endpoint.disabled_at is None:
            for key, way in self._ways.items():
                if way.endpoint == endpoint.id and way.state is HookState.PENDING and way.due_at is None:
                    self._ways[key] = replace(way, due_at=self._clock())

    def drop_endpoint(self, endpoint: EndpointId) -> None:
        """It was removed."""
        self._endpoints.pop(endpoint, None)

    async def endpoint(self, app: AppId, endpoint: EndpointId) -> Endpoint | None:
        """See the port."""
        found = await self.signed(app, endpoint)
        return None if found is None else found[0]

    async def endpoints(self, app: AppId) -> Sequence[Endpoint]:
        """See the port."""
        mine = [endpoint for endpoint, _ in self._endpoints.values() if endpoint.app == app]
        return sorted(mine, key=lambda endpoint: (endpoint.created_at, endpoint.id))

    async def signed(
        self, app: AppId, endpoint: EndpointId
    ) -> tuple[Endpoint, tuple[WebhookSecret, ...]] | None:
        """See the port."""
        found = self._endpoints.get(endpoint)
        if found is None or found[0].app != app:
            return None
        return found[0], self._living(endpoint, self._clock())

    async def health(self, endpoint: EndpointId) -> HookHealth:
        """See the port."""
        mine = [way for way in self._ways.values() if way.endpoint == endpoint]
        pending = [way.created_at for way in mine if way.state is HookState.PENDING and way.created_at]
        failed = [way for way in mine if way.state is HookState.FAILED]
        wrong = [w for w in mine if w.state is not HookState.DELIVERED and w.error and w.updated_at]
        counts = (min(len(pending), HEALTH_LIMIT), min(len(failed), HEALTH_LIMIT))
        since = min(pending, default=None)
        if not wrong:
            return HookHealth(*counts, since)
        last = max(wrong, key=lambda way: way.updated_at or self._clock())
        return HookHealth(*counts, since, last.updated_at, last.status, last.error)

    async def wants(self, app: AppId, prefix: str) -> bool:
        """See the port."""
        return any(may_want(one.events, prefix) for one in self._enabled(app))

    async def event(
        self, app: AppId, event: WebhookEventId
    ) -> tuple[WebhookEvent, Sequence[HookDelivery]] | None:
        """See the port."""
        found = self._events.get(event)
        if found is None or found.app != app:
            return None
        ways = [way for way in self._ways.values() if way.event == event and way.endpoint in self._endpoints]
        return found, sorted(ways, key=lambda way: way.endpoint)

    async def deliveries(
        self, endpoint: EndpointId, page: PageRequest, *, state: HookState | None = None
    ) -> Slice[HookDelivery]:
        """See the port. A place is the number of those shown before."""
        mine = [way for way in self._ways.values() if way.endpoint == endpoint and state in (None, way.state)]
        mine.sort(key=lambda way: (way.created_at or self._clock(), way.event), reverse=True)
        start = int(page.after or 0)
        shown = mine[start : start + page.limit]
        more = len(mine) > start + page.limit
        return Slice(shown, str(start + page.limit) if more else None)

    async def put_events(self, events: Sequence[WebhookEvent]) -> None:
        """See the port."""
        for event in events:
            for one in self._enabled(event.app):
                chosen = event.endpoint == one.id
                if not chosen and (event.endpoint is not None or not subscribes(one.events, event.type)):
                    continue
                self._events.setdefault(event.id, event)
                way = HookDelivery(
                    event.id,
                    one.id,
                    HookState.PENDING,
                    0,
                    event.at,
                    created_at=event.at,
                    updated_at=event.at,
                )
                self._ways.setdefault((event.id, one.id), way)

    async def claim(
        self,
        *,
        now: datetime,
        lease_until: datetime,
        limit: int,
        each: int | None = None,
        busy: Mapping[EndpointId, int] | None = None,
    ) -> Sequence[Outgoing]:
        """See the port."""
        room = {id_: (each or limit) - (busy or {}).get(id_, 0) for id_ in self._endpoints}
        taken: list[Outgoing] = []
        due = [(way.due_at, way) for way in self._ways.values() if way.due_at is not None]
        for due_at, way in sorted(due, key=lambda item: (item[0], item[1].event)):
            found = self._endpoints.get(way.endpoint)
            if found is None or found[0].disabled_at is not None or due_at > now:
                continue
            if room[way.endpoint] <= 0 or len(taken) >= limit:
                continue
            room[way.endpoint] -= 1
            taken.append(self._take(way, found[0].url, now, lease_until))
        return taken

    def _take(self, way: HookDelivery, url: str, now: datetime, lease_until: datetime) -> Outgoing:
        held = replace(
            way, attempts=way.attempts + 1, due_at=lease_until, version=way.version + 1, updated_at=now
        )
        self._ways[way.event, way.endpoint] = held
        event = replace(self._events[way.event], endpoint=None)
        return Outgoing(held, event, url, self._living(way.endpoint, now))

    async def settle(
        self, delivery: HookDelivery, answer: HookAnswer, *, next_due: datetime | None, now: datetime
    ) -> bool:
        """See the port."""
        key = (delivery.event, delivery.endpoint)
        known = self._ways.get(key)
        if known is None or known.version != delivery.version:
            return False
        ended = HookState.DELIVERED if answer.ok else HookState.FAILED
        self._ways[key] = replace(
            known,
            state=ended if next_due is None else HookState.PENDING,
            due_at=next_due,
            status=answer.status,
            error=answer.error[:512],
            version=known.version + 1,
            updated_at=now,
        )
        return True

    async def disable(self, endpoint: EndpointId, reason: str, *, now: datetime) -> None:
        """See the port."""
        known, secrets = self._endpoints.get(endpoint, (None, ()))
        if known is not None and known.disabled_at is None:
            self._endpoints[endpoint] = (replace(known, disabled_at=now, disabled_reason=reason), secrets)
        for key, way in self._ways.items():
            if way.endpoint == endpoint:
                self._ways[key] = replace(way, due_at=None)

    async def replay(
        self,
        app: AppId,
        *,
        events: Collection[WebhookEventId] = (),
        failed_since: datetime | None = None,
        endpoint: EndpointId | None = None,
        now: datetime,
    ) -> int:
        """See the port."""
        if not events and failed_since is None:
            return 0
        mine = {one.id for one in await self.endpoints(app)}
        found = [
            way
            for way in self._ways.values()
            if way.endpoint in mine
            and way.state is not HookState.PENDING
            and endpoint in (None, way.endpoint)
            and (not events or way.event in events)
            and (failed_since is None or _failed(way, failed_since))
        ]
        found.sort(key=lambda way: (way.created_at or now, way.event))
        for way in found[:MAX_REPLAY]:
            self._ways[way.event, way.endpoint] = replace(
                way, state=HookState.PENDING, attempts=0, due_at=now, version=way.version + 1, updated_at=now
            )
        return len(found[:MAX_REPLAY])

    async def forget_events(self, before: datetime) -> int:
        """See the port."""
        old = {event.id for event in self._events.values() if event.at < before}
        self._events = {id_: event for id_, event in self._events.items() if id_ not in old}
        self._ways = {key: way for key, way in self._ways.items() if key[0] not in old}
        return len(old)

    def _enabled(self, app: AppId) -> Sequence[Endpoint]:
        return [one for one, _ in self._endpoints.values() if one.app == app and one.disabled_at is None]

    def _living(self, endpoint: EndpointId, now: datetime) -> tuple[WebhookSecret, ...]:
        secrets = self._endpoints[endpoint][1]
        return tuple(one for one in secrets if one.expires_at is None or one.expires_at > now)


def _failed(way: HookDelivery, since: datetime) -> bool:
    return way.state is HookState.FAILED and way.updated_at is not None and way.updated_at >= since
