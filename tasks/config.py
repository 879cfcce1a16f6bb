"""Celery's settings, chosen so that killing a worker, the broker or beat at any moment loses no delivery."""

from __future__ import annotations

from typing import Any, Final

from hub.settings import Settings

DELIVER: Final = "hub.deliver"
SWEEP: Final = "hub.sweep"
SESSIONS: Final = "hub.sessions"
TOMBSTONES: Final = "hub.tombstones"
RETENTION: Final = "hub.retention"

DELIVERIES_QUEUE: Final = "hub.deliveries"
CHORES_QUEUE: Final = "hub.chores"


def configuration(settings: Settings) -> dict[str, Any]:
    """One dict, so that the safe choices stand side by side."""
    return {
        "broker_url": settings.broker,
        "imports": ("tasks.worker",),
        # A task is acknowledged when it is done; one whose worker died is handed out again.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        # Longer than the longest task, else Redis hands a running task to a second worker.
        "broker_transport_options": {
            "visibility_timeout": int(settings.visibility_timeout.total_seconds()),
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "retry_on_timeout": False,
            # kombu's keys start with this, away from the hub's own.
            "global_keyprefix": "hub-celery:",
            **({"master_name": settings.broker_master} if settings.broker_master else {}),
        },
        "task_time_limit": int(settings.visibility_timeout.total_seconds() * 0.8),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Outcomes live in the delivery rows; a second copy in a result backend would only disagree.
        "task_ignore_result": True,
        "result_backend": None,
        "task_serializer": "json",
        "accept_content": ["json"],
        "enable_utc": True,
        "timezone": "UTC",
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "task_default_queue": CHORES_QUEUE,
        "task_routes": {DELIVER: {"queue": DELIVERIES_QUEUE}},
        "task_create_missing_queues": True,
        "beat_schedule": _schedule(),
        # The schedule is in code; beat's file only remembers last runs, which a second's sweep needs not.
        "beat_max_loop_interval": 1,
    }


def _schedule() -> dict[str, Any]:
    """Chores expire before their next run, so that a worker that was away does not find a heap of them."""
    every = {SWEEP: 1.0, SESSIONS: 5.0, TOMBSTONES: 30.0, RETENTION: 300.0}
    return {
        name: {
            "task": name,
            "schedule": seconds,
            "options": {"expires": max(seconds, 2.0), "queue": CHORES_QUEUE},
        }
        for name, seconds in every.items()
    }
