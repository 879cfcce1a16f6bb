"""A small store that speaks S3: it checks every signature itself, as the far side would, and expires its URLs."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from aiohttp import web

KEY, SECRET, REGION = "hubkey", "se/cret+1", "eu-1"


@dataclass
class FakeS3:
    """What it holds, and how often it was asked for what."""

    url: str = ""
    origin: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    broken: bool = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request, refused with 403 where its signature is not right."""
        body = await request.read()
        self.asked.append(request.method)
        if self.broken:
            return web.Response(status=500)
        if not genuine(request, body):
            return web.Response(status=403, text="SignatureDoesNotMatch")
        path = request.path
        match request.method:
            case "PUT":
                self.objects[path], self.types[path] = body, request.headers["content-type"]
                return web.Response()
            case "DELETE":
                self.objects.pop(path, None)
                return web.Response(status=204)
            case _:
                pass
        if path not in self.objects:
            return web.Response(status=404)
        data = self.objects[path]
        headers = {"Content-Type": request.query.get("response-content-type", self.types[path])}
        if given := request.headers.get("range"):
            first, _, last = given.removeprefix("bytes=").partition("-")
            return web.Response(status=206, body=data[int(first) : int(last) + 1], headers=headers)
        return web.Response(body=data, headers=headers)


def genuine(request: web.Request, body: bytes) -> bool:
    """Whether the request is signed with our key, by its header or by its URL, and in time."""
    query = [
        (unquote(name), unquote(value))
        for name, _, value in (
            part.partition("=") for part in request.rel_url.raw_query_string.split("&") if part
        )
    ]
    given = dict(query)
    if "X-Amz-Signature" in given:
        signature, stamp = given["X-Amz-Signature"], given["X-Amz-Date"]
        names, payload = given["X-Amz-SignedHeaders"], "UNSIGNED-PAYLOAD"
        begun = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if datetime.now(UTC) > begun + timedelta(seconds=int(given["X-Amz-Expires"])):
            return False
        query = [pair for pair in query if pair[0] != "X-Amz-Signature"]
    else:
        words = dict(
            part.strip().partition("=")[::2]
            for part in request.headers["authorization"].partition(" ")[2].split(",")
        )
        signature, names, stamp = words["Signature"], words["SignedHeaders"], request.headers["x-amz-date"]
        payload = request.headers["x-amz-content-sha256"]
        if payload != hashlib.sha256(body).hexdigest():
            return False
    return hmac.compare_digest(signature, _signature(request, query, names, payload, stamp))


def _signature(
    request: web.Request, query: list[tuple[str, str]], names: str, payload: str, stamp: str
) -> str:
    encoded = sorted((quote(a, safe="-_.~"), quote(b, safe="-_.~")) for a, b in query)
    lines = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in names.split(";"))
    canonical = "\n".join(
        (
            request.method,
            request.rel_url.raw_path,
            "&".join(f"{a}={b}" for a, b in encoded),
            lines,
            names,
            payload,
        )
    )
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{SECRET}".encode()
    for word in (stamp[:8], REGION, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


@asynccontextmanager
async def fake_s3(options: Mapping[str, str] | None = None) -> AsyncIterator[FakeS3]:
    """One that listens on this machine; `url` is what HUB_MEDIA_URL would be."""
    store = FakeS3()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", store.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        store.origin = f"http://127.0.0.1:{port}"
        more = "".join(f"&{name}={value}" for name, value in (options or {}).items())
        secret = quote(SECRET, safe="")
        store.url = f"s3+http://{KEY}:{secret}@127.0.0.1:{port}/bucket/hub?region={REGION}{more}"
        yield store
    finally:
        await runner.cleanup()
