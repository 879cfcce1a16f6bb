"""A Redis that is there, and a link that takes it for away."""

from __future__ import annotations

import math

from hub.redis_cluster import ClusterLink
from hub.redis_link import RedisLink
from hub.redis_pool import Pool


def refuse(link: RedisLink, refusing: bool) -> None:
    """The circuit stays open, as if Redis were away, until it is closed."""
    if isinstance(link, ClusterLink):
        pools = [link._pool(host) for host in link._map.masters]
    else:
        assert isinstance(link, Pool)
        pools = [link]
    for pool in pools:
        pool._retry_at = math.inf if refusing else 0.0
