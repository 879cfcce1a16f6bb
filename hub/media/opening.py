"""Opens the media store that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hub.core.media import MediaStore
from hub.core.ports import Clock
from hub.media.folder import FolderStore
from hub.media.s3 import SCHEMES, open_s3


@asynccontextmanager
async def open_media_store(where: str, *, data_dir: Path, clock: Clock) -> AsyncIterator[MediaStore]:
    """A folder's path, a URL of an S3 store, or (empty) the folder `media` with the other data. Raises ValueError."""
    if where.partition("://")[0] in SCHEMES:
        async with open_s3(where, incoming=data_dir / "media-incoming", clock=clock) as store:
            yield store
        return
    if "://" in where:
        message = "HUB_MEDIA_URL: expected a folder or s3+https://key:secret@host/bucket?region=REGION"
        raise ValueError(message)
    yield FolderStore(Path(where) if where else data_dir / "media")
