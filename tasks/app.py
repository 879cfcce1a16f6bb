"""The Celery application: `celery -A tasks.app:app worker` and `… beat`."""

from __future__ import annotations

from celery import Celery

from hub.settings import Settings
from tasks.config import configuration


def make_app(settings: Settings) -> Celery:
    """A Celery app on the broker of these settings, with the hub's tasks and schedule."""
    app = Celery("hub")
    app.config_from_object(configuration(settings))
    return app


app = make_app(Settings())
