"""The OpenAPI 3.1 description: FastAPI's, with security taken from the code that enforces it, every problem that may
be answered, and an example for every body.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from hub.api.deps import Needs, needs_of
from hub.api.problem_codes import CATALOGUE
from hub.api.problems import slug_of
from hub.api.schemas import ProblemShown, Shown, Strict

Json = dict[str, Any]

_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_SCHEMES: Final[Json] = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "hub_…",
        "description": "A business system's API key (`hub_…`). Never give it to a browser or an app.",
    },
    "userToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An end user's token: from `POST /v1/tokens`, or signed by yourself with a registered key.",
    },
}
_TITLES: Final = {
    "400": "The body is not JSON in UTF-8.",
    "401": "Not authenticated.",
    "403": "Not allowed.",
    "404": "There is no such thing, or it is not the caller's to see.",
    "409": "It contradicts what is there.",
    "412": "The resource has changed since.",
    "413": "The body is too large.",
    "415": "The body is not called JSON.",
    "422": "The request is not valid.",
    "429": "Too many requests; see Retry-After.",
    "500": "Something went wrong that should not have.",
    "503": "A part that the hub needs is away; nothing was acknowledged. See Retry-After.",
}
_SAMPLES: Final = {
    "400": "body_malformed",
    "401": "auth_required",
    "403": "scope_missing",
    "404": "user_not_found",
    "409": "not_a_group",
    "412": "precondition_failed",
    "413": "body_too_large",
    "415": "media_type_unsupported",
    "422": "request_invalid",
    "429": "rate_limited",
    "500": "internal",
    "503": "store_unavailable",
}
DESCRIPTION: Final = """\
One hub for a product's messages: chat and notifications over WebSocket, official accounts and mini programs, in one
ordered queue per user.

Business systems call with an API key, end users with a short-lived token. Errors are problem documents (RFC 9457); the
codes are explained at [/docs/problems](/docs/problems). Lists are paged by an opaque cursor. POSTs that make something
take an `Idempotency-Key`. Times are RFC 3339, durations ISO 8601.
"""


def describe(app: FastAPI, routers: Sequence[APIRouter]) -> Json:
    """The whole description."""
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
        openapi_version="3.1.0",
    )
    components: Json = schema.setdefault("components", {})
    schemas: Json = components.setdefault("schemas", {})
    _add_problem(schemas)
    _restore_examples(schemas)
    components["securitySchemes"] = _SCHEMES
    for route in _routes(routers):
        for method in sorted(route.methods or ()):
            operation = schema["paths"][route.path][method.lower()]
            _complete(operation, route, schemas)
    # Checked one by one in the route, and therefore only named here.
    batch = schemas["NotificationBatch"]["properties"]["notifications"]
    batch["items"] = {"$ref": "#/components/schemas/NotificationNew"}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return schema


def _routes(routers: Sequence[APIRouter]) -> Iterator[APIRoute]:
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                yield route


def _add_problem(schemas: Json) -> None:
    model = ProblemShown.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(model.pop("$defs", {}))
    schemas["Problem"] = model


def _restore_examples(schemas: Json) -> None:
    """FastAPI leaves out every null, in examples too; where a field must be there, its null must be as well."""
    models: list[type[BaseModel]] = [Strict, Shown]
    while models:
        model = models.pop()
        models += model.__subclasses__()
        extra = model.model_config.get("json_schema_extra")
        shown = schemas.get(model.__name__, {})
        if "examples" in shown and isinstance(extra, dict):
            shown["examples"] = extra["examples"]


def _complete(operation: Json, route: APIRoute, schemas: Json) -> None:
    text = (route.description or "").strip()
    operation["summary"] = text.splitlines()[0].rstrip(".") if text else route.name
    needs = needs_of(route)
    operation["security"] = _security(needs)
    if needs is not None:
        operation["description"] = f"{text}\n\n{_who(needs)}"
    responses: Json = operation["responses"]
    responses.pop("422", None)
    for status in _statuses(operation, needs, route):
        responses.setdefault(status, _problem(status))
    for status, response in responses.items():
        if response.get("description") in (None, "", "Successful Response", "Created"):
            response["description"] = _DONE.get(status, "Done.")
        for media in response.get("content", {}).values():
            _exemplify(media, schemas)
    for media in operation.get("requestBody", {}).get("content", {}).values():
        _exemplify(media, schemas)


_DONE: Final = {
    "200": "Done.",
    "201": "Made.",
    "202": "Accepted: committed, and on its way.",
    "204": "Done; nothing to say.",
    "207": "Answered one by one.",
}


def _security(needs: Needs | None) -> list[Json]:
    if needs is None:
        return []
    schemes: list[Json] = []
    if needs.key is not None:
        schemes.append({"apiKey": [needs.key.value]})
    if needs.user is not None:
        schemes.append({"userToken": [needs.user.value]})
    return schemes


def _who(needs: Needs) -> str:
    parts = []
    if needs.key is not None:
        parts.append(f"an API key with the scope `{needs.key.value}`")
    if needs.user is not None:
        parts.append(f"a user's token with the scope `{needs.user.value}`")
    return f"Needs {' or '.join(parts)}."


def _statuses(operation: Json, needs: Needs | None, route: APIRoute) -> list[str]:
    found: list[str] = []
    if needs is not None:
        found += ["401", "403", "404", "422", "429", "500", "503"]
        if (route.methods or set()) - {"GET"}:
            found.append("409")
    elif route.path.startswith("/v1/"):
        found += ["403", "404", "422", "500", "503"]
    if any(one.get("name") == "If-Match" for one in operation.get("parameters", ())):
        found.append("412")
    if "requestBody" in operation:
        found += ["400", "413", "415"]
    return sorted(found)


def _problem(status: str) -> Json:
    kind = CATALOGUE[_SAMPLES[status]]
    sample = {
        "type": f"/docs/problems/{slug_of(_SAMPLES[status])}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.meaning,
        "code": _SAMPLES[status],
        "retryable": kind.retryable,
        "instance": "/v1/…",
        "request_id": "req_0195a1",
    }
    return {
        "description": _TITLES[status],
        "content": {"application/problem+json": {"schema": _PROBLEM, "example": sample}},
    }


def _exemplify(media: Json, schemas: Json) -> None:
    """The example of a body is its schema's, so that both live in one place."""
    if "example" in media or "examples" in media:
        return
    found = _example_of(media.get("schema", {}), schemas)
    if found is not None:
        media["example"] = found


def _example_of(schema: Json, schemas: Json) -> Any:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    target = schemas.get(name, schema)
    if target.get("examples"):
        return target["examples"][0]
    data = target.get("properties", {}).get("data")
    if data is None:
        return None
    item = _example_of(data.get("items", {}), schemas)
    page = {"page": {"next": None, "has_more": False}} if "page" in target["properties"] else {}
    return None if item is None else {"data": [item], **page}
