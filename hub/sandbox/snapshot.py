"""The state as one JSON file, written beside and renamed, so that a crash leaves the old or the new one."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

import msgspec

from hub.sandbox.state import State
from hub.sandbox.world import World

log = logging.getLogger("hub.sandbox")

_NAME: Final = "sandbox.json"
_EVERY_S: Final = 1.0


def load(folder: Path) -> State | None:
    """The state that was saved; None where there is none. Raises SystemExit, naming the file, for a broken one."""
    path = folder / _NAME
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except msgspec.DecodeError as error:
        raise SystemExit(f"{path} cannot be read ({error}); move it away to begin anew") from error


def save(folder: Path, state: State) -> None:
    """Writes the state. A full disk must not stop the sandbox, so that is said in the log only."""
    fresh = folder / f"{_NAME}.new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(msgspec.json.encode(state))
        fresh.chmod(0o600)
        fresh.replace(folder / _NAME)
    except OSError:
        log.exception("sandbox.snapshot_failed")


async def keep_saving(folder: Path, world: World) -> None:
    """Saves what has changed, once a second at most, and once more when cancelled."""
    try:
        while True:
            await asyncio.sleep(_EVERY_S)
            if world.dirty:
                world.dirty = False
                save(folder, world.state)
    finally:
        save(folder, world.state)
