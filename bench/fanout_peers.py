"""The other side of `bench.fanout`: readers that only count, measured child processes, and the C floor."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO


class Readers(threading.Thread):
    """Many sockets, read by one epoll loop that only counts."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.received = 0
        self.sockets: list[socket.socket] = []
        self._epoll = select.epoll()
        self._by_fd: dict[int, socket.socket] = {}

    def connect(self, count: int, *, hello: bool) -> None:
        """Open more connections, some at a time; with a hello, one user each."""
        while count > 0:
            some = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(min(count, 100))]
            count -= len(some)
            if hello:
                _greet(some, len(self.sockets) + 1)
            for sock in some:
                sock.setblocking(False)
                self._by_fd[sock.fileno()] = sock
                self._epoll.register(sock.fileno(), select.EPOLLIN)
            self.sockets += some

    def run(self) -> None:
        """Read."""
        buffer = bytearray(1 << 18)
        while True:
            for fd, _ in self._epoll.poll(1.0):
                try:
                    self.received += self._by_fd[fd].recv_into(buffer)
                except BlockingIOError:
                    continue


def _greet(sockets: list[socket.socket], first: int) -> None:
    for sock in sockets:
        sock.sendall(
            b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: hub.v1\r\n\r\n"
        )
    for user, sock in enumerate(sockets, first):
        _until(sock, b"\r\n\r\n")
        hello = {"type": "hello", "token": str(user), "device": {"id": f"device-{user}", "platform": "web"}}
        sock.sendall(_masked(json.dumps(hello).encode()))
    for sock in sockets:
        _until(sock, b'"limits":{')


def _until(sock: socket.socket, mark: bytes) -> None:
    data = b""
    while mark not in data:
        more = sock.recv(65_536)
        if not more:
            message = f"closed after {data!r}"
            raise ConnectionError(message)
        data += more


def _masked(payload: bytes) -> bytes:
    assert len(payload) < 126
    return bytes((0x81, 0x80 | len(payload))) + b"\0\0\0\0" + payload


class Process:
    """A child that prints its port, then answers lines with lines."""

    def __init__(self, command: list[str]) -> None:
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: pin(0)
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._in: IO[str] = self._child.stdin
        self._out: IO[str] = self._child.stdout
        self.port = int(self._out.readline())

    def ask(self, line: str) -> str:
        """One answer."""
        self._in.write(line + "\n")
        self._in.flush()
        return self._out.readline()

    def close(self) -> None:
        """End it."""
        self._in.close()
        self._child.terminate()
        self._child.wait(10)


def pin(core: int) -> None:
    """Keep this process on one core, where there are several."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def floor(sockets: int, rounds: int, size: int, repeat: int) -> dict[str, float]:
    """Microseconds a message of the C loop."""
    compiler = shutil.which("cc")
    if compiler is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "floor"
        subprocess.run([compiler, "-O2", "-o", binary, Path(__file__).with_name("floor.c")], check=True)
        process = Process([str(binary), str(sockets)])
        readers = Readers(process.port)
        readers.connect(sockets, hello=False)
        readers.start()
        result = {}
        for what in ("broadcast", "unicast"):
            used = []
            for _ in range(repeat):
                used.append(float(process.ask(f"{what} {rounds} {size}")))
                time.sleep(0.3)
            result[what] = statistics.median(used) / (rounds * sockets) * 1e6
        process.close()
        return result
