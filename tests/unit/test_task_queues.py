"""Deliveries wait in queues of their channel and priority, and a worker looks into the urgent ones first."""

from __future__ import annotations

from hub.settings import Settings
from tasks.app import make_app
from tasks.config import queue_of, queues


def test_a_queue_is_named_after_channel_and_priority() -> None:
    assert queue_of("wechat_mp", "critical") == queue_of("wechat_mp", "high") == "hub.deliver.wechat_mp.high"
    assert queue_of("miniprogram", "low") == "hub.deliver.miniprogram.low"
    assert queue_of("pigeon", "urgent!") == "hub.deliver.other.normal"


def test_a_worker_that_is_told_no_queues_takes_all_in_order() -> None:
    taken = list(make_app(Settings()).amqp.queues.consume_from)
    assert taken == list(queues())
    assert taken[0] == "hub.chores"
    urgency = [name.rsplit(".", 1)[1] for name in taken if name.startswith("hub.deliver.")]
    assert urgency == sorted(urgency, key=["high", "normal", "low"].index)
    assert set(urgency) == {"high", "normal", "low"}


def test_every_queue_of_a_delivery_is_one_that_workers_take() -> None:
    for channel in ("wechat_mp", "miniprogram", "pigeon"):
        for priority in ("critical", "high", "normal", "low", "?"):
            assert queue_of(channel, priority) in queues()
