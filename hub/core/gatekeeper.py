"""Asks what a decision at the door needs: people, facts, digests and caps; the decisions themselves are gate's."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from hub.core.caps import CapThen, FrequencyCap
from hub.core.channel import Lane, Registry
from hub.core.delivery import Delivery, DeliveryId, Event, Held, Joined
from hub.core.gate import Asked, verdict
from hub.core.message import AppId, NotificationDraft, NotificationId
from hub.core.outcome import Reason, Rejected
from hub.core.ports import Clock, DeliveryStore, NotificationRow
from hub.core.records import AppSettings
from hub.core.routing_ports import CapWant, DigestAnswer, DigestPart, Facts, RoutingStore

Notifications = Mapping[NotificationId, NotificationRow]
_FRESH = 5.0
_MOST_APPS = 1_000
_KEY = 240


class SettingsBook:
    """What apps set for themselves, as of some seconds ago at most."""

    def __init__(self, store: RoutingStore) -> None:
        self._store = store
        self._known: dict[AppId, tuple[float, AppSettings]] = {}

    async def of(self, apps: Iterable[AppId]) -> Mapping[AppId, AppSettings]:
        """The settings of these apps."""
        found: dict[AppId, AppSettings] = {}
        for app in set(apps):
            at, settings = self._known.get(app, (0.0, None))
            if settings is None or time.monotonic() - at > _FRESH:
                settings = await self._store.settings_of(app)
                if len(self._known) >= _MOST_APPS:
                    self._known.clear()
                self._known[app] = (time.monotonic(), settings)
            found[app] = settings
        return found


class Gatekeeper:
    """Says of deliveries that are about to be claimed what happens to them instead, if anything does."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        routing: RoutingStore,
        settings: SettingsBook,
        channels: Registry,
        clock: Clock,
    ) -> None:
        self._store = store
        self._routing = routing
        self._settings = settings
        self._channels = channels
        self._clock = clock

    async def turned_away(
        self, rows: Sequence[Delivery], notifications: Notifications
    ) -> Mapping[DeliveryId, Event]:
        """Each delivery that is not to be tried now, with what happens to it. All of one channel or of many."""
        asked = await self._asked(rows, notifications)
        now = self._clock()
        events: dict[DeliveryId, Event] = {}
        for one in asked:
            event = verdict(one, now)
            if event is None and one.outside:
                event = await self._gathered(one, now)
            if event is not None:
                events[one.row.id] = event
        going = [one for one in asked if one.row.id not in events]
        return {**events, **await self._over_cap(going, now)}

    async def _asked(self, rows: Sequence[Delivery], notifications: Notifications) -> list[Asked]:
        told: dict[DeliveryId, NotificationDraft] = {}
        for row in rows:
            found = notifications.get(row.notification) if row.notification else None
            if found is not None and row.hop < len(found.draft.policy.hops):
                told[row.id] = found.draft
        rows = [row for row in rows if row.id in told]
        if not rows:
            return []
        people = await self._store.recipients({row.user for row in rows})
        facts = await self._routing.facts(rows)
        inline = self._channels.on_lane(Lane.INLINE)
        return [
            Asked(
                row,
                told[row.id],
                people[row.user],
                facts.get(row.id, Facts()),
                outside=row.channel not in inline,
                disturbs=self._disturbs(row.channel),
            )
            for row in rows
            if row.user in people
        ]

    def _disturbs(self, name: str) -> bool:
        channel = self._channels.get(name)
        return channel is not None and channel.capabilities.disturbs

    async def _gathered(self, one: Asked, now: datetime) -> Event | None:
        """A digest: it waits, it is the one that is sent, or another one is sent for it."""
        length = one.draft.policy.digest
        if length is None or one.begun or not one.held_back:
            return None
        key = f"key:{one.draft.digest_key}" if one.draft.digest_key else f"category:{one.draft.category}"
        answer: DigestAnswer = await self._routing.join_digest(
            one.row, key=key[:_KEY], closes_at=now + length, now=now
        )
        match answer.part:
            case DigestPart.SENDS:
                return None
            case DigestPart.JOINED:
                return Joined()
            case DigestPart.FAILED:
                return Rejected(answer.reason)
            case DigestPart.WAITS:
                return Held(answer.until or now + length, Reason.DIGESTED)

    async def _over_cap(self, going: Sequence[Asked], now: datetime) -> Mapping[DeliveryId, Event]:
        first = [one for one in going if one.outside and one.held_back and not one.begun]
        settings = await self._settings.of(one.row.app for one in first)
        wants: list[CapWant] = []
        rules: dict[tuple[DeliveryId, str], tuple[FrequencyCap, datetime]] = {}
        for one in first:
            own = settings[one.row.app]
            uses = []
            for cap in own.caps:
                if cap.covers(one.row.channel, one.draft.category):
                    start, end = cap.window(now, own.calendar.timezone)
                    uses.append((cap.rule, start, end, cap.count))
                    rules[one.row.id, cap.rule] = (cap, end)
            if uses:
                wants.append(CapWant(one.row.id, one.row.user, tuple(uses)))
        full = await self._routing.take_caps(wants, now) if wants else {}
        return {id_: _capped(*rules[id_, rule]) for id_, rule in full.items()}


def _capped(cap: FrequencyCap, window_end: datetime) -> Event:
    if cap.then is CapThen.SKIP:
        return Rejected(Reason.FREQUENCY_CAP)
    return Held(window_end, Reason.FREQUENCY_CAP)
