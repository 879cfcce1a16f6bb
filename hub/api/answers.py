"""Answers: models to bytes, pages with their Link header, and writes that an Idempotency-Key makes repeatable."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, TypeAlias, TypeVar
from urllib.parse import urlencode

import msgspec
from fastapi import Header, Request, Response
from pydantic import BaseModel, StringConstraints

from hub.api.deps import Caller, Services, actor_of
from hub.api.problems import Problem
from hub.core.directory import Change
from hub.core.errors import Unavailable
from hub.core.identity import EndUser
from hub.core.message import IdempotencyClaim
from hub.core.records import PageRequest, Repeated, Slice

T = TypeVar("T")
JSON: Final = "application/json"
REPLAYED: Final = "Idempotent-Replayed"
_TRIES: Final = 4

KeyText: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")
]
IdempotencyKey: TypeAlias = Annotated[
    KeyText | None,
    Header(
        alias="Idempotency-Key",
        description="The same key with the same body gets the first answer again for 24 hours, with another body 422.",
        examples=["0b8c1d6e-5a3f-4c1b-9d53-1d1f6a1d0c11"],
    ),
]


def encoded(model: BaseModel | msgspec.Struct) -> bytes:
    """The JSON of a model, or of a struct that stands for one."""
    if isinstance(model, BaseModel):
        return model.__pydantic_serializer__.to_json(model)
    return msgspec.json.encode(model)


def shown(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A model as a response. Not validated again: it was made by us."""
    return Response(encoded(model), status, dict(headers or {}), JSON)


def raw(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Structs and plain values as a response, by the short way."""
    return Response(msgspec.json.encode(body), status, dict(headers or {}), JSON)


def empty() -> Response:
    """Done, and there is nothing to say."""
    return Response(status_code=204)


def loads(text: str) -> Any:
    """JSON text that the hub keeps."""
    return json.loads(text)


def raw_json(value: object) -> str:
    """JSON text for the hub to keep."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError as error:
        raise Problem("body_malformed", "The body has half a surrogate pair in it.") from error


def page_of(limit: int, after: str | None) -> PageRequest:
    """What a list was asked for."""
    return PageRequest(limit, after)


def listed(request: Request, found: Slice[T], show: Callable[[T], BaseModel | msgspec.Struct]) -> Response:
    """A page of a list, with a Link header to the next."""
    items = b",".join(encoded(show(item)) for item in found.items)
    info = msgspec.json.encode({"next": found.next, "has_more": found.next is not None})
    headers: dict[str, str] = {}
    if found.next is not None:
        query = [(key, value) for key, value in request.query_params.multi_items() if key != "after"]
        # The path as it was sent: what was percent-encoded there stays so in a header.
        path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
        headers["Link"] = f'<{path}?{urlencode([*query, ("after", found.next)])}>; rel="next"'
    return Response(b'{"data":[' + items + b'],"page":' + info + b"}", 200, headers, JSON)


async def claim_of(
    request: Request, caller: Caller, key: str | None, *, part: int | None = None, body: object = None
) -> IdempotencyClaim | None:
    """The claim of an Idempotency-Key: scoped to the app, the caller and the route, so that nobody is given another's
    answer. `part` numbers the items of a batch, each with its own `body`.
    """
    if key is None:
        return None
    whose = f"user:{caller.key}" if isinstance(caller, EndUser) else "key"
    scope = [caller.app, whose, request.method, request.url.path, key, part]
    # Routes without a body have nothing to compare.
    content = body if part is not None else (await request.json() if await request.body() else None)
    return IdempotencyClaim(_sha256(scope), _sha256(content))


def _sha256(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


async def write(
    services: Services,
    caller: Caller,
    work: Callable[[Change], Awaitable[Response]],
    *,
    claim: IdempotencyClaim | None = None,
) -> Response:
    """Do `work` in one transaction, with its answer remembered under the claim. A second try where two writers met."""
    for tried in range(_TRIES):
        try:
            async with services.directory.change(caller.app, actor=actor_of(caller), claim=claim) as change:
                response = await work(change)
                if claim is not None:
                    await change.remember(response.status_code, bytes(response.body))
        except Repeated as repeated:
            return _replay(repeated, claim)
        except Unavailable as unavailable:
            if unavailable.code != "contention" or tried == _TRIES - 1:
                raise
            await asyncio.sleep(0.01 * (tried + 1))
        else:
            return response
    raise AssertionError


def _replay(repeated: Repeated, claim: IdempotencyClaim | None) -> Response:
    recorded = repeated.recorded
    if claim is None or recorded.fingerprint != claim.fingerprint:
        raise Problem(
            "idempotency_mismatch",
            "This Idempotency-Key was used with another request. Use a new key for a new request.",
        )
    return Response(recorded.body, recorded.status, {REPLAYED: "true"}, JSON)


def location(*parts: str) -> dict[str, str]:
    """Where the thing just made is."""
    return {"Location": "/v1/" + "/".join(parts)}
