"""Acknowledgements and read marks: gathered for a moment, written together, told to whom it concerns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from hub.core.errors import QueueUnavailable, Unavailable
from hub.core.identity import EndUser
from hub.core.message import ConversationId, DeviceKey, UserKey
from hub.core.ports import Broker, MessageStore

log = logging.getLogger("hub.cursors")

_BOUND = 100_000
"""Cursors kept while the store is away. Past it acks are dropped: they are cumulative, the next one repeats them."""

Acked = Callable[[Mapping[UserKey, int]], Awaitable[None]]
Read = Callable[[UserKey, ConversationId, int], Awaitable[None]]


class Cursors:
    """Device cursors (delivered) and read cursors. Both only move forward."""

    def __init__(
        self, *, store: MessageStore, broker: Broker, every: timedelta, on_acked: Acked, on_read: Read
    ) -> None:
        self._store = store
        self._broker = broker
        self._every = every.total_seconds()
        self._on_acked = on_acked
        self._on_read = on_read
        self._devices: dict[DeviceKey, int] = {}
        self._users: dict[UserKey, int] = {}
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    async def __aenter__(self) -> Cursors:
        self._task = asyncio.create_task(self._run(), name="cursors")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Write what is gathered, then stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self.flush()
        except Unavailable:
            log.warning("cursors_lost", extra={"devices": len(self._devices)})

    def ack(self, device: DeviceKey, user: UserKey, seq: int) -> None:
        """This device has everything up to `seq`. Never blocks; written within a moment."""
        if len(self._devices) >= _BOUND and device not in self._devices:
            self.dropped += 1
            return
        self._devices[device] = max(seq, self._devices.get(device, 0))
        self._users[user] = max(seq, self._users.get(user, 0))

    async def flush(self) -> None:
        """Write what is gathered now. Raises Unavailable and keeps it then."""
        if not self._devices:
            return
        devices, self._devices = self._devices, {}
        users, self._users = self._users, {}
        try:
            await self._store.move_cursors(devices)
            await self._on_acked(users)
        except BaseException:  # being canceled among them: who closes the node writes them once more
            for device, seq in devices.items():
                self._devices[device] = max(seq, self._devices.get(device, 0))
            for user, seq in users.items():
                self._users[user] = max(seq, self._users.get(user, 0))
            raise

    async def read(self, reader: EndUser, conversation: ConversationId, seq: int) -> None:
        """Move the read cursor; the reader's other devices and the senders hear of it."""
        moved = await self._store.move_read(reader.key, conversation, seq)
        if moved is None:
            return
        _, new, senders = moved
        await self._on_read(reader.key, conversation, new)
        frame = {"type": "read", "conversation": conversation, "seq": new, "user": reader.id}
        try:
            await self._broker.signal({reader.key, *senders}, frame)
        except QueueUnavailable:
            log.info("read_not_told", extra={"senders": len(senders)})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.flush()
            except Unavailable:
                await asyncio.sleep(1)
            except Exception:
                log.exception("cursor_flush_failed")
