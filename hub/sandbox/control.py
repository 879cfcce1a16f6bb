"""The control API's tables and its one way of answering: JSON in, JSON out, a sentence for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from hub.sandbox.errors import ControlError
from hub.sandbox.world import World

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to the control API."""

    world: World
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Any]

    def text(self, name: str, default: str | None = None) -> str:
        """A text of the body; 422 for something else, or where it is missing without a default."""
        value = self.body.get(name, default)
        if not isinstance(value, str):
            raise ControlError(f"{name} must be a text", status=422)
        return value


Action: TypeAlias = Callable[[Asked], Awaitable[Any]]
Row: TypeAlias = tuple[str, str, Action]
"""Method, path, what answers."""


def read(body: Mapping[str, Any], kind: type[T]) -> T:
    """The body as a value of the type. 422 for wrong types and for names it does not have."""
    refuse_unknown(body, kind)
    try:
        return msgspec.convert(dict(body), type=kind)
    except msgspec.ValidationError as error:
        raise ControlError(str(error), status=422) from error


def refuse_unknown(body: Mapping[str, Any], kind: type[Any]) -> None:
    """422 for a name that the type does not have: a typo would silently do nothing."""
    assert is_dataclass(kind)  # noqa: S101  all types of the state are
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(body) - known)
    if unknown:
        raise ControlError(f"{unknown[0]} is not known; there are: {', '.join(sorted(known))}", status=422)


def patch(value: T, body: Mapping[str, Any]) -> T:
    """A new value with the body's fields instead of the old ones."""
    return read({**msgspec.to_builtins(value), **body}, type(value))


def add_rows(app: FastAPI, world: World, rows: tuple[Row, ...]) -> None:
    """Puts a table of actions on the application."""
    for method, path, action in rows:
        app.add_route(path, _Route(world, action).answer, methods=[method])


class _Route:
    """An action behind a path."""

    def __init__(self, world: World, action: Action) -> None:
        self._world, self._action = world, action

    async def answer(self, request: Request) -> Response:
        """JSON, or the response that the action made itself."""
        try:
            asked = Asked(self._world, request.path_params, dict(request.query_params), await _body(request))
            answer = await self._action(asked)
        except ControlError as error:
            return JSONResponse({"error": error.detail}, status_code=error.status)
        return answer if isinstance(answer, Response) else JSONResponse(answer)


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise ControlError(f"not JSON: {error}", status=422) from error
    if not isinstance(body, dict):
        raise ControlError("the body must be a JSON object", status=422)
    return body
