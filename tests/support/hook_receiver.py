"""A business system's webhook endpoint on a real port: keeps what comes, and answers as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Heard:
    """One request; the names of headers in small letters."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """An answer. `chunks` of `body` are sent until the other side has had enough."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    chunks: int = 1
    drop: bool = False
    """Close the connection instead."""


@dataclass
class HookReceiver:
    """`replies` are given in turn; then `usual`. While `open` is not set, requests to /slow wait."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    usual: Reply = field(default_factory=Reply)
    open: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    sent_bytes: int = 0

    def at(self, path: str) -> list[Heard]:
        """What came to a path."""
        return [one for one in self.heard if one.path == path]


@contextmanager
def open_hook_receiver() -> Iterator[HookReceiver]:
    """A receiver on any free port of this machine."""
    receiver = HookReceiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.heard.append(Heard(self.path, headers, body))
            receiver.arrived.release()
            if self.path == "/slow":
                receiver.open.wait(30)
            reply = receiver.replies.pop(0) if receiver.replies else receiver.usual
            self._answer(reply)

        def do_GET(self) -> None:
            receiver.heard.append(Heard(f"GET {self.path}", {}, b""))
            self._answer(Reply())

        def _answer(self, reply: Reply) -> None:
            if reply.drop:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body) * reply.chunks))
            self.end_headers()
            try:
                for _ in range(reply.chunks):
                    self.wfile.write(reply.body)
                    receiver.sent_bytes += len(reply.body)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who gives up closes the connection; that is what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        receiver.open.set()
        server.shutdown()
        server.server_close()
