"""The engine's, the sockets' and the broker's counts, read when Prometheus asks: nothing is counted twice."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hub.bootstrap import Hub
from hub.channels._wechat.routes import CallbackCounts
from hub.tally import Tally


class HubCollector(Collector):
    """One hub's metrics."""

    def __init__(self, hub: Hub, tally: Tally) -> None:
        self._hub = hub
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        """Counters and gauges, without labels that grow."""
        engine = self._hub.engine
        yield _counter("hub_messages_accepted", "Messages committed by this node.", engine.ingest.accepted)
        yield _counter("hub_batches", "Group commits of this node.", engine.ingest.batches)
        yield _counter("hub_sequences_healed", "Counters set from the store.", engine.numbering.healed)
        yield _counter(
            "hub_publish_failures",
            "Publishing that failed and was left to the sweep.",
            engine.publisher.failed,
        )
        yield _counter(
            "hub_publish_dropped",
            "Batches that did not fit the publisher's queue.",
            engine.publisher.left_to_sweep,
        )
        yield _counter(
            "hub_starts_left", "Batches whose deliveries were left to the sweep.", engine.starts_left
        )
        yield _counter("hub_acks_dropped", "Acknowledgements not kept.", engine.cursors.dropped)
        yield _counter("hub_redis_failures", "Calls that found Redis away.", self._hub.link.failures)
        yield _tries(self._tally)
        yield _callbacks(self._hub.entrance.door.counts)
        yield _counter(
            "hub_wechat_lookups_dropped", "Questions to WeChat not asked.", self._hub.entrance.lookups.dropped
        )
        yield _gauge("hub_ingest_waiting", "Drafts waiting for a batch.", engine.ingest.backlog)
        if self._hub.gateway is not None:
            node = self._hub.gateway.node
            yield _gauge("hub_sockets", "Open sockets of this node.", len(self._hub.gateway))
            polls = len(self._hub.gateway.polls)
            yield _gauge("hub_polls", "Requests that wait for news of a queue.", polls)
            yield _counter("hub_messages_pushed", "Messages written to sockets as they came.", node.pushed)
            yield _counter("hub_messages_held_back", "Messages left to recovery.", node.held_back)
        if self._hub.receiver is not None:
            age = min(self._hub.receiver.last_frame_age, 1e9)
            yield _gauge("hub_subscription_silence_seconds", "Since anything was heard from Redis.", age)


def _tries(tally: Tally) -> Metric:
    family = CounterMetricFamily(
        "hub_tries",
        "Tries of deliveries by all processes, by channel and outcome.",
        labels=("channel", "outcome"),
    )
    for labels, count in sorted(tally.totals.items()):
        family.add_metric(labels, count)
    return family


def _callbacks(counts: CallbackCounts) -> Metric:
    family = CounterMetricFamily(
        "hub_wechat_callbacks",
        "WeChat's calls, by event and what became of them.",
        labels=("event", "result"),
    )
    for labels, count in sorted(counts.ends.items()):
        family.add_metric(labels, count)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
