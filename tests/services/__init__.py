"""Real servers for tests: Redis (the embedded engine), PostgreSQL and MariaDB, each in its own private folder."""

from tests.services.chosen import KIND, ChosenRedis, start_chosen_redis
from tests.services.database import DatabaseServer
from tests.services.mariadb import start_mariadb
from tests.services.postgres import start_postgres
from tests.services.process import Process, ServiceMissing
from tests.services.redis import AnyRedis, RedisServer, start_redis
from tests.services.redis_cluster import RedisCluster, start_redis_cluster
from tests.services.redis_sentinel import RedisSentinels, start_redis_sentinels

__all__ = [
    "KIND",
    "AnyRedis",
    "ChosenRedis",
    "DatabaseServer",
    "Process",
    "RedisCluster",
    "RedisSentinels",
    "RedisServer",
    "ServiceMissing",
    "start_chosen_redis",
    "start_mariadb",
    "start_postgres",
    "start_redis",
    "start_redis_cluster",
    "start_redis_sentinels",
]
