"""The Celery application: `celery -A tasks.app:app worker` and `… beat`."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from celery.signals import setup_logging

from hub.settings import Settings
from hub.telemetry import configure_logging
from tasks.config import configuration


def make_app(settings: Settings) -> Celery:
    """A Celery app on the broker of these settings, with the hub's tasks and schedule."""
    app = Celery("hub")
    app.config_from_object(configuration(settings))
    return app


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    """The hub's own log, also here: with this connected, Celery sets up none of its own."""
    configure_logging(Settings())
    for chatty in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        # two lines a task, and a task a second
        logging.getLogger(chatty).setLevel(logging.WARNING)


app = make_app(Settings())
