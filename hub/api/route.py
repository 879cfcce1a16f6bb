"""The route class of all routers: JSON is read strictly, and only where it is called JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute

from hub.api.problems import Problem


class HubRequest(Request):
    """A request whose JSON is decoded by msgspec: no NaN, no lone surrogates, no endless nesting; and quickly."""

    async def json(self) -> Any:
        """The body as a value. Raises Problem for what is not JSON in UTF-8."""
        if not hasattr(self, "_json"):
            try:
                self._json = msgspec.json.decode(await self.body())
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise Problem("body_malformed", f"The body is not JSON in UTF-8: {error}.") from error
            except RecursionError as error:
                raise Problem("body_malformed", "The body is nested too deeply.") from error
        return self._json


class HubRoute(APIRoute):
    """Decodes with HubRequest, and answers 415 to a body of another media type."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler on our request."""
        handle = super().get_route_handler()
        takes_body = self.body_field is not None

        async def handler(request: Request) -> Response:
            if takes_body:
                check_media_type(request)
            return await handle(HubRequest(request.scope, request.receive))

        return handler


def check_media_type(request: Request) -> None:
    """Raises Problem for a body that is not called JSON: a form of a foreign page must not pass for a request."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Without a body there is nothing to misunderstand: its absence is a fault of the schema's kind.
    empty = request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers
    if given == "application/json" or given.endswith("+json") or (empty and not given):
        return
    raise Problem("media_type_unsupported", "Send the body as `Content-Type: application/json`.")
