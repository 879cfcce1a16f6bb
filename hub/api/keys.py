"""`/v1/keys` and `/v1/signing-keys`: how business systems and their users prove who they are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from hub.api.answers import IdempotencyKey, claim_of, empty, listed, location, page_of, shown, write
from hub.api.deps import Hub, by_key
from hub.api.problems import Problem
from hub.api.route import HubRoute
from hub.api.schemas import After, HubId, Limit, Listing
from hub.api.schemas_config import (
    KeyIssued,
    KeyNew,
    KeyShown,
    SigningKeyNew,
    SigningKeyShown,
    key_shown,
    signing_key_shown,
)
from hub.core.directory import Change
from hub.core.identity import ApiCaller
from hub.core.records import IssuedKey
from hub.core.scopes import Scope

router = APIRouter(prefix="/v1", tags=["keys"], route_class=HubRoute)

Admin = Annotated[ApiCaller, by_key(Scope.KEYS_ADMIN)]


def issued(made: IssuedKey) -> KeyIssued:
    """A new key as its answer shows it, with the secret."""
    return KeyIssued(**key_shown(made.record).model_dump(), secret=made.secret)


@router.post("/keys", operation_id="createKey", status_code=201, response_model=KeyIssued)
async def create_key(
    request: Request, hub: Hub, caller: Admin, body: KeyNew, key: IdempotencyKey = None
) -> Response:
    """Make an API key of your app. Its secret is shown only now, and only its hash is kept."""
    beyond = sorted(set(body.scopes).difference(caller.scopes))
    if beyond:
        raise Problem("scope_exceeded", f"Your own key does not have: {', '.join(beyond)}.")
    if body.expires_at is not None and body.expires_at <= hub.engine.clock():
        raise Problem("expired_already", "`expires_at` lies in the past.")

    async def work(change: Change) -> Response:
        made = await change.issue_key(caller.app, body.name, body.scopes, body.expires_at)
        return shown(issued(made), 201, location("keys", made.record.id))

    return await write(hub, caller, work, claim=await claim_of(request, caller, key))


@router.get("/keys", operation_id="listKeys", response_model=Listing[KeyShown])
async def list_keys(
    request: Request, hub: Hub, caller: Admin, limit: Limit = 50, after: After = None
) -> Response:
    """List the API keys of your app, revoked ones included, without their secrets."""
    return listed(request, await hub.directory.api_keys(caller.app, page_of(limit, after)), key_shown)


@router.delete("/keys/{key_id}", operation_id="revokeKey", status_code=204, response_class=Response)
async def revoke_key(hub: Hub, caller: Admin, key_id: HubId) -> Response:
    """Revoke an API key. Every node refuses it within five seconds; revoking twice is harmless."""

    async def work(change: Change) -> Response:
        await change.revoke_key(key_id)
        return empty()

    return await write(hub, caller, work)


@router.post(
    "/signing-keys", operation_id="createSigningKey", status_code=201, response_model=SigningKeyShown
)
async def create_signing_key(
    request: Request, hub: Hub, caller: Admin, body: SigningKeyNew, key: IdempotencyKey = None
) -> Response:
    """Register a public key, so that you can sign your users' tokens yourself.

    Put the `kid` of the answer into the token's header. The claims: `aud` "hub", `tenant` your app's id, `sub` the
    user's id, `iat`, `exp` (at most 24 hours later), and `scope` ("read write") if the token may do less than all.
    """

    async def work(change: Change) -> Response:
        made = await change.add_signing_key(body.alg, body.public_key)
        return shown(signing_key_shown(made), 201, location("signing-keys", made.kid))

    return await write(hub, caller, work, claim=await claim_of(request, caller, key))


@router.get("/signing-keys", operation_id="listSigningKeys", response_model=Listing[SigningKeyShown])
async def list_signing_keys(
    request: Request, hub: Hub, caller: Admin, limit: Limit = 50, after: After = None
) -> Response:
    """List the signing keys of your app: those you registered, and the hub's own (HS256)."""
    found = await hub.directory.signing_keys(caller.app, page_of(limit, after))
    return listed(request, found, signing_key_shown)


@router.delete(
    "/signing-keys/{kid}", operation_id="revokeSigningKey", status_code=204, response_class=Response
)
async def revoke_signing_key(hub: Hub, caller: Admin, kid: HubId) -> Response:
    """Revoke a signing key, and with it every token that it signed. Revoking twice is harmless."""

    async def work(change: Change) -> Response:
        await change.revoke_signing_key(kid)
        return empty()

    return await write(hub, caller, work)
