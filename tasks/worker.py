"""The tasks. Each is a thin, repeatable call of one of the engine's verbs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_shutdown

from hub.bootstrap import Hub, open_worker_hub
from hub.core.delivery import DeliveryId
from hub.core.errors import HubError
from hub.settings import Settings
from hub.tally import open_tally
from tasks.app import app
from tasks.config import DELIVER, RETENTION, SESSIONS, SWEEP, TOMBSTONES, WEBHOOKS
from tasks.portal import Portal
from tasks.queue import CeleryExecutor

log = logging.getLogger("tasks.worker")

_SWEEP_LIMIT = 500
_CHORE_TIMEOUT = timedelta(seconds=60)
_RETENTION_TIMEOUT = timedelta(minutes=5)


@asynccontextmanager
async def _open() -> AsyncIterator[Hub]:
    settings = Settings()
    executor = CeleryExecutor(app, batch=settings.delivery_batch)
    async with (
        open_worker_hub(settings, executor=executor) as hub,
        open_tally(hub.link, hub.engine.dispatcher.tries),
    ):
        yield hub


portal: Portal[Hub] = Portal(_open)


@worker_shutdown.connect
@worker_process_shutdown.connect
def _close(**_: Any) -> None:
    portal.close()


@shared_task(name=DELIVER)
def deliver(channel: str, ids: list[str]) -> None:
    """Try these deliveries once. The claim decides who does it; an unknown or finished id is nothing to do."""
    del channel  # tells queues and logs apart; the rows know it
    timeout = Settings().delivery_lease
    portal.call(lambda hub: hub.engine.dispatcher.run([DeliveryId(i) for i in ids]), timeout=timeout)


@shared_task(name=SWEEP)
def sweep() -> None:
    """The outbox relay: publish again what was not published, hand over deliveries that are due."""

    async def run(hub: Hub) -> None:
        await hub.sweep(limit=_SWEEP_LIMIT)

    _chore(run, _CHORE_TIMEOUT)


@shared_task(name=SESSIONS)
def sessions() -> None:
    """End the sessions of nodes whose lease has ended, even when no node is left to notice."""

    async def run(hub: Hub) -> None:
        await hub.reap_sessions()

    _chore(run, _CHORE_TIMEOUT)


@shared_task(name=TOMBSTONES)
def tombstones() -> None:
    """Close numbers that were drawn and never used, in queues that nobody reads right now too."""

    async def run(hub: Hub) -> None:
        await hub.engine.gap_scan.run()

    _chore(run, _CHORE_TIMEOUT)


@shared_task(name=RETENTION)
def retention() -> None:
    """Forget what has outlived its use: published batches, idempotency keys, parked receipts, old messages."""

    async def run(hub: Hub) -> None:
        await hub.forget_old()

    _chore(run, _RETENTION_TIMEOUT)


@shared_task(name=WEBHOOKS)
def webhooks() -> None:
    """Post what business systems are still to hear; slow ones are waited for beside the next run."""

    async def run(hub: Hub) -> None:
        await hub.send_webhooks()

    _chore(run, _CHORE_TIMEOUT)


def _chore(verb: Any, timeout: timedelta) -> None:
    """A chore that cannot run now is done by its next run; only surprises are worth a traceback."""
    try:
        portal.call(verb, timeout=timeout)
    except (HubError, TimeoutError) as error:
        log.warning("chore_postponed", extra={"error": str(error) or type(error).__name__})
