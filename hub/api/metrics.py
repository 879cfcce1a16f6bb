"""Request metrics for Prometheus. Labels are route templates, never paths: their number is bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestMetrics:
    """Counts and times requests in a registry that the caller may share with others."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "hub_http_requests_total",
            "REST requests, by route template, method and status.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "hub_http_request_seconds",
            "How long REST requests took, by route template and method.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=registry,
        )

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
