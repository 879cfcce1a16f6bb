"""One server process of a test: started, killed, paused, started again, and gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hub.embedded.bond import parent_death_signal

READY_WITHIN = 30.0


class ServiceMissing(Exception):
    """The server's programs are not on this machine; the text says which."""


class Process:
    """A server in the foreground. `ready` looks at it from outside and is given its process id."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        ready: Callable[[int], bool],
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.log = log
        self._command = [str(part) for part in command]
        self._ready = ready
        self._user = user
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        deadline = time.monotonic() + READY_WITHIN
        self._spawn()
        while not self._ready(self.pid):
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(
                    f"{self._command[0]} is not ready; its log ends with:\n{self._last_words()}"
                )
            if not self.running:  # the one killed before may still hold something
                time.sleep(0.2)
                self._spawn()
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is said."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Asks it to end, as an operator would."""
        self._end(self._stop_signal)

    def restart(self) -> None:
        """Starts it again, after a stop if it still runs."""
        self.stop()
        self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It lives, and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)

    def _spawn(self) -> None:
        assert not self.running, "already running"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=parent_death_signal(),
                user=self._user,
                group=self._user,
                extra_groups=groups(self._user),
            )

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(number)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2_000:]


def groups(user: str | None) -> list[str] | None:
    """The groups to keep when becoming this user: none; where one stays who one is, all."""
    return None if user is None else []


def run_once(command: Sequence[str | Path], *, folder: Path, user: str | None) -> None:
    """Runs a set-up command as the server's user; its words are shown if it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        user=user,
        group=user,
        extra_groups=groups(user),
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")


def unprivileged(user: str) -> str | None:
    """The user a server must run as: database servers refuse to be root."""
    return user if os.getuid() == 0 else None


@contextmanager
def private_folder(prefix: str, user: str | None = None) -> Iterator[Path]:
    """A short path, which a socket needs, that the server's user can reach, which pytest's folders forbid."""
    folder = Path(tempfile.mkdtemp(prefix=f"hub-{prefix}-", dir="/tmp"))
    try:
        if user is not None:
            shutil.chown(folder, user, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
