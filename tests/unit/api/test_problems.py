"""Every error is a problem document that explains itself and gives nothing away."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from hub.api.problem_codes import CATALOGUE
from hub.api.problem_page import markdown
from hub.api.problems import pointer_of
from hub.core.errors import Unavailable
from tests.unit.api.harness import World

PLANS = ["plan2"]
"""Nothing here is about where messages are."""

ROOT = Path(__file__).parents[3]


def _problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"], body["status"]) == (status, code, status), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["type"] == "/docs/problems/" + code.replace("_", "-")
    assert body["title"]
    assert body["retryable"] is (status in {429, 500, 503})
    return body


async def test_what_the_framework_refuses_is_a_problem_too(world: World) -> None:
    _problem(await world.call("GET", "/v1/nothing"), 404, "route_not_found")
    answer = await world.call("DELETE", "/v1/tokens")
    _problem(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]
    _problem(await world.call("POST", "/v1/tokens", content=b"user=a"), 415, "media_type_unsupported")
    form = {"Content-Type": "text/plain"}
    _problem(
        await world.call("POST", "/v1/tokens", content=b'{"user":"a"}', headers=form),
        415,
        "media_type_unsupported",
    )
    assert (await world.call("POST", "/v1/tokens/", json={})).status_code == 404
    bare = _problem(await world.call("POST", "/v1/tokens"), 422, "request_invalid")
    needed = "A JSON body is needed, and `Content-Type: application/json`."
    assert bare["errors"] == [{"pointer": "", "code": "missing", "detail": needed}]


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b'{"user": NaN}',
        b'{"user": "\xff"}',
        b'{"user": "\\ud800"}',
        b'{"user": "\\udc00x"}',
        b"[" * 100_000,
        b'{"user":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b'{"user": 1e999}',
    ],
)
async def test_what_is_not_json_is_a_problem(world: World, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await world.call("POST", "/v1/tokens", content=content, headers=headers)
    _problem(answer, 400, "body_malformed")


async def test_a_large_body_is_refused_with_and_without_its_length(world: World) -> None:
    headers = {"Content-Type": "application/json"}
    large = b'{"user": "' + b"a" * 5_000_000 + b'"}'
    _problem(await world.call("POST", "/v1/tokens", content=large, headers=headers), 413, "body_too_large")

    async def drip() -> Any:
        for start in range(0, len(large), 100_000):
            yield large[start : start + 100_000]

    _problem(await world.call("POST", "/v1/tokens", content=drip(), headers=headers), 413, "body_too_large")


async def test_faults_have_a_pointer_and_the_nearest_name(world: World) -> None:
    body = {
        "to": [{"user_id": "a"}, {"user": "b"}],
        "content": {"titel": "你好"},
        "route": {"steps": [{"channel": "ws", "wait": "5 minutes"}]},
    }
    answer = await world.call("POST", "/v1/notifications", json=body)
    problem = _problem(answer, 422, "request_invalid")
    faults = {fault["pointer"]: fault for fault in problem["errors"]}
    assert set(faults) == {
        "/to/1/user_id",
        "/to/1/user",
        "/content/title",
        "/content/titel",
        "/route/steps/0/wait",
    }
    assert "Did you mean `title`" in faults["/content/titel"]["detail"]
    assert "PT30S" in faults["/route/steps/0/wait"]["detail"]
    assert "你好" not in answer.text


async def test_an_unknown_channel_names_the_nearest(world: World) -> None:
    body = {
        "to": [{"user_id": "a"}],
        "content": {"title": "t"},
        "route": {"steps": [{"channel": "wechat_pm"}]},
    }
    problem = _problem(await world.call("POST", "/v1/notifications", json=body), 422, "channel_unknown")
    assert problem["errors"][0]["pointer"] == "/route/steps/0/channel"
    assert "'wechat_mp'" in problem["detail"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to", [{"topic": "dept"}]),
        ("ttl", "PT1H"),
        ("dedupe_window", "PT1H"),
    ],
)
async def test_what_is_not_built_yet_is_said_to_be_so(world: World, field: str, value: Any) -> None:
    body = {"to": [{"user_id": "a"}], "content": {"title": "t"}, field: value}
    _problem(await world.call("POST", "/v1/notifications", json=body), 422, "not_supported")


@pytest.mark.parametrize("user", ["", " a", "a ", "a\x00b", "a\nb", "a/b", ".", "..", "x" * 129, "\u200b"])
async def test_ids_that_would_make_trouble_are_refused(world: World, user: str) -> None:
    problem = _problem(await world.call("POST", "/v1/tokens", json={"user": user}), 422, "request_invalid")
    assert problem["errors"][0]["pointer"] == "/user"
    if user and "/" not in user and user not in {".", ".."}:
        assert (await world.call("GET", "/v1/queue", params={"user": user})).status_code == 422


async def test_an_unexpected_error_shows_no_trace(world: World) -> None:
    def broken(_: str) -> str:
        raise RuntimeError("hub_secret_in_a_trace")

    world.hub.engine.new_id = broken
    await world.users("a")
    answer = await world.call(
        "POST", "/v1/notifications", json={"to": [{"user_id": "a"}], "content": {"title": "t"}}
    )
    _problem(answer, 500, "internal")
    assert "hub_secret" not in answer.text
    assert "Traceback" not in answer.text


async def test_what_is_away_says_when_to_come_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> Any:
        raise Unavailable("store_unavailable", "The database is away.")

    monkeypatch.setattr(world.hub.directory, "users", away)
    answer = await world.call("GET", "/v1/users")
    _problem(answer, 503, "store_unavailable")
    assert answer.headers["retry-after"] == "1"
    world.app.state.hub = None
    _problem(await world.call("GET", "/v1/users"), 503, "starting")


async def test_every_problem_is_explained_where_its_type_says(world: World) -> None:
    for code in CATALOGUE:
        page = await world.call("GET", "/docs/problems/" + re.sub("[_.]", "-", code), "")
        assert page.status_code == 200, code
        assert code in page.text
    listing = await world.call("GET", "/docs/problems", "")
    assert all(code in listing.text for code in CATALOGUE)
    assert (await world.call("GET", "/docs/problems/nonsense", "")).status_code == 404


def test_the_catalogue_and_its_page_agree() -> None:
    assert (ROOT / "docs" / "problems.md").read_text() == markdown()


def test_every_code_in_the_hub_is_in_the_catalogue() -> None:
    """Codes are given as the first argument of an error: they are looked for in the sources."""
    errors = {"Refused", "NotFound", "Forbidden", "Conflict", "Unavailable", "Problem"}
    folders = [ROOT / "hub" / name for name in ("core", "store", "api")]
    found: set[str] = set()
    for file in (file for folder in folders for file in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors:
                found |= {
                    a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)
                }
    assert found - set(CATALOGUE) == set()
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", code) for code in CATALOGUE)


@pytest.mark.parametrize(
    ("where", "body", "pointer"),
    [
        ((), {}, ""),
        (("a",), {}, "/a"),
        (("to", "list[X]", 0, "user_id"), {"to": [{}]}, "/to/0/user_id"),
        (("to", "list[X]"), {"to": 5}, "/to"),
        (("a/b", "c~d"), {"a/b": {"c~d": 1}}, "/a~1b/c~0d"),
    ],
)
def test_pointers_lead_into_the_body(where: tuple[Any, ...], body: Any, pointer: str) -> None:
    assert pointer_of(where, body) == pointer
