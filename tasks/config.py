"""Celery's settings, chosen so that killing a worker, the broker or beat at any moment loses no delivery."""

from __future__ import annotations

import ssl
from typing import Any, Final

from kombu.entity import Exchange, Queue

from hub.settings import Settings

DELIVER: Final = "hub.deliver"
SWEEP: Final = "hub.sweep"
SESSIONS: Final = "hub.sessions"
TOMBSTONES: Final = "hub.tombstones"
RETENTION: Final = "hub.retention"
WEBHOOKS: Final = "hub.webhooks"

CHORES_QUEUE: Final = "hub.chores"
WEBHOOKS_QUEUE: Final = "hub.webhooks"

CHANNELS: Final = ("wechat_mp", "miniprogram")
"""Channels with queues of their own, so that a slow provider holds up nobody else; all others share one set."""
OTHER: Final = "other"
_URGENCIES: Final = {"critical": "high", "high": "high", "normal": "normal", "low": "low"}


def queue_of(channel: str, priority: str) -> str:
    """The queue of deliveries: `hub.deliver.<channel>.<high|normal|low>`."""
    name = channel if channel in CHANNELS else OTHER
    return f"hub.deliver.{name}.{_URGENCIES.get(priority, 'normal')}"


def queues() -> tuple[str, ...]:
    """All queues, in the order in which a worker looks into them: chores are few and short, and set the rest going."""
    names = (*CHANNELS, OTHER)
    deliveries = [queue_of(name, urgency) for urgency in ("high", "normal", "low") for name in names]
    return (CHORES_QUEUE, *deliveries[: len(names)], WEBHOOKS_QUEUE, *deliveries[len(names) :])


def _queue(name: str) -> Any:
    return Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call]


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
            # In the order of `queues`: what is urgent first.
            "queue_order_strategy": "priority",
            # kombu's keys start with this, away from the hub's own.
            "global_keyprefix": "hub-celery:",
            **settings.broker_options,
        },
        **({"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED}} if settings.broker_tls else {}),
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
        # A worker that is told no queues takes these. Deliveries name theirs when they are asked for.
        "task_queues": [_queue(name) for name in queues()],
        "task_routes": {
            DELIVER: {"queue": queue_of(OTHER, "normal")},
            WEBHOOKS: {"queue": WEBHOOKS_QUEUE},
        },
        "task_create_missing_queues": True,
        "beat_schedule": _schedule(),
        # The schedule is in code; beat's file only remembers last runs, which a second's sweep needs not.
        "beat_max_loop_interval": 1,
    }


def _schedule() -> dict[str, Any]:
    """Chores expire before their next run, so that a worker that was away does not find a heap of them."""
    every = {SWEEP: 1.0, SESSIONS: 5.0, TOMBSTONES: 30.0, RETENTION: 300.0, WEBHOOKS: 1.0}
    return {
        name: {
            "task": name,
            "schedule": seconds,
            "options": {
                "expires": max(seconds, 2.0),
                "queue": WEBHOOKS_QUEUE if name == WEBHOOKS else CHORES_QUEUE,
            },
        }
        for name, seconds in every.items()
    }
