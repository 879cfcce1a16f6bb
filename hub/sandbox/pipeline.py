"""The way of every API call: chaos, method, token, quota, JSON, the endpoint itself, request id, answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from fastapi import Request, Response

from hub.sandbox.chaos import Effect, Rule
from hub.sandbox.connection import reset_connection
from hub.sandbox.errors import ApiError
from hub.sandbox.state import Account, AccountKind
from hub.sandbox.world import Asked, World

_JSON: Final = "application/json; encoding=utf-8"
_PAGE: Final = "<html><head><title>微信</title></head><body><h1>系统繁忙</h1></body></html>"


@dataclass(slots=True)
class Call:
    """One call on its way."""

    world: World
    path: str
    query: Mapping[str, str]
    client_ip: str
    paths: Collection[str]
    body: dict[str, Any] = field(default_factory=dict)
    found: Account | None = None

    @property
    def account(self) -> Account:
        """Whose token it is. Only for endpoints with a token."""
        if self.found is None:
            raise ApiError(41001)
        return self.found

    def ok(self, **more: Any) -> dict[str, Any]:
        """errcode 0 and what else there is to say."""
        return {"errcode": 0, "errmsg": "ok"} | more


Handler: TypeAlias = Callable[[Call], Awaitable[dict[str, Any]]]
Guard: TypeAlias = Callable[[World, str], Account]
Spend: TypeAlias = Callable[[World, Account, str], None]
Kill: TypeAlias = Callable[[World, str], None]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of WeChat's API."""

    method: str
    path: str
    handler: Handler
    token: bool = True
    kinds: tuple[AccountKind, ...] = (AccountKind.OFFICIAL, AccountKind.MINIPROGRAM)
    media_type: str = _JSON


@dataclass(frozen=True, slots=True)
class Rules:
    """What the pipeline asks of other rooms: whose token, how much is left, how tokens die."""

    account_of_token: Guard
    spend: Spend
    kill_tokens: Kill


class Pipeline:
    """Answers calls to the endpoints of one table."""

    def __init__(self, world: World, endpoints: Collection[Endpoint], rules: Rules) -> None:
        self.world, self.rules = world, rules
        self.paths = frozenset(endpoint.path for endpoint in endpoints)

    async def answer(self, endpoint: Endpoint, request: Request) -> Response:
        """One answer; or a connection reset, if chaos wants it."""
        started = time.perf_counter()
        raw = await request.body()
        client_ip = request.client.host if request.client else ""
        call = Call(self.world, endpoint.path, dict(request.query_params), client_ip, self.paths)
        hits = self.world.chaos.draw(path=endpoint.path, appid=self._appid(call, raw))
        for rule in hits:
            self.world.ledger.troubles[str(rule.effect)] += 1
            if not rule.after and (instead := await self._trouble(rule, endpoint, request, call, raw)):
                return instead
        answer = await self._answered(endpoint, request.method, call, raw)
        response = self._written(endpoint, answer, request, call, raw, started)
        for rule in hits:
            if rule.after and (instead := await self._trouble(rule, endpoint, request, call, raw)):
                return instead
        return response

    async def _answered(self, endpoint: Endpoint, method: str, call: Call, raw: bytes) -> dict[str, Any]:
        try:
            if method != endpoint.method:
                raise ApiError(43002 if endpoint.method == "POST" else 43001)
            if endpoint.token:
                self._admit(endpoint, call)
            if endpoint.method == "POST":
                call.body = self._parsed(raw)
            return await endpoint.handler(call)
        except ApiError as error:
            return {"errcode": error.errcode, "errmsg": error.text}

    def _admit(self, endpoint: Endpoint, call: Call) -> None:
        account = self.rules.account_of_token(self.world, call.query.get("access_token", ""))
        call.found = account
        if account.api_banned:
            raise ApiError(48004)
        self.world.kind_of(account, *endpoint.kinds)
        self.rules.spend(self.world, account, endpoint.path)

    def _parsed(self, raw: bytes) -> dict[str, Any]:
        if not raw.strip():
            raise ApiError(44002)
        if self.world.state.settings.refuse_escapes and b"\\u" in raw:
            raise ApiError(40033)
        try:
            body = json.loads(raw.decode())
        except ValueError as error:
            raise ApiError(47001) from error
        if not isinstance(body, dict):
            raise ApiError(47001)
        return body

    def _written(
        self,
        endpoint: Endpoint,
        answer: dict[str, Any],
        request: Request,
        call: Call,
        raw: bytes,
        started: float,
    ) -> Response:
        errcode = answer.get("errcode", 0)
        self.world.ledger.called(endpoint.path, str(errcode))
        self.world.dirty = True
        rid = self.world.chance.rid() if errcode else ""
        if rid:
            answer = answer | {"errmsg": f"{answer['errmsg']} rid: {rid}"}
        text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        if rid:
            asked = Asked(
                appid=call.found.appid if call.found else self._appid(call, raw),
                at=self.world.clock.now(),
                cost_ms=int((time.perf_counter() - started) * 1000),
                url=str(request.url),
                body=raw.decode(errors="replace"),
                response=text,
                client_ip=call.client_ip,
            )
            self.world.remember(rid, asked)
        return Response(text, media_type=endpoint.media_type)

    async def _trouble(
        self, rule: Rule, endpoint: Endpoint, request: Request, call: Call, raw: bytes
    ) -> Response | None:
        """What the caller gets instead of the answer; None where the call just goes on."""
        if rule.effect is Effect.DELAY:
            await asyncio.sleep(rule.ms / 1000)
            return None
        if rule.effect is Effect.KILL_TOKENS:
            self.rules.kill_tokens(self.world, self._appid(call, raw))
            return None
        if rule.effect is Effect.ERRCODE:
            error = _error(rule.errcode, call.client_ip)
            answer = {"errcode": error.errcode, "errmsg": error.text}
            return self._written(endpoint, answer, request, call, raw, time.perf_counter())
        self.world.ledger.called(endpoint.path, str(rule.effect))
        return _spoiled(rule, request)

    def _appid(self, call: Call, raw: bytes) -> str:
        """Whose call it is, as far as can be seen before it is answered."""
        token = self.world.state.tokens.get(call.query.get("access_token", ""))
        if token is not None:
            return token.appid
        if "appid" in call.query:
            return call.query["appid"]
        try:
            return str(json.loads(raw).get("appid", ""))
        except (ValueError, AttributeError):
            return ""


def _error(errcode: int, client_ip: str) -> ApiError:
    if errcode == 40164:
        return ApiError(40164, f"invalid ip {client_ip} ipv6 ::ffff:{client_ip}, not in whitelist")
    return ApiError(errcode)


def _spoiled(rule: Rule, request: Request) -> Response:
    match rule.effect:
        case Effect.RESET:
            return reset_connection(request)
        case Effect.HTML:
            return Response(_PAGE, media_type="text/html; charset=utf-8")
        case Effect.EMPTY:
            return Response(b"", media_type=_JSON)
        case _:
            page = f"<html><body><center><h1>{rule.status}</h1></center></body></html>"
            return Response(page, status_code=rule.status, media_type="text/html")
