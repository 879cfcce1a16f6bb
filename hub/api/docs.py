"""`/docs`, `/openapi.json` and the explanations of problems: all from this machine, under a strict CSP."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from hub.api.problem_codes import CATALOGUE
from hub.api.problems import PAGE, Problem, slug_of

router = APIRouter(include_in_schema=False)

_STATIC: Final = Path(__file__).parent / "static"
_MEDIA: Final = {".css": "text/css", ".js": "text/javascript", ".png": "image/png", ".txt": "text/plain"}
# Swagger UI sets styles by script, which this allows, and shows images of its style sheet as data.
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES: Final = {
    name: _STATIC / folder / name
    for folder, names in {
        "swagger": ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"),
        "": ("docs.js", "docs.css"),
    }.items()
    for name in names
}
_CODES: Final = {slug_of(code): code for code in CATALOGUE}
_DOCS: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Notification hub: REST API</title>
<link rel="icon" type="image/png" href="docs/static/favicon-32x32.png">
<link rel="stylesheet" href="docs/static/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The description itself is at <a href="openapi.json">/openapi.json</a>.</noscript>
<script src="docs/static/swagger-ui-bundle.js"></script>
<script src="docs/static/docs.js"></script>
</body>
</html>
"""
_PROBLEMS: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{up}docs/static/docs.css">
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""


@router.get("/docs")
async def docs() -> Response:
    """The interactive description."""
    return HTMLResponse(_DOCS, headers={"Content-Security-Policy": _CSP})


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The description for machines."""
    return Response(msgspec.json.encode(request.app.openapi()), media_type="application/json")


@router.get("/docs/static/{name}")
async def static(name: str) -> Response:
    """One of the vendored files, and nothing else."""
    file = _FILES.get(name)
    if file is None:
        raise Problem("route_not_found", "There is no such file.")
    headers = {"Cache-Control": "public, max-age=3600"}
    return FileResponse(file, media_type=_MEDIA[file.suffix], headers=headers)


@router.get(PAGE)
async def problems() -> Response:
    """Every problem that the API answers with."""
    rows = "\n".join(
        f'<tr id="{code}"><td><a href="problems/{slug_of(code)}"><code>{code}</code></a></td>'
        f"<td>{kind.status}</td><td>{escape(kind.title)}</td></tr>"
        for code, kind in CATALOGUE.items()
    )
    table = f"<table>\n<tr><th>code</th><th>status</th><th>title</th></tr>\n{rows}\n</table>"
    return _page("Problems", table, up="../")


@router.get(PAGE + "/{slug}")
async def problem(slug: str) -> Response:
    """One problem: what it means and what to do about it."""
    code = _CODES.get(slug, "")
    kind = CATALOGUE.get(code)
    if kind is None:
        raise Problem("route_not_found", "There is no problem of this name; the list is at /docs/problems.")
    retry = "The same request may succeed later as it is." if kind.retryable else "A repeat will not help."
    content = (
        f"<p><code>{code}</code> · HTTP {kind.status}</p>\n<p>{escape(kind.meaning)}</p>\n<p>{retry}</p>\n"
        '<p><a href="../problems">All problems</a></p>'
    )
    return _page(kind.title, content, up="../../")


def _page(title: str, content: str, *, up: str) -> Response:
    page = _PROBLEMS.format(title=escape(title), content=content, up=up)
    return HTMLResponse(page, headers={"Content-Security-Policy": _CSP})
