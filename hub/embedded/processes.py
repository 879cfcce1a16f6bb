"""The processes of a one-machine hub: how each is started, and what they share through the environment."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import hub
from hub.embedded.folder import DataFolder
from hub.embedded.supervisor import Spec
from hub.settings import Settings

ROOT = Path(hub.__file__).resolve().parent.parent

# Processes' own time for what they have begun; past it they are killed.
DRAIN_MARGIN = timedelta(seconds=5)
WORKER_GRACE = timedelta(seconds=30)


def environment(settings: Settings, folder: DataFolder, *, host: str, port: int) -> dict[str, str]:
    """This process's environment with the settings that all children must agree on."""
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        "HUB_DATA_DIR": str(folder.path),
        "HUB_HOST": host,
        "HUB_PORT": str(port),
        "HUB_SECRET_KEY": settings.secret_key.get_secret_value() or folder.secret_key(),
    }


def prepare() -> Spec:
    """Brings the database up to date and makes the first API key; ends."""
    return Spec("prepare", _python("hub.cli", "prepare"))


def web(settings: Settings, *, host: str, port: int) -> Spec:
    command = _python("hub.cli", "serve", "--host", host, "--port", str(port))
    return Spec("web", command, grace=settings.drain_timeout + 2 * DRAIN_MARGIN)


def worker() -> Spec:
    command = _python(
        "celery",
        *("-A", "tasks.app:app", "worker", "--pool", "threads", "--concurrency", "4"),
        *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
        *("--hostname", f"hub-{os.getpid()}@%h"),
    )
    return Spec("worker", command, grace=WORKER_GRACE)


def sandbox(folder: DataFolder, address: str) -> Spec:
    """The local WeChat, a stranger: it gets a port and a folder, and nothing of the hub's."""
    port = str(urlsplit(address).port)
    return Spec("sandbox", _python("hub.sandbox", "--port", port, "--data", str(folder.path / "sandbox")))


def beat(folder: DataFolder) -> Spec:
    # No pid file: it would outlive a crash and forbid the next start.
    schedule = str(folder.path / "beat-schedule")
    command = _python("celery", "-A", "tasks.app:app", "beat", "--schedule", schedule, "--pidfile=")
    return Spec("beat", (*command, "--loglevel", "INFO"))


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    """Runs a module in this Python. -P: a folder named hub where the caller stands is not ours."""
    python = (sys.executable, "-P", "-m")
    bond = () if sys.platform == "linux" else ("hub.embedded.bond",)
    return (*python, *bond, module, *arguments)
