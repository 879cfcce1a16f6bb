"""Whether a dependency answers, asked in bounded time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from hub.api.deps import Readiness
from hub.core.errors import QueueUnavailable, Unavailable

_TIMEOUT: Final = 2.0


async def checked(name: str, ask: Callable[[], Awaitable[None]]) -> Readiness:
    """How one dependency does; an answer that takes too long is none."""
    started = time.perf_counter()
    detail = ""
    try:
        async with asyncio.timeout(_TIMEOUT):
            await ask()
    except TimeoutError:
        detail = f"no answer within {_TIMEOUT:g} s"
    except (QueueUnavailable, Unavailable) as error:
        detail = str(error) or type(error).__name__
    return Readiness(name, not detail, (time.perf_counter() - started) * 1000, detail)
