"""A progress bar on standard error: one line that is written anew in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, Self, TextIO

_WIDTH: Final = 24
_TERMINAL_EVERY: Final = 0.1
_LOG_EVERY: Final = 10.0


class Progress:
    """`with Progress("load", total) as bar: bar.to(n)`. A total of 0 is not known: only the count is shown."""

    def __init__(self, what: str, total: int = 0, *, out: TextIO | None = None) -> None:
        self._what = what
        self._total = total
        self._out = out or sys.stderr
        self._terminal = self._out.isatty()
        self._begun = time.monotonic()
        self._shown = 0.0
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show()
        if self._terminal:
            self._out.write("\n")
            self._out.flush()

    def to(self, done: int) -> None:
        """So much is done."""
        self._done = done
        if time.monotonic() - self._shown >= (_TERMINAL_EVERY if self._terminal else _LOG_EVERY):
            self._show()

    def add(self, more: int = 1) -> None:
        """So much more is done."""
        self.to(self._done + more)

    def _show(self) -> None:
        self._shown = time.monotonic()
        line = self._line(self._shown - self._begun)
        self._out.write(f"\r{line}\x1b[K" if self._terminal else f"{line}\n")
        self._out.flush()

    def _line(self, seconds: float) -> str:
        rate = self._done / seconds if seconds > 0 else 0.0
        if not self._total:
            return f"{self._what}: {self._done:,}  {rate:,.0f}/s"
        share = min(1.0, self._done / self._total)
        full = round(share * _WIDTH)
        left = f"{(self._total - self._done) / rate:,.0f} s left" if rate else ""
        bar = "#" * full + "." * (_WIDTH - full)
        return f"{self._what}: [{bar}] {share:4.0%}  {self._done:,}/{self._total:,}  {rate:,.0f}/s  {left}".rstrip()
