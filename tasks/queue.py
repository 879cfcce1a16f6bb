"""The engine's executor on Celery: asks for deliveries by id. A lost request is found again by the sweep."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

from celery import Celery
from kombu.exceptions import OperationalError

from hub.core.delivery import DeliveryId
from tasks.config import DELIVER, queue_of

log = logging.getLogger("tasks.queue")


class CeleryExecutor:
    """Implements core's Executor. Celery's client blocks, so it runs in a thread; one task carries many ids."""

    def __init__(self, app: Celery, *, batch: int) -> None:
        self._app = app
        self._batch = batch
        self.lost = 0
        """Requests that the broker did not take; the sweep makes up for them."""

    async def schedule(
        self,
        channel: str,
        deliveries: Sequence[DeliveryId],
        *,
        delay: timedelta,
        priority: str = "normal",
    ) -> None:
        """Ask for these to be delivered after `delay`, on the queue of their channel and priority."""
        queue = queue_of(channel, priority)
        for start in range(0, len(deliveries), self._batch):
            ids = list(deliveries[start : start + self._batch])
            await asyncio.to_thread(self._send, channel, ids, delay, queue)

    def _send(self, channel: str, ids: list[DeliveryId], delay: timedelta, queue: str) -> None:
        try:
            self._app.send_task(
                DELIVER,
                args=(channel, ids),
                countdown=delay.total_seconds() or None,
                queue=queue,
                retry=False,
            )
        except OperationalError:
            self.lost += 1
            log.warning("request_left_to_sweep", extra={"channel": channel, "deliveries": len(ids)})
