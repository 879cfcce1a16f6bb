"""Keeps a process to its role: what another role answers is a problem that says which one, not a riddle."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.api.problems import answer
from hub.roles import Role, role_of, serves


class RoleGate:
    """Passes on what this role serves."""

    def __init__(self, app: ASGIApp, *, role: Role) -> None:
        self._app = app
        self._role = role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or a handshake, which gets the same problem in place of its 101."""
        kind = scope["type"]
        if kind not in ("http", "websocket") or serves(self._role, scope["path"]):
            await self._app(scope, receive, send)
            return
        wanted = role_of(scope["path"])
        detail = f"This process runs as `{self._role}`. `{scope['path']}` is served by those that run as `{wanted}`."
        if kind == "http":
            await answer(Request(scope), "wrong_role", detail)(scope, receive, send)
            return
        await receive()
        response = answer(Request({**scope, "type": "http", "method": "GET"}), "wrong_role", detail)
        start = {
            "type": "websocket.http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
        await send(start)
        await send({"type": "websocket.http.response.body", "body": bytes(response.body)})
