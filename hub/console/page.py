"""`/` and its assets: static ES modules from this machine, under a CSP that allows nothing inline."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import FileResponse, HTMLResponse

import hub

router = APIRouter(include_in_schema=False)

_STATIC: Final = Path(__file__).parent / "static"
_MEDIA: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES: Final = frozenset(
    {
        "api.js",
        "bubble.js",
        "cards.js",
        "changes.js",
        "chat.js",
        "composer.js",
        "console.css",
        "dom.js",
        "files.js",
        "frames.js",
        "health.js",
        "hub-client.js",
        "icon.svg",
        "ledger.js",
        "main.js",
        "manage.js",
        "notices.js",
        "notify.js",
        "outbox.js",
        "people.js",
        "phone.css",
        "phone.js",
        "pulls.js",
        "search.js",
        "story.js",
        "talks.js",
        "thread.js",
        "timers.js",
        "trial.js",
        "verbs.js",
        "words.js",
    }
)
_HEADERS: Final = {
    # Trusted types: not even a mistake of ours can turn text into markup.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@router.get("/")
async def console() -> Response:
    """The page, with the version of the hub that serves it."""
    page = (_STATIC / "index.html").read_text(encoding="utf-8")
    return HTMLResponse(page.replace("{version}", escape(hub.__version__)), headers=_HEADERS)


@router.get("/console/static/{name}")
async def static(name: str) -> Response:
    """One of the page's own files, and nothing else."""
    if name not in _FILES:
        raise HTTPException(404, "There is no such file.")
    file = _STATIC / name
    return FileResponse(file, media_type=_MEDIA[file.suffix], headers={"Cache-Control": "no-cache"})
