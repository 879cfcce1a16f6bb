"""Health, metrics, documentation, and that the description is complete."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hub.api import Readiness
from tests.unit.api.harness import World

PLANS = ["plan2"]
"""Nothing here is about where messages are."""

STATIC = Path(__file__).parents[3] / "hub" / "api" / "static"


async def test_health_and_readiness(world: World) -> None:
    assert await world.get("/healthz", "") == {"status": "ok"}
    assert (await world.get("/readyz", ""))["status"] == "ready"
    world.hub.dependencies = [Readiness("database", True, 0.3), Readiness("redis", False, 250.0, "timed out")]
    answer = await world.call("GET", "/readyz", "")
    assert (answer.status_code, answer.json()["dependencies"][1]["detail"]) == (503, "timed out")
    world.app.state.hub = None
    assert (await world.call("GET", "/readyz", "")).status_code == 503


async def test_metrics_have_templates_and_never_ids(world: World) -> None:
    await world.users("秘密用户")
    await world.get("/v1/users/秘密用户")
    await world.call("GET", "/v1/users/nobody")
    await world.call("GET", "/etc/passwd")
    text = (await world.call("GET", "/metrics", "")).text
    assert 'hub_http_requests_total{method="GET",route="/v1/users/{user_id}",status="200"} 1.0' in text
    assert 'route="/v1/users/{user_id}",status="404"} 1.0' in text
    assert 'route="unmatched",status="404"' in text
    assert "秘密" not in text
    assert "passwd" not in text


async def test_every_answer_has_an_id_and_security_headers(world: World) -> None:
    given = await world.call("GET", "/v1/users", headers={"X-Request-Id": "trace-1"})
    assert given.headers["x-request-id"] == "trace-1"
    for path in ("/v1/users", "/v1/nothing", "/healthz"):
        answer = await world.call("GET", path, headers={"X-Request-Id": "bad id\t<script>"})
        assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_the_docs_are_served_from_here_under_a_strict_policy(world: World) -> None:
    page = await world.call("GET", "/docs", "")
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "http" not in re.sub(r"<!doctype html>", "", page.text)
    assert not re.search(r"<script>|\son\w+=|style=", page.text)
    for source in re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text):
        file = await world.call("GET", f"/{source}", "")
        assert (file.status_code, file.headers["content-type"].split(";")[0] != "application/json") == (
            200,
            True,
        )
    for other in ("LICENSE", "../api/docs.py", "..%2Fdocs.py", "swagger/LICENSE"):
        assert (await world.call("GET", f"/docs/static/{other}", "")).status_code == 404
    assert (STATIC / "swagger" / "LICENSE").read_text().strip()


def test_the_vendored_files_name_no_package_registry() -> None:
    for file in STATIC.rglob("*"):
        if file.suffix in {".js", ".css", ".txt", ".html"}:
            assert "registry." not in file.read_text()


async def test_every_operation_is_described_with_examples(world: World) -> None:
    schema = await world.get("/openapi.json", "")
    assert schema["openapi"].startswith("3.1")
    seen: set[str] = set()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["operationId"] not in seen, where
            seen.add(operation["operationId"])
            assert operation["summary"], where
            assert operation["description"], where
            assert operation["tags"], where
            assert "security" in operation, where
            if path.startswith("/v1/") and operation["security"]:
                assert {"401", "403", "404", "422", "429", "500", "503"} <= operation["responses"].keys(), (
                    where
                )
            for kind, media in _bodies(operation):
                assert "example" in media, f"{where} {kind}"
                validator = jsonschema.Draft202012Validator(
                    {**media["schema"], "components": schema["components"]}
                )
                errors = [error.message for error in validator.iter_errors(media["example"])]
                assert errors == [], f"{where} {kind}"
            for parameter in operation.get("parameters", []):
                assert parameter["schema"], where


def _bodies(operation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = list(operation.get("requestBody", {}).get("content", {}).items())
    for status, response in operation["responses"].items():
        found += [(status, media) for media in response.get("content", {}).values()]
    return found


async def test_answers_fit_their_schemas_even_the_hand_made_ones(world: World) -> None:
    """The short way out (structs, not models) must say what the description says."""
    await world.users("a", "b")
    group = await world.group("a", "b")
    sent = await world.post(
        f"/v1/conversations/{group}/messages",
        {"body": {"文": "好"}, "sender": "a", "mentions": ["b"], "client_msg_id": "c1"},
    )
    accepted = await world.post(
        "/v1/notifications", {"to": [{"user_id": "a"}], "content": {"title": "x"}, "policy": "urgent"}
    )
    schema = world.app.openapi()
    checks = {
        ("post", "/v1/conversations/{conversation_id}/messages", "201"): sent,
        ("post", "/v1/notifications", "202"): accepted,
        ("get", "/v1/conversations", "200"): await world.get("/v1/conversations?user=b"),
        ("get", "/v1/conversations/{conversation_id}", "200"): await world.get(
            f"/v1/conversations/{group}?user=b"
        ),
        ("get", "/v1/conversations/{conversation_id}/messages", "200"): await world.get(
            f"/v1/conversations/{group}/messages"
        ),
        ("get", "/v1/queue", "200"): await world.get("/v1/queue?user=b"),
        ("get", "/v1/notifications/{notification_id}", "200"): await world.get(accepted["links"]["self"]),
    }
    for (method, path, status), answer in checks.items():
        media = schema["paths"][path][method]["responses"][status]["content"]["application/json"]
        validator = jsonschema.Draft202012Validator({**media["schema"], "components": schema["components"]})
        assert [error.message for error in validator.iter_errors(answer)] == [], path
        assert json.dumps(answer, ensure_ascii=False)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/docs/problems"])
async def test_what_anybody_may_read_needs_no_key(world: World, path: str) -> None:
    assert (await world.call("GET", path, "")).status_code == 200
