"""One server of a group on a port of its own, and its raw answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.services.process import Process

PLAIN = (
    *("--bind", "127.0.0.1", "--daemonize", "no", "--save", "", "--appendonly", "no"),
    *(
        "--maxmemory-policy",
        "noeviction",
        "--repl-diskless-sync-delay",
        "0",
        "--enable-debug-command",
        "local",
    ),
)
"""Nothing is kept on disk: who dies forgets."""


class RedisNode(Process):
    """A master, a replica or a Sentinel."""

    def __init__(self, program: Path, directory: Path, port: int, options: Sequence[str | Path]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = port
        super().__init__([program, *options], log=directory / "log", ready=lambda _: self.answers())

    def answers(self) -> bool:
        """Whether it takes commands."""
        with suppress(OSError):
            return self.command("PING").startswith(b"+PONG")
        return False

    def command(self, *words: str | int | bytes) -> bytes:
        """Runs one command and gives back the raw answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            client.sendall(_packed(words))
            answer = b""
            while not _complete(answer):
                more = client.recv(1_048_576)
                if not more:
                    raise ConnectionError
                answer += more
            return answer

    def another_life(self) -> None:
        """From now on it is another server: as after a failover to one that had everything."""
        for words in (("DEBUG", "CHANGE-REPL-ID"), ("SCRIPT", "FLUSH")):
            answer = self.command(*words)
            assert answer == b"+OK\r\n", answer

    def words(self, *words: str | int | bytes) -> list[bytes]:
        """The same, where the answer is a list of words."""
        return _bulk(self.command(*words))


def wait_until(true: Callable[[], bool], within: float = 30.0) -> None:
    """Waits for it."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


def _packed(words: Sequence[str | int | bytes]) -> bytes:
    raw = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in raw)


def _complete(answer: bytes) -> bool:
    try:
        return _end(answer, 0) <= len(answer)
    except (ValueError, IndexError):
        return False


def _end(answer: bytes, at: int) -> int:
    line = answer.index(b"\r\n", at)
    kind, rest = answer[at : at + 1], answer[at + 1 : line]
    after = line + 2
    if kind == b"$":
        return after if rest == b"-1" else after + int(rest) + 2
    if kind == b"*":
        for _ in range(int(rest)):
            after = _end(answer, after)
    return after


def _bulk(answer: bytes) -> list[bytes]:
    """The words of an array of bulk strings."""
    words: list[bytes] = []
    at = answer.index(b"\r\n") + 2
    while at < len(answer):
        line = answer.index(b"\r\n", at)
        size = int(answer[at + 1 : line])
        words.append(answer[line + 2 : line + 2 + size])
        at = line + 2 + size + 2
    return words
