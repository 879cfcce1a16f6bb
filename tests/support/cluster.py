"""A hub of several real processes for a test: web nodes, a Celery worker with beat, one database, one Redis."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hub.embedded.sandbox import Pair, introduce
from hub.embedded.sandbox import environment as sandbox_environment
from tests.services import AnyRedis, ChosenRedis, RedisServer, start_chosen_redis
from tests.services.process import Process
from tests.services.redis import free_port

CELERY_WORKER = (
    f"{sys.executable} -m celery -A tasks.app:app worker -P threads -c 2 --without-gossip --without-mingle "
    "-l INFO"
).split()
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyYnk="


class Cluster:
    """Processes by name. `nodes` are base URLs; what is killed can be started again on the same port."""

    def __init__(
        self, directory: Path, chosen: ChosenRedis, database_url: str, extra: Mapping[str, str]
    ) -> None:
        self.directory = directory
        self.redis: AnyRedis = chosen.redis
        self.env = {
            **os.environ,
            "HUB_DATA_DIR": str(directory / "data"),
            "HUB_DATABASE_URL": database_url,
            **chosen.environment,
            "HUB_SECRET_KEY": SECRET,
            **extra,
        }
        self._processes: dict[str, Process] = {}
        self._ports: dict[str, int] = {"sandbox": free_port()}
        # Known before anything starts: what a hub takes for WeChat is part of its environment.
        self.env = {**sandbox_environment(f"http://127.0.0.1:{self._ports['sandbox']}"), **self.env}
        self.api_key = self._prepare()

    def _prepare(self) -> str:
        (self.directory / "data").mkdir(exist_ok=True)
        self._run("prepare")
        return (self.directory / "data" / "api_key").read_text().strip()

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "hub.cli", *words],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def url(self, name: str) -> str:
        """The base URL of a node."""
        return f"http://127.0.0.1:{self._ports[name]}"

    def socket_url(self, name: str) -> str:
        """The socket URL of a node."""
        return f"ws://127.0.0.1:{self._ports[name]}/v1/ws"

    def start_node(self, name: str, *words: str) -> None:
        """Start a web node (`words` follow `serve`), or start it again on its port, and wait until it is ready."""
        port = self._ports.setdefault(name, free_port())
        self._start(
            name,
            [sys.executable, "-m", "hub.cli", "serve", "--port", str(port), *words],
            lambda _: answers(f"http://127.0.0.1:{port}/readyz"),
        )

    def start_worker(self, name: str = "worker", *, beat: bool = True) -> None:
        """Start a Celery worker, which runs beat too unless it is told not to."""
        schedule = str(self.directory / "beat-schedule")
        more = ["-B", "-s", schedule] if beat else []
        self._start(
            name,
            [*CELERY_WORKER, "-n", f"{name}@%h", *more],
            lambda _: " ready" in self.log(name),
        )

    def start_beat(self) -> None:
        """Start a beat of its own."""
        schedule = str(self.directory / "beat-schedule")
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tasks.app:app",
            "beat",
            "-s",
            schedule,
            "--pidfile=",
        ]
        self._start("beat", command, lambda _: "maxinterval" in self.log("beat"))

    def start_sandbox(self) -> str:
        """Start a WeChat sandbox, and introduce it and node `a` to each other. Its base URL."""
        port = self._ports["sandbox"]
        base = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "hub.sandbox", "--port", str(port)]
        self._start("sandbox", command, lambda _: answers(f"{base}/"))
        introduce(Pair(self.url("a"), self.api_key, base))
        return base

    def pid(self, name: str) -> int:
        """The process id of a node or the worker."""
        return self._processes[name].pid

    @property
    def one_redis(self) -> RedisServer:
        """The Redis, where it is one server: it can be killed and started again."""
        assert isinstance(self.redis, RedisServer)
        return self.redis

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self._processes[name].kill()

    def stop_node(self, name: str) -> None:
        """SIGTERM, as an operator would."""
        self._processes[name].stop()

    def log(self, name: str) -> str:
        """What a process has written."""
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """Stop everything that runs."""
        for process in self._processes.values():
            process.stop()

    def request(self, method: str, url: str, body: object = None, token: str | None = None) -> Any:
        """A JSON request with the API key (or a token); retried while a node is away."""
        import json

        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method)
        request.add_header("Authorization", f"Bearer {token or self.api_key}")
        request.add_header("Content-Type", "application/json")
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503) or time.monotonic() > deadline:
                    raise AssertionError(f"{method} {url}: {error.code} {error.read().decode()}") from error
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def _start(self, name: str, command: list[str], ready: Any) -> None:
        if name not in self._processes:
            self._processes[name] = _WithEnvironment(
                command, log=self.directory / f"{name}.log", ready=ready, env=self.env
            )
        self._processes[name].start()


class _WithEnvironment(Process):
    def __init__(self, command: list[str], *, log: Path, ready: Any, env: Mapping[str, str]) -> None:
        words = ["env", *(f"{key}={value}" for key, value in env.items() if key.startswith("HUB_")), *command]
        super().__init__(words, log=log, ready=ready)


def answers(url: str) -> bool:
    """Whether this URL gives a 200 now."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


@contextmanager
def cluster(directory: Path, database_url: str, **extra: str) -> Iterator[Cluster]:
    """A cluster with its own Redis of the kind that is tested; everything is stopped at the end."""
    with start_chosen_redis(directory) as chosen:
        running = Cluster(directory, chosen, database_url, extra)
        try:
            yield running
        finally:
            running.stop()
