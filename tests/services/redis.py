"""The embedded engine as a test's Redis."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from hub.embedded.engine import Engine, EngineUnusable, find_program
from tests.services.process import Process, ServiceMissing, private_folder


class AnyRedis(Protocol):
    """What tests do with a Redis of any kind: one server, a master with Sentinels, a Cluster."""

    url: str

    @property
    def running(self) -> bool:
        """Whether it has been started and not stopped."""
        ...

    def flush(self) -> None:
        """Empties it."""
        ...

    def another_life(self) -> None:
        """From now on it is another server, which has everything."""
        ...

    def command(self, *words: str) -> bytes:
        """Runs one command on the master, or on every one."""
        ...


class RedisServer(Process):
    """A running engine; `url` is its socket, `tcp_url` its port where one was asked for."""

    def __init__(self, engine: Engine, log: Path) -> None:
        super().__init__(engine.command(), log=log, ready=lambda _: engine.answers())
        self.url = f"unix://{engine.socket}"
        self.tcp_url = f"redis://127.0.0.1:{engine.port}/0" if engine.port else None
        self._engine = engine

    def command(self, *words: str) -> bytes:
        """Runs one command (of words without spaces) and gives back the raw answer, for set-up and tear-down."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self._engine.socket))
            client.sendall(" ".join(words).encode() + b"\r\n")
            return client.recv(65_536)

    def another_life(self) -> None:
        """From now on it is another server: as after a restart with its newest file."""
        for words in (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), ("SCRIPT", "FLUSH")):
            answer = self.command(*words)
            assert answer.startswith(b"+OK"), answer

    def flush(self) -> None:
        """Empties it."""
        answer = self.command("FLUSHALL")
        assert answer == b"+OK\r\n", answer


@contextmanager
def start_redis(directory: Path, *, tcp: bool = False) -> Iterator[RedisServer]:
    """Runs an engine with its files and log in the directory; what was there before is loaded."""
    try:
        program = find_program()
    except EngineUnusable as error:
        raise ServiceMissing(str(error)) from None
    with private_folder("redis") as short:
        engine = Engine(program, directory / "redis", short / "s", free_port() if tcp else 0)
        engine.prepare()
        server = RedisServer(engine, directory / "redis.log")
        server.start()
        try:
            yield server
        finally:
            server.stop()


def free_port() -> int:
    """A TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
