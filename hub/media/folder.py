"""Uploaded files in a local folder: sharded by id, written aside, synced, and moved into place whole."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from hub.core.errors import HubError, NotFound, Refused, Unavailable
from hub.core.media import MediaId, Received, UploadLink, is_media_id
from hub.core.media_desk import too_large
from hub.core.media_types import BEGINNING

_WRITE: Final = 1_048_576
_READ: Final = 262_144


class Spool:
    """Takes bytes aside in a folder, a megabyte in memory at most."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def receive(self, chunks: AsyncIterator[bytes], *, most: int) -> Received:
        """See MediaStore."""
        place = self._folder / secrets.token_hex(16)
        digest, size, beginning, waiting = hashlib.sha256(), 0, b"", bytearray()
        try:
            file = await asyncio.to_thread(self._open, place)
        except OSError as error:
            raise away(error) from None
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > most:
                    raise too_large(most)
                beginning += chunk[: max(0, BEGINNING - len(beginning))]
                waiting += chunk
                if len(waiting) >= _WRITE:
                    await asyncio.to_thread(_write, file, bytes(waiting), digest)
                    waiting.clear()
            if not size:
                raise Refused("media_empty", "The file has no bytes.")
            await asyncio.to_thread(_write, file, bytes(waiting), digest, last=True)
        except BaseException as error:
            await asyncio.to_thread(_drop, file, place)
            if isinstance(error, OSError) and not isinstance(error, HubError):
                raise away(error) from None
            raise
        file.close()
        return Received(str(place), size, digest.hexdigest(), beginning)

    async def discard(self, received: Received) -> None:
        """See MediaStore."""
        await asyncio.to_thread(Path(received.place).unlink, missing_ok=True)

    async def tidy(self, before: datetime) -> None:
        """See MediaStore."""
        await asyncio.to_thread(self._tidy, before.timestamp())

    def _open(self, place: Path) -> BinaryIO:
        for folder in (self._folder.parent, self._folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)

    def _tidy(self, before: float) -> None:
        with contextlib.suppress(FileNotFoundError):
            for file in self._folder.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if file.stat().st_mtime < before:
                        file.unlink()


class FolderStore:
    """`MediaStore` in a folder of this machine, or one that all nodes share. Raises Unavailable for a disk that is full
    or away."""

    direct = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # On the same file system: a move within it is atomic.
        self._spool = Spool(folder / ".incoming")
        self.receive = self._spool.receive
        self.discard = self._spool.discard
        self.tidy = self._spool.tidy

    async def keep(self, received: Received, key: MediaId, *, mime: str) -> None:  # noqa: ARG002  (the port)
        """See the port."""
        try:
            await asyncio.to_thread(self._keep, Path(received.place), self._path(key))
        except OSError as error:
            raise away(error) from None

    async def read(self, key: MediaId, *, start: int, length: int) -> AsyncIterator[bytes]:
        """See the port."""
        try:
            file = await asyncio.to_thread(self._path(key).open, "rb")
        except FileNotFoundError:
            raise missing() from None
        except OSError as error:
            raise away(error) from None
        try:
            await asyncio.to_thread(file.seek, start)
            left = length
            while left > 0 and (part := await asyncio.to_thread(file.read, min(_READ, left))):
                left -= len(part)
                yield part
        finally:
            file.close()

    async def size(self, key: MediaId) -> int | None:
        """See the port."""
        try:
            return (await asyncio.to_thread(self._path(key).stat)).st_size
        except FileNotFoundError:
            return None

    async def remove(self, key: MediaId) -> None:
        """See the port."""
        try:
            await asyncio.to_thread(self._path(key).unlink, missing_ok=True)
        except OSError as error:
            raise away(error) from None

    def link(
        self,
        key: MediaId,  # noqa: ARG002  (the port)
        *,
        mime: str,  # noqa: ARG002
        disposition: str,  # noqa: ARG002
        ttl: timedelta,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
    ) -> str | None:
        """None: the hub itself serves it."""
        return None

    def upload_link(
        self,
        key: MediaId,  # noqa: ARG002  (the port)
        *,
        mime: str,  # noqa: ARG002
        size: int,  # noqa: ARG002
        ttl: timedelta,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
    ) -> UploadLink | None:
        """None: the hub itself takes it."""
        return None

    def _path(self, key: MediaId) -> Path:
        """From the end of the id, which is random: its beginning is the time."""
        if not is_media_id(key):
            raise missing()
        return self._folder / key[-2:] / key[-4:-2] / key

    @staticmethod
    def _keep(place: Path, target: Path) -> None:
        if not place.exists() and target.exists():
            return
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.replace(target)
        for folder in (target.parent, target.parent.parent, target.parent.parent.parent):
            _sync_folder(folder)


def missing() -> NotFound:
    """The error of bytes that are not there."""
    return NotFound("media_not_found", "There is no such file, or it is not yours to see.")


def away(error: OSError) -> Unavailable:
    """The error of a store that cannot be used now."""
    return Unavailable("media_unavailable", f"Files cannot be kept right now ({type(error).__name__}).")


def _write(file: BinaryIO, part: bytes, digest: hashlib._Hash, *, last: bool = False) -> None:
    digest.update(part)
    view = memoryview(part)
    while view:
        view = view[file.write(view) :]
    if last:
        os.fsync(file.fileno())


def _drop(file: BinaryIO, place: Path) -> None:
    file.close()
    place.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
