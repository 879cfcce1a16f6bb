"""A scene of routing: an engine on a real database with a clock that the test moves, and channels that do as told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from hub.core.channel import Envelope, Lane
from hub.core.delivery import Delivery, DeliveryState
from hub.core.identity import EndUser
from hub.core.message import Draft, NotificationDraft, NotificationId, UserKey
from hub.core.outcome import Outcome, Reason, Rejected
from hub.core.policy import Hop, Mode, Policy, Success
from hub.core.retry import RetryPolicy
from hub.store.tables import metadata
from tests.fakes.channel import ScriptedChannel
from tests.services import RedisServer
from tests.support.engine import APP, Rig, open_rig, test_settings

S = DeliveryState
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ALICE = UserKey(1)
PROTOCOL = Policy(
    (
        Hop("ws", Success.READ, MINUTE),
        Hop("wechat_mp", Success.DELIVERED, 30 * MINUTE),
        Hop("miniprogram", Success.ACCEPTED),
    ),
    stop_on=("read", "acted", "event:task.closed"),
)
ONE = Policy((Hop("wechat_mp", Success.ACCEPTED),), stop_on=("read", "acted"))
BOTH = Policy(
    (Hop("wechat_mp", Success.ACTED, HOUR), Hop("miniprogram", Success.ACTED, HOUR)),
    mode=Mode.ALL,
    stop_on=("read", "acted"),
)


@dataclass
class Scene:
    """An engine with a socket channel and the two of WeChat, all scripted."""

    rig: Rig
    ws: ScriptedChannel
    mp: ScriptedChannel
    mini: ScriptedChannel

    async def tell(
        self, *users: int, policy: Policy = PROTOCOL, expires_in: timedelta | None = None, **own: Any
    ) -> NotificationId:
        """A notification to these users (or the first), started."""
        draft = self.draft(*users, policy=policy, expires_in=expires_in, **own)
        await self.rig.engine.submit(draft)
        await self.rig.engine.drain()
        return told(draft).id

    def draft(
        self, *users: int, policy: Policy = PROTOCOL, expires_in: timedelta | None = None, **own: Any
    ) -> Draft:
        draft = self.rig.notice(*(users or (1,)), policy=policy, expires_in=expires_in)
        return replace(draft, notification=replace(told(draft), **own))

    async def work(self) -> None:
        while ids := self.rig.executor.take():
            await self.rig.engine.dispatcher.run(ids)

    async def later(self, by: timedelta = timedelta(0)) -> None:
        self.rig.clock.advance(by)
        await self.rig.engine.appointments.submit_due(limit=100)
        await self.rig.engine.drain()
        await self.rig.engine.dispatcher.sweep(limit=1_000)
        await self.work()

    async def at(self, moment: str) -> None:
        """Move the clock to the next such time in Shanghai, `HH:MM`."""
        now = self.rig.clock() + 8 * HOUR
        hour, minute = map(int, moment.split(":"))
        wanted = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        self.rig.clock.advance(wanted - now if wanted > now else wanted - now + timedelta(days=1))

    async def rows(self, notification: NotificationId) -> list[Delivery]:
        found = await self.rig.store.of_notifications(APP, [notification])
        return sorted(found, key=lambda row: (row.user, row.hop))

    async def story(self, notification: NotificationId) -> list[tuple[str, str, str | None]]:
        """(channel, state, reason) of each delivery."""
        rows = await self.rows(notification)
        return [(row.channel, row.state.value, row.reason.value if row.reason else None) for row in rows]

    async def read(self, user: UserKey = ALICE) -> None:
        """The user reads all there is."""
        page = await self.rig.engine.sync(user, after=0, limit=100)
        messages = [message for _, message in page.entries if message is not None]
        reader = EndUser(APP, user, f"u{user}", self.rig.clock())
        await self.rig.engine.read(reader, messages[-1].conversation, messages[-1].seq)

    async def prefer(self, user: int = 1, timezone: str = "Asia/Shanghai", **preferences: Any) -> None:
        table = metadata.tables["user"]
        async with self.rig.store.database.writing() as connection:
            await connection.execute(
                update(table)
                .where(table.c.id == user)
                .values(preferences=json.dumps(preferences), timezone=timezone)
            )

    async def set_app(self, **settings: Any) -> None:
        table = metadata.tables["app"]
        async with self.rig.store.database.writing() as connection:
            await connection.execute(
                update(table).where(table.c.id == APP).values(settings=json.dumps(settings))
            )

    async def events(self, row: Delivery) -> list[tuple[str, str | None]]:
        table = metadata.tables["delivery_event"]
        query = (
            select(table.c.state, table.c.reason)
            .where(table.c.delivery_id == row.id)
            .order_by(table.c.version)
        )
        return [(found.state, found.reason) for found in await self.rig.store.database.rows(query)]


def told(draft: Draft) -> NotificationDraft:
    assert draft.notification is not None
    return draft.notification


def offline(envelope: Envelope) -> Outcome:
    return Rejected(Reason.OFFLINE)


def not_a_follower(envelope: Envelope) -> Outcome:
    return Rejected(Reason.UNSUBSCRIBED)


def no_grant(envelope: Envelope) -> Outcome:
    return Rejected(Reason.QUOTA_EXHAUSTED)


def channels() -> tuple[ScriptedChannel, ScriptedChannel, ScriptedChannel]:
    ws, mp, mini = ScriptedChannel("ws"), ScriptedChannel("wechat_mp"), ScriptedChannel("miniprogram")
    ws.capabilities = replace(ws.capabilities, lane=Lane.INLINE, receipt_within=None, batch=100)
    mp.capabilities = replace(mp.capabilities, disturbs=True, receipt_within=None)
    mini.capabilities = replace(mini.capabilities, disturbs=True, receipt_within=None, repeatable=False)
    return ws, mp, mini


@asynccontextmanager
async def open_scene(
    folder: Path, storage: tuple[str, dict[str, Any]], redis_server: RedisServer
) -> AsyncIterator[Scene]:
    """On an empty database and an empty Redis."""
    redis_server.flush()
    parts = channels()
    settings = test_settings(folder, storage[0], redis_server.url).model_copy(update=storage[1])
    async with open_rig(settings, *parts, retry=RetryPolicy(attempts=3)) as rig:
        yield Scene(rig, *parts)
