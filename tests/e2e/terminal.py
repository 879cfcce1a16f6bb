"""A terminal for tests: a command behind a pty, as a person starts it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType


class Terminal:
    """Runs the command in a session of its own whose terminal is ours; killed at the end if it still runs."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.text = ""
        self._screen, inside = pty.openpty()
        self._process = subprocess.Popen(
            command,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env=environment,
            cwd="/",
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inside)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._screen)

    def until(self, word: str, seconds: float, *, times: int = 1) -> str:
        """Everything shown so far, as soon as the word has been shown this often."""
        deadline = time.monotonic() + seconds
        while self.text.count(word) < times:
            over = time.monotonic() > deadline
            assert not over, f"{word!r} was not shown within {seconds} s, but:\n{self.text}"
            assert self._read(0.1), f"the command ended without {word!r}, after:\n{self.text}"
        return self.text

    def ctrl_c(self) -> None:
        """As typed: the terminal makes it a signal."""
        os.write(self._screen, b"\x03")

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def code(self, seconds: float) -> int:
        """How it ended; what it says meanwhile is read."""
        deadline = time.monotonic() + seconds
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"still running after {seconds} s:\n{self.text}"
            self._read(0.05)
        self._read(0)
        return self._process.returncode

    def _read(self, seconds: float) -> bool:
        """Whether there may be more to come."""
        if not select.select([self._screen], [], [], seconds)[0]:
            return True
        try:
            found = os.read(self._screen, 65_536)
        except OSError:  # Linux: everybody on the other side has closed
            time.sleep(seconds)
            return False
        self.text += found.decode(errors="replace").replace("\r\n", "\n")
        return bool(found)


def processes_with(word: str) -> list[int]:
    """Living processes whose environment or arguments have the word in them (Linux)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if word.encode() in (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found
