"""Children of one command: started in order, stopped in order, and all of them when one ends by itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from hub.embedded import Trouble
from hub.embedded.bond import PIPE_VARIABLE, parent_death_signal

T = TypeVar("T")

OLD_LOGS = 3
LOG_BYTES = 32 * 1024 * 1024
_FOLLOW_EVERY = 0.2
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Somebody asked for the end: a signal."""


class Failed(Trouble):
    """A child ended by itself; the text says which, and shows its last lines."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A child: its name (and its log's), its command, and how long it may take to end by itself."""

    name: str
    command: Sequence[str]
    grace: timedelta = timedelta(seconds=10)


class Log:
    """One child's log file; a new one for each start, a few old ones kept, none above a bound."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.log"

    def rotate(self) -> None:
        """Makes room for a new file."""
        for number in range(OLD_LOGS - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._old(number).replace(self._old(number + 1))
        with suppress(FileNotFoundError):
            self.path.replace(self._old(1))

    def trim(self) -> None:
        """Moves what is there aside when it is too much. Children append, so they go on at the new end."""
        with suppress(OSError):
            if self.path.stat().st_size > LOG_BYTES:
                shutil.copyfile(self.path, self._old(1))
                os.truncate(self.path, 0)

    def last(self, lines: int) -> str:
        """The end of it."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _old(self, number: int) -> Path:
        return self.path.with_suffix(f".log.{number}")


class Child:
    """A process in its own session: the terminal's Ctrl-C reaches only the supervisor."""

    def __init__(self, spec: Spec, log: Log, process: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self.log = log
        self._process = process
        self.ended: asyncio.Task[int] = asyncio.create_task(process.wait(), name=spec.name)

    async def stop(self) -> None:
        """Asks it to end, and makes it end when it takes too long."""
        self._signal(signal.SIGTERM)
        await asyncio.wait([self.ended], timeout=self.spec.grace.total_seconds())
        self.kill()
        await self.ended

    def kill(self) -> None:
        """Ends it and whatever it has started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if not self.ended.done():
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def obituary(self) -> str:
        """How it ended, with its last words."""
        code = self.ended.result()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return f"{self.spec.name} {how}; its log is {self.log.path}, and it ends with:\n{self.log.last(12)}"


class Supervisor:
    """Holds the children. Used as a context: at its end no child is left.

    `order` is the order of stopping, by name; who is not named there is stopped first.
    """

    def __init__(
        self,
        *,
        logs: Path,
        environment: Mapping[str, str],
        order: Sequence[str] = (),
        echo: Callable[[str], None] | None = None,
    ) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._order = {name: place for place, name in enumerate(order)}
        self._echo = echo
        self._children: list[Child] = []
        self._attendants: list[asyncio.Task[None]] = []
        self._end: asyncio.Future[Stopped | Failed] = asyncio.get_running_loop().create_future()
        self._pipe: tuple[int, int] | None = None
        self._stopping = False

    async def __aenter__(self) -> Supervisor:
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sys.platform != "linux":
            # Only its end is of interest: it comes when this process is gone, however it went.
            self._pipe = os.pipe()
            self._environment[PIPE_VARIABLE] = str(self._pipe[0])
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
                loop.add_signal_handler(number, self._on_signal)
        self._attend(self._trim_logs())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        if not self._end.done():
            self._end.cancel()
        for child in sorted(self._children, key=lambda child: self._order.get(child.spec.name, -1)):
            await child.stop()
        if self._echo:
            await asyncio.sleep(2 * _FOLLOW_EVERY)
        for attendant in self._attendants:
            attendant.cancel()
        await asyncio.gather(*self._attendants, return_exceptions=True)
        for end in self._pipe or ():
            os.close(end)

    async def start(self, spec: Spec) -> Child:
        """Starts a child; when it ends by itself, everything ends."""
        child = await self._spawn(spec)
        child.ended.add_done_callback(lambda _: self._on_child(child))
        return child

    async def run(self, spec: Spec) -> None:
        """Runs a child that is expected to end, and well."""
        child = await self._spawn(spec)
        if await self.unless_ended(asyncio.shield(child.ended)) != 0:
            raise Failed(child.obituary())
        self._children.remove(child)

    async def unless_ended(self, work: Awaitable[T]) -> T:
        """The work's result; Failed or Stopped as soon as a child ends or a signal comes."""
        task = asyncio.ensure_future(work)
        either: list[asyncio.Future[Any]] = [task, self._end]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
        if self._end.done():
            raise self._end.result()
        return task.result()

    async def wait(self) -> NoReturn:
        """Ends with Failed or Stopped."""
        raise await asyncio.shield(self._end)

    async def _spawn(self, spec: Spec) -> Child:
        log = Log(self._logs, spec.name)
        log.rotate()
        with log.path.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *spec.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                pass_fds=self._pipe[:1] if self._pipe else (),
                preexec_fn=parent_death_signal(),
            )
        child = Child(spec, log, process)
        self._children.append(child)
        if self._echo:
            self._attend(_follow(log.path, spec.name, self._echo))
        return child

    def _attend(self, work: Awaitable[None]) -> None:
        self._attendants.append(asyncio.ensure_future(work))

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(30)
            for child in self._children:
                child.log.trim()

    def _on_signal(self) -> None:
        if self._stopping or self._end.done():
            for child in self._children:
                child.kill()
        else:
            self._end.set_result(Stopped())

    def _on_child(self, child: Child) -> None:
        if not self._stopping and not self._end.done():
            self._end.set_result(Failed(child.obituary()))


async def _follow(path: Path, name: str, echo: Callable[[str], None]) -> None:
    """Hands on each line that is appended to the file."""
    rest, at = b"", 0
    while True:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(at if at <= size else 0)
            rest += file.read()
            at = file.tell()
        *lines, rest = rest.split(b"\n")
        for line in lines:
            echo(f"{name:>7} | {line.decode(errors='replace')}")
        await asyncio.sleep(_FOLLOW_EVERY)
