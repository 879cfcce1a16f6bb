"""A real Celery worker with one more channel: its provider is a folder, so that a test in another process can look.

Start it with `celery -A tests.support.worker_app:app worker`. HUB_TEST_PROVIDER names the folder.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from hub.bootstrap import Hub, open_worker_hub
from hub.core.channel import Capabilities, Envelope, Lane
from hub.core.outcome import Accepted, Outcome
from hub.settings import Settings
from tasks import worker
from tasks.app import app
from tasks.portal import Portal
from tasks.queue import CeleryExecutor

__all__ = ["FolderChannel", "app"]


class FolderChannel:
    """Each send takes 20 ms and leaves one line per try in a file named after the delivery."""

    name = "folder"
    capabilities = Capabilities(lane=Lane.WORKER, batch=10, repeatable=True)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def deliver(self, batch: Sequence[Envelope]) -> Sequence[Outcome]:
        """Write, and accept."""
        for envelope in batch:
            await asyncio.sleep(0.02)
            with (self._folder / envelope.delivery.id).open("a") as file:
                file.write(f"{envelope.recipient.user_id}\n")
        return [Accepted(f"p-{envelope.delivery.id}") for envelope in batch]


def _open() -> AbstractAsyncContextManager[Hub]:
    settings = Settings()
    channel = FolderChannel(Path(os.environ["HUB_TEST_PROVIDER"]))
    executor = CeleryExecutor(app, batch=settings.delivery_batch)
    return open_worker_hub(settings, executor=executor, more_channels=[channel])


worker.portal = Portal(_open)
