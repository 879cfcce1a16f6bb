"""`/v1/media`: files that messages show, uploaded as a stream and served with ranges or by signed links."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from hub.api.answers import location, shown
from hub.api.deps import Caller, Hub, Services, by_either, person_of
from hub.api.media_links import holds, signed
from hub.api.multipart import first_file
from hub.api.problems import Problem
from hub.api.route import HubRoute
from hub.api.schemas import ForUser
from hub.api.schemas_media import (
    FileName,
    LinkShown,
    MediaShown,
    PathMedia,
    UploadNew,
    UploadShown,
    media_shown,
)
from hub.core.identity import ApiCaller, EndUser
from hub.core.media import MediaId, MediaRecord
from hub.core.media_types import disposition
from hub.core.message import SYSTEM, AppId, UserKey
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1/media", tags=["media"], route_class=HubRoute)

Reader = Annotated[Caller, by_either(Scope.MESSAGES_READ, UserScope.READ)]
Writer = Annotated[Caller, by_either(Scope.MESSAGES_WRITE, UserScope.WRITE)]

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_BINARY: Final[Mapping[str, Any]] = {
    "schema": {"type": "string", "format": "binary"},
    "example": "(the bytes of the file)",
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": _BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                },
                "example": {"file": "(the bytes of the file)"},
            },
        },
    }
}
_BYTES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/octet-stream": dict(_BINARY)}, "description": "The bytes."},
    206: {"content": {"application/octet-stream": dict(_BINARY)}, "description": "A stretch of them."},
    307: {"description": "They are at a signed URL of the store."},
    416: {"description": "No such stretch."},
}
_NAME = Query(description="The file's name, for who saves it; a form says it itself.", examples=["照片.jpg"])


@router.post("", operation_id="uploadMedia", status_code=201, response_model=MediaShown, openapi_extra=_BODY)
async def upload(
    request: Request, hub: Hub, caller: Writer, name: Annotated[FileName, _NAME] = "", user: ForUser = None
) -> Response:
    """Upload a file: as the body itself, with its type, or as the first file of a form.

    Messages show it by its id in their bodies: `{"media": "med_…"}`. A file that no message shows within
    `HUB_MEDIA_UNUSED` is removed.
    """
    mime = request.headers.get("content-type", "")
    chunks: AsyncIterator[bytes] = request.stream()
    if mime.partition(";")[0].strip().lower() == "multipart/form-data":
        part = await first_file(mime, chunks)
        name, mime, chunks = name or part.name, part.mime, part.chunks
    record = await hub.keeping.media.upload(
        caller.app,
        await _owner(hub, caller, user),
        chunks,
        name=name,
        mime=mime,
        most=await _most(hub, caller.app),
    )
    return shown(media_shown(record), 201, location("media", record.id))


@router.post("/uploads", operation_id="beginUpload", status_code=201, response_model=UploadShown)
async def begin(hub: Hub, caller: Writer, body: UploadNew, user: ForUser = None) -> Response:
    """Make room for a large file, and get the URL where to put it: it goes past the hub, where its store allows."""
    record, link = await hub.keeping.media.begin(
        caller.app,
        await _owner(hub, caller, user),
        name=body.name,
        mime=body.mime,
        size=body.size,
        most=await _most(hub, caller.app),
    )
    answer = UploadShown(
        **media_shown(record).model_dump(), method=link.method, url=link.url, headers=dict(link.headers)
    )
    return shown(answer, 201, location("media", record.id))


@router.post("/{media_id}/complete", operation_id="completeUpload", response_model=MediaShown)
async def complete(hub: Hub, caller: Writer, media_id: PathMedia) -> Response:
    """Say that the bytes have been put: from now on messages can show the file."""
    owner = caller.key if isinstance(caller, EndUser) else None
    return shown(media_shown(await hub.keeping.media.complete(caller.app, owner, MediaId(media_id))))


@router.get("/{media_id}", operation_id="getMedia", responses=_BYTES, response_class=Response)
async def get(request: Request, hub: Hub, caller: Reader, media_id: PathMedia) -> Response:
    """Get a file's bytes: one's own, or one that a message shows which one can read. Ranges are answered."""
    record = await _found(hub, caller, media_id)
    url, _ = hub.keeping.media.link(record)
    if url is not None:
        return Response(status_code=307, headers={"Location": url})
    return _served(request, hub, record)


@router.get("/{media_id}/about", operation_id="describeMedia", response_model=MediaShown)
async def about(hub: Hub, caller: Reader, media_id: PathMedia) -> Response:
    """Get what is known of a file."""
    return shown(media_shown(await _found(hub, caller, media_id)))


@router.get("/{media_id}/link", operation_id="linkMedia", response_model=LinkShown)
async def link(hub: Hub, caller: Reader, media_id: PathMedia) -> Response:
    """Get a URL that works without a token for a while: for `<img>`, players and downloads."""
    record = await _found(hub, caller, media_id)
    url, expires_at = hub.keeping.media.link(record)
    return shown(LinkShown(url=url or signed(hub.settings, record.id, expires_at), expires_at=expires_at))


@router.get("/{media_id}/file", operation_id="getMediaByLink", responses=_BYTES, response_class=Response)
async def by_link(
    request: Request,
    hub: Hub,
    media_id: PathMedia,
    expires: Annotated[int, Query(ge=0, le=2**40)],
    signature: Annotated[str, Query(min_length=1, max_length=64, pattern=r"^[0-9a-f]+$")],
) -> Response:
    """Get a file's bytes by a link that `linkMedia` made."""
    media = MediaId(media_id)
    if not holds(hub.settings, media, expires, signature, hub.engine.clock()):
        raise Problem("media_link_invalid", "This link is not one of the hub's, or its time is over.")
    return _served(request, hub, await hub.keeping.media.linked(media))


async def _found(hub: Services, caller: Caller, media_id: str) -> MediaRecord:
    reader = caller.key if isinstance(caller, EndUser) else None
    return await hub.keeping.media.find(caller.app, reader, MediaId(media_id))


async def _most(hub: Services, app: AppId) -> int:
    chosen = (await hub.directory.app(app)).settings.media_max_bytes
    return hub.settings.media_max_bytes if chosen is None else chosen


async def _owner(hub: Services, caller: Caller, user: str | None) -> UserKey:
    """A business system uploads for itself, or for a user whom it names."""
    if isinstance(caller, ApiCaller) and user is None:
        return SYSTEM
    return (await person_of(hub, caller, user)).key


def _served(request: Request, hub: Services, record: MediaRecord) -> Response:
    """The bytes, or the one stretch that was asked for. Nothing uploaded is ever run: it is shown or saved."""
    headers = {
        "Content-Disposition": disposition(record.mime, record.name),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "ETag": f'"{record.id}"',
    }
    first, last, status = 0, record.size - 1, 200
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if (
        asked is not None
        and any(asked.groups())
        and request.headers.get("if-range", headers["ETag"]) == headers["ETag"]
    ):
        first, last = _stretch(asked[1], asked[2], record.size)
        if first > last:
            raise Problem(
                "range_invalid",
                f"The file has {record.size:,} bytes.",
                headers={"Content-Range": f"bytes */{record.size}"},
            )
        headers["Content-Range"] = f"bytes {first}-{last}/{record.size}"
        status = 206
    headers["Content-Length"] = str(last - first + 1)
    chunks = hub.keeping.media.store.read(record.id, start=first, length=last - first + 1)
    return StreamingResponse(chunks, status, headers, record.mime)


def _stretch(first: str, last: str, size: int) -> tuple[int, int]:
    """The ends, both included; the first behind the last where there is nothing."""
    if not first:
        return (max(0, size - int(last)), size - 1) if int(last) else (1, 0)
    return int(first), min(int(last) if last else size - 1, size - 1)
