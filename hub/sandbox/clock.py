"""The sandbox's time: real, moved by a test, or standing still."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

BEIJING: Final = timezone(timedelta(hours=8))


@dataclass(slots=True)
class Clock:
    """Seconds since 1970. Quotas begin anew at 00:00 in Beijing."""

    offset: float = 0.0
    frozen_at: float | None = None

    def now(self) -> float:
        """The time it is in the sandbox."""
        return (time.time() if self.frozen_at is None else self.frozen_at) + self.offset

    def advance(self, by: timedelta) -> None:
        """Moves the time on; negative goes back."""
        self.offset += by.total_seconds()

    def freeze(self) -> None:
        """Stops the time where it is."""
        self.frozen_at = time.time()

    def thaw(self) -> None:
        """Lets the time run on, from now plus what it was moved by."""
        self.frozen_at = None

    def reset(self) -> None:
        """Real time again."""
        self.offset, self.frozen_at = 0.0, None

    def day(self) -> str:
        """The day in Beijing."""
        return self._beijing().strftime("%Y-%m-%d")

    def minute(self) -> str:
        """The minute in Beijing."""
        return self._beijing().strftime("%Y-%m-%d %H:%M")

    def month(self) -> str:
        """The month in Beijing."""
        return self._beijing().strftime("%Y-%m")

    def _beijing(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC).astimezone(BEIJING)
