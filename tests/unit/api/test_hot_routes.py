"""The short way and FastAPI's way answer alike."""

from __future__ import annotations

from typing import Any

import pytest

from hub.api.hot import HotRoutes
from tests.unit.api.harness import World

JSON = {"Content-Type": "application/json"}
GOOD = b'{"to":{"user":"a"},"sender":"a","body":"x","client_msg_id":"c"}'
REQUESTS: list[tuple[str, bytes, dict[str, str]]] = [
    ("/v1/messages", GOOD, JSON),
    ("/v1/messages", GOOD, {**JSON, "Idempotency-Key": "k"}),
    ("/v1/messages", GOOD, {**JSON, "Idempotency-Key": "k" * 256}),
    ("/v1/messages", GOOD, {**JSON, "Idempotency-Key": "two words"}),
    ("/v1/messages", GOOD, {"Content-Type": "text/plain"}),
    ("/v1/messages", GOOD, {}),
    ("/v1/messages", GOOD, {**JSON, "Authorization": "Bearer hub_1_2"}),
    ("/v1/messages", GOOD, {**JSON, "Authorization": ""}),
    ("/v1/messages", b"", JSON),
    ("/v1/messages", b"[]", JSON),
    ("/v1/messages", b"null", JSON),
    ("/v1/messages", b"{", JSON),
    ("/v1/messages", b'{"to":{"user":"nobody"},"sender":"a","body":"x"}', JSON),
    ("/v1/messages", b'{"to":{},"bodi":"x","sender":7}', JSON),
    ("/v1/notifications", b'{"to":[{"user":"a"}],"content":{"title":""},"template":1}', JSON),
    ("/v1/notifications/batch", b'{"notifications":[7]}', JSON),
    ("/v1/notifications/batch", b'{"notifications":[]}', JSON),
]


def _hot_routes(world: World) -> HotRoutes:
    layer: Any = world.app.middleware_stack
    while not isinstance(layer, HotRoutes):
        layer = layer.app if hasattr(layer, "app") else layer._app
    return layer


def _told(body: Any) -> Any:
    """What the answer says, without what differs from request to request."""
    if isinstance(body, dict):
        return {
            k: _told(v) for k, v in body.items() if k not in {"id", "request_id", "at", "seq", "duplicate"}
        }
    return [_told(item) for item in body] if isinstance(body, list) else body


@pytest.mark.parametrize(("path", "content", "headers"), REQUESTS)
async def test_both_ways_answer_alike(
    world: World, path: str, content: bytes, headers: dict[str, str]
) -> None:
    await world.users("a")
    short = await world.call("POST", path, content=content, headers=headers)
    _hot_routes(world)._hot.clear()
    long = await world.call("POST", path, content=content, headers=headers)
    assert short.status_code == long.status_code, (short.text, long.text)
    assert _told(short.json()) == _told(long.json())
