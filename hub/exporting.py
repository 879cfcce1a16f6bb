"""`hub export`: an app, a user or a conversation as a file of JSON lines, whole or not at all."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import BinaryIO

from hub.bootstrap_keeping import open_keeping
from hub.bootstrap_store import open_chosen_store, rooms_on
from hub.core.export import Wanted
from hub.embedded import Trouble
from hub.progress import Progress
from hub.redis_link import open_redis
from hub.settings import Settings


def export(settings: Settings, wanted: Wanted, out: Path) -> int:
    """Write the file, which only its owner may read; how many lines it has. Raises HubError and Trouble."""
    return asyncio.run(_export(settings, wanted, out))


async def _export(settings: Settings, wanted: Wanted, out: Path) -> int:
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(open_redis(settings.redis))
        store = await stack.enter_async_context(open_chosen_store(settings, link))
        rooms = rooms_on(store, settings)
        opened = open_keeping(settings, store, rooms)
        keeping = await stack.enter_async_context(opened)
        await rooms.directory.app(wanted.app)
        await keeping.exports.check(wanted)
        part = out.with_name(f".{out.name}.{os.getpid()}")
        count = 0
        try:
            with _private(part) as file, Progress("export") as bar:
                async for line in keeping.exports.lines(wanted):
                    file.write(line)
                    count += 1
                    bar.to(count)
                file.flush()
                os.fsync(file.fileno())
            part.replace(out)
        except OSError as error:
            message = f"cannot write {out} ({error.strerror})"
            raise Trouble(message) from None
        finally:
            part.unlink(missing_ok=True)
        return count


def _private(path: Path) -> BinaryIO:
    """A new file that nobody else may read."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        message = f"cannot write {path.parent} ({error.strerror}); give another file: --out FILE"
        raise Trouble(message) from None
