"""`/v1/tokens`: what end users show instead of a key."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Request, Response

from hub.api.answers import IdempotencyKey, claim_of, shown, write
from hub.api.deps import Hub, by_key
from hub.api.problems import Fault, Problem
from hub.api.route import HubRoute
from hub.api.schemas_people import TokenRequest, TokenShown
from hub.core.directory import Change
from hub.core.identity import ApiCaller
from hub.core.scopes import Scope

router = APIRouter(prefix="/v1/tokens", tags=["tokens"], route_class=HubRoute)

_MAX = timedelta(hours=24)


@router.post("", operation_id="createToken", status_code=201, response_model=TokenShown)
async def create_token(
    request: Request,
    hub: Hub,
    caller: Annotated[ApiCaller, by_key(Scope.TOKENS_WRITE)],
    body: TokenRequest,
    key: IdempotencyKey = None,
) -> Response:
    """Mint a token for a user, who is made if new. Your own login decides who may have one."""
    ttl = body.ttl or hub.settings.token_ttl
    if ttl > _MAX:
        fault = Fault("/ttl", "too_long", "A token holds for at most 24 hours.")
        raise Problem("request_invalid", fault.detail, errors=[fault])

    async def mint() -> Response:
        minted = await hub.directory.mint(caller.app, body.user, ttl=ttl, scopes=sorted(set(body.scopes)))
        answer = TokenShown(
            token=minted.token,
            user=minted.user_id,
            scopes=sorted(minted.scopes),
            expires_at=minted.expires_at,
        )
        return shown(answer, 201)

    if key is None:
        return await mint()
    minted = await mint()

    async def work(_: Change) -> Response:
        return minted

    return await write(hub, caller, work, claim=await claim_of(request, caller, key))
