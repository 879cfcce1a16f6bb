"""The kind of Redis that HUB_TEST_REDIS asks for, started for one test alone, with a broker that Celery can use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.redis import AnyRedis, start_redis
from tests.services.redis_cluster import start_redis_cluster
from tests.services.redis_sentinel import start_redis_sentinels

KIND = os.environ.get("HUB_TEST_REDIS", "")
"""`standalone`, `sentinel` or `cluster`; empty: one server, except where a test says of itself what it runs on."""


@dataclass(frozen=True, slots=True)
class ChosenRedis:
    """A Redis, and the one that Celery uses: the same, except beside a Cluster, which Celery cannot use."""

    redis: AnyRedis
    broker: AnyRedis

    @property
    def url(self) -> str:
        """Of the Redis."""
        return self.redis.url

    @property
    def broker_url(self) -> str:
        """Of the broker, in Celery's spelling; empty where it is the same Redis."""
        return "" if self.broker is self.redis else self.broker.url.replace("unix://", "redis+socket://")

    @property
    def environment(self) -> dict[str, str]:
        """What tells a hub of both."""
        return {"HUB_REDIS_URL": self.url, "HUB_BROKER_URL": self.broker_url}


@contextmanager
def start_chosen_redis(directory: Path) -> Iterator[ChosenRedis]:
    """One of the kind that was asked for, with its files in the directory."""
    match KIND:
        case "" | "standalone":
            with start_redis(directory) as redis:
                yield ChosenRedis(redis, redis)
        case "sentinel":
            with start_redis_sentinels(directory / "sentinels") as sentinels:
                yield ChosenRedis(sentinels, sentinels)
        case "cluster":
            with start_redis_cluster(directory / "cluster") as nodes, start_redis(directory) as broker:
                yield ChosenRedis(nodes, broker)
        case other:
            message = f"HUB_TEST_REDIS is standalone, sentinel or cluster, not {other!r}"
            raise ValueError(message)
