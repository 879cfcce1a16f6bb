"""A master, its replica and three Sentinels that change their places when the master is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hub.embedded.engine import EngineUnusable, find_program
from tests.services.process import ServiceMissing
from tests.services.redis import free_port
from tests.services.redis_node import PLAIN, RedisNode, wait_until

MASTER = "hub"
DOWN_AFTER = 600
"""Milliseconds after which a silent master is taken for dead."""


class RedisSentinels:
    """Two servers of which one is the master, and who tells which."""

    def __init__(self, servers: list[RedisNode], sentinels: list[RedisNode]) -> None:
        self.servers = servers
        self.sentinels = sentinels
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        self.url = f"redis+sentinel://{hosts}/{MASTER}/0"

    @property
    def master(self) -> RedisNode:
        """As the first Sentinel that lives sees it."""
        sentinel = next(sentinel for sentinel in self.sentinels if sentinel.running)
        port = int(sentinel.words("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])
        return next(server for server in self.servers if server.port == port)

    @property
    def running(self) -> bool:
        """It is never stopped as a whole."""
        return True

    def another_life(self) -> None:
        """The master is another server now, with all that it had."""
        self.master.another_life()

    def other(self, server: RedisNode) -> RedisNode:
        """The one that is not this."""
        return next(other for other in self.servers if other is not server)

    def flush(self) -> None:
        """Empties it."""
        answer = self.command("FLUSHALL")
        assert answer == b"+OK\r\n", answer

    def command(self, *words: str | int | bytes) -> bytes:
        """On the master."""
        return self.master.command(*words)

    def ready(self) -> bool:
        """Whether a failover could begin: everybody knows everybody, and the replica is up to date."""
        master = self.master
        fields = self.sentinels[0].words("SENTINEL", "MASTER", MASTER)
        known = dict(zip(fields[::2], fields[1::2], strict=True))
        link = self.other(master).command("INFO", "replication")
        return (
            known[b"num-other-sentinels"] == b"2"
            and known[b"num-slaves"] == b"1"
            and b"master_link_status:up" in link
        )


@contextmanager
def start_redis_sentinels(directory: Path) -> Iterator[RedisSentinels]:
    """Ready for a failover, which takes two or three seconds."""
    try:
        program = find_program()
    except EngineUnusable as error:
        raise ServiceMissing(str(error)) from None
    with ExitStack() as stack:
        servers: list[RedisNode] = []
        for number in range(2):
            folder, port = directory / f"server{number}", free_port()
            following = ("--replicaof", "127.0.0.1", str(servers[0].port)) if servers else ()
            options = ("--port", str(port), "--dir", str(folder), *PLAIN, *following)
            server = RedisNode(program, folder, port, options)
            stack.callback(server.kill)
            server.start()
            servers.append(server)
        sentinels = []
        for number in range(3):
            folder = directory / f"sentinel{number}"
            folder.mkdir(parents=True, exist_ok=True)
            port = free_port()
            (folder / "sentinel.conf").write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
                f"sentinel monitor {MASTER} 127.0.0.1 {servers[0].port} 2\n"
                f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER}\n"
                f"sentinel failover-timeout {MASTER} 3000\n"
            )
            sentinel = RedisNode(program, folder, port, (folder / "sentinel.conf", "--sentinel"))
            stack.callback(sentinel.kill)
            sentinel.start()
            sentinels.append(sentinel)
        group = RedisSentinels(servers, sentinels)
        wait_until(group.ready)
        yield group
