"""Real servers for tests: Redis (the embedded engine), PostgreSQL and MariaDB, each in its own private folder."""

from tests.services.database import DatabaseServer
from tests.services.mariadb import start_mariadb
from tests.services.postgres import start_postgres
from tests.services.process import Process, ServiceMissing
from tests.services.redis import RedisServer, start_redis

__all__ = [
    "DatabaseServer",
    "Process",
    "RedisServer",
    "ServiceMissing",
    "start_mariadb",
    "start_postgres",
    "start_redis",
]
