"""Uploaded files in a store that speaks S3: small ones pass through the hub, large ones go past it by signed URLs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp
from yarl import URL

from hub.core.errors import Unavailable
from hub.core.media import MediaId, Received, UploadLink, is_media_id
from hub.core.ports import Clock
from hub.media.folder import Spool, missing
from hub.media.sigv4 import EMPTY, Signer, uri_path

SCHEMES: Final = ("s3+https", "s3+http")
_TIMEOUT: Final = aiohttp.ClientTimeout(total=300, connect=5, sock_connect=5, sock_read=30)
_CHUNK: Final = 262_144
_NOT_FOUND: Final = 404
_REFUSED: Final = 400


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where the store is: origin (`https://host`), path of the bucket with the prefix of all keys, and whose it is."""

    origin: str
    host: str
    path: str
    signer: Signer
    direct: bool

    @staticmethod
    def of(url: str) -> Bucket:
        """From `s3+https://key:secret@host[:port]/bucket[/prefix]?region=…[&direct=false]`. Raises ValueError."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        path = "/" + parts.path.strip("/")
        if parts.scheme not in SCHEMES or not parts.hostname or path == "/":
            message = "expected s3+https://key:secret@host/bucket?region=REGION"
            raise ValueError(message)
        if not parts.username or not parts.password:
            message = "the URL of an S3 store needs its access key and secret before the host"
            raise ValueError(message)
        unknown = options.keys() - {"region", "direct"}
        if unknown:
            message = f"the URL of an S3 store has no option {min(unknown)!r}; known are region and direct"
            raise ValueError(message)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        host = host if parts.port is None else f"{host}:{parts.port}"
        signer = Signer(unquote(parts.username), unquote(parts.password), options.get("region", "us-east-1"))
        direct = options.get("direct", "true").lower() not in ("false", "0", "no")
        return Bucket(f"{parts.scheme.removeprefix('s3+')}://{host}", host, path, signer, direct)


class S3Store:
    """`MediaStore` over S3. Open with `open_s3`; for one event loop."""

    def __init__(self, bucket: Bucket, session: aiohttp.ClientSession, spool: Spool, clock: Clock) -> None:
        self._bucket = bucket
        self._session = session
        self._clock = clock
        self.direct = bucket.direct
        self.receive = spool.receive
        self.discard = spool.discard
        self.tidy = spool.tidy

    async def keep(self, received: Received, key: MediaId, *, mime: str) -> None:
        """See the port."""
        headers = {"content-type": mime, "content-length": str(received.size)}
        path = Path(received.place)
        with path.open("rb") as file:  # noqa: ASYNC230  (opened only: aiohttp reads it in a thread)
            async with self._ask("PUT", key, headers=headers, payload=received.sha256, data=file) as answer:
                _check(answer)

    async def read(self, key: MediaId, *, start: int, length: int) -> AsyncIterator[bytes]:
        """See the port."""
        headers = {"range": f"bytes={start}-{start + length - 1}"}
        async with self._ask("GET", key, headers=headers) as answer:
            if answer.status == _NOT_FOUND:
                raise missing()
            _check(answer)
            async for chunk in answer.content.iter_chunked(_CHUNK):
                yield chunk

    async def size(self, key: MediaId) -> int | None:
        """See the port."""
        async with self._ask("HEAD", key) as answer:
            if answer.status == _NOT_FOUND:
                return None
            _check(answer)
            return int(answer.headers.get("Content-Length", "0"))

    async def remove(self, key: MediaId) -> None:
        """See the port."""
        async with self._ask("DELETE", key) as answer:
            if answer.status != _NOT_FOUND:
                _check(answer)

    def link(self, key: MediaId, *, mime: str, disposition: str, ttl: timedelta, now: datetime) -> str | None:
        """See the port."""
        if not self.direct:
            return None
        query = [("response-content-type", mime), ("response-content-disposition", disposition)]
        return self._url("GET", key, query, {"host": self._bucket.host}, ttl, now)

    def upload_link(
        self, key: MediaId, *, mime: str, size: int, ttl: timedelta, now: datetime
    ) -> UploadLink | None:
        """See the port. Type and length are signed: the store takes no others."""
        if not self.direct:
            return None
        headers = {"content-type": mime, "content-length": str(size)}
        signed = {"host": self._bucket.host, **headers}
        return UploadLink("PUT", self._url("PUT", key, [], signed, ttl, now), headers)

    def _url(
        self,
        method: str,
        key: MediaId,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        ttl: timedelta,
        now: datetime,
    ) -> str:
        path = self._path(key)
        text = self._bucket.signer.query(method, path, query=query, headers=headers, ttl=ttl, now=now)
        return f"{self._bucket.origin}{uri_path(path)}?{text}"

    def _path(self, key: MediaId) -> str:
        if not is_media_id(key):
            raise missing()
        return f"{self._bucket.path}/{key}"

    @asynccontextmanager
    async def _ask(
        self,
        method: str,
        key: MediaId,
        *,
        headers: Mapping[str, str] | None = None,
        payload: str = EMPTY,
        data: object = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        path = self._path(key)
        given = {"host": self._bucket.host, **(headers or {})}
        signed = self._bucket.signer.headers(method, path, headers=given, payload=payload, now=self._clock())
        url = URL(f"{self._bucket.origin}{uri_path(path)}", encoded=True)
        try:
            async with self._session.request(
                method, url, headers=signed, data=data, allow_redirects=False
            ) as answer:
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _away(type(error).__name__) from None


@asynccontextmanager
async def open_s3(url: str, *, incoming: Path, clock: Clock) -> AsyncIterator[S3Store]:
    """The store behind this URL. Raises ValueError."""
    bucket = Bucket.of(url)
    async with aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False, trust_env=False) as session:
        yield S3Store(bucket, session, Spool(incoming), clock)


def _check(answer: aiohttp.ClientResponse) -> None:
    """Raises Unavailable: whatever the store does not do is the hub's affair, not the caller's."""
    if answer.status >= _REFUSED:
        raise _away(f"status {answer.status}")


def _away(what: str) -> Unavailable:
    return Unavailable("media_unavailable", f"Files cannot be kept right now ({what}).")
