"""Who is who at WeChat: what a business system knows or lets people prove, and what they say for themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Request, Response

from hub.api.accounts import Reader, Writer, account_of
from hub.api.answers import IdempotencyKey, claim_of, empty, shown, write
from hub.api.deps import Hub, Services, by_user, user_of
from hub.api.origins import may_return
from hub.api.problems import Fault, Problem
from hub.api.route import HubRoute
from hub.api.schemas import PathUser
from hub.api.schemas_accounts import AccountPath, AccountQuery
from hub.api.schemas_bindings import (
    BindingImport,
    BindingList,
    BindingShown,
    ConsentsNew,
    GrantList,
    Imported,
    InvitationNew,
    InvitationShown,
    LoginCode,
    UserBindingImport,
    binding_shown,
    grant_shown,
    invitation_shown,
)
from hub.core.accounts import AccountId, GrantBalance, Sighting
from hub.core.directory import Change
from hub.core.identity import EndUser
from hub.core.scopes import UserScope

router = APIRouter(prefix="/v1", tags=["bindings"], route_class=HubRoute)

MyReader = Annotated[EndUser, by_user(UserScope.READ)]
MyWriter = Annotated[EndUser, by_user(UserScope.WRITE)]
_IMPORT = "import"


@router.get("/users/{user_id}/bindings", operation_id="listBindings", response_model=BindingList)
async def list_bindings(hub: Hub, caller: Reader, user_id: PathUser) -> Response:
    """List a user's addresses at WeChat, newest first: at most 200."""
    user = await user_of(hub, caller.app, user_id)
    found = await hub.books.bindings.bindings_of(caller.app, user)
    return shown(BindingList(data=[binding_shown(binding, user_id) for binding in found]))


@router.post("/users/{user_id}/bindings/import", operation_id="importUserBindings", response_model=Imported)
async def import_user_bindings(
    request: Request,
    hub: Hub,
    caller: Writer,
    user_id: PathUser,
    body: UserBindingImport,
    key: IdempotencyKey = None,
) -> Response:
    """Tell the hub a user's openids that you know already. Union ids are followed within a family of accounts."""
    user = await user_of(hub, caller.app, user_id)
    sightings = [
        Sighting(AccountId(item.account), item.openid, _IMPORT, user, item.unionid) for item in body.bindings
    ]

    async def work(change: Change) -> Response:
        return await _imported(change, sightings)

    return await write(hub, caller, work, claim=await claim_of(request, caller, key))


@router.post(
    "/wechat/accounts/{account_id}/bindings/import", operation_id="importBindings", response_model=Imported
)
async def import_bindings(
    request: Request,
    hub: Hub,
    caller: Writer,
    account_id: AccountPath,
    body: BindingImport,
    key: IdempotencyKey = None,
) -> Response:
    """Tell the hub up to 1,000 openids of an account that you know already, in one transaction.

    Users who are not there yet are made. An openid belongs to one user: the latest proof counts, and of two in one
    import the second.
    """
    account = await account_of(hub, caller.app, account_id)
    users = await hub.directory.ensure_users(caller.app, {item.user_id for item in body.bindings})
    sightings = [
        Sighting(account.id, item.openid, _IMPORT, users[item.user_id], item.unionid)
        for item in body.bindings
    ]

    async def work(change: Change) -> Response:
        return await _imported(change, sightings)

    return await write(hub, caller, work, claim=await claim_of(request, caller, key))


async def _imported(change: Change, sightings: Sequence[Sighting]) -> Response:
    written = await change.import_bindings(sightings)
    return shown(Imported(written=len(sightings), linked=len(written) - len(sightings)))


@router.delete(
    "/users/{user_id}/bindings/{account_id}",
    operation_id="deleteBinding",
    status_code=204,
    response_class=Response,
)
async def delete_binding(hub: Hub, caller: Writer, user_id: PathUser, account_id: AccountPath) -> Response:
    """Forget whose address it is, until the person proves it again."""
    user = await user_of(hub, caller.app, user_id)

    async def work(change: Change) -> Response:
        await change.unbind(AccountId(account_id), user)
        return empty()

    return await write(hub, caller, work)


@router.post("/users/{user_id}/bindings/invite", operation_id="inviteToBind", response_model=InvitationShown)
async def invite(hub: Hub, caller: Writer, user_id: PathUser, body: InvitationNew) -> Response:
    """Make a page or a QR code by which a user proves, once and within ten minutes, who they are at an official
    account."""
    user = await user_of(hub, caller.app, user_id)
    account = await account_of(hub, caller.app, body.account, enabled=True)
    if body.return_to and not may_return(body.return_to, hub.settings.return_origins):
        detail = "Expected a path at this hub, or an address of an origin in HUB_RETURN_ORIGINS."
        fault = Fault("/return_to", "return_to_invalid", detail)
        raise Problem("return_to_invalid", detail, errors=[fault])
    if body.by == "page":
        made = await hub.desk.invite_by_page(account, user, return_to=body.return_to)
    else:
        made = await hub.desk.invite_by_qr(account, user)
    return shown(invitation_shown(made))


@router.post("/me/bindings/code", operation_id="bindByCode", response_model=BindingShown)
async def bind_by_code(hub: Hub, caller: MyWriter, body: LoginCode) -> Response:
    """Bind yourself at a mini program with a login code of it."""
    account = await account_of(hub, caller.app, body.account, enabled=True)
    return shown(binding_shown(await hub.desk.bind_by_code(account, caller.key, body.code), caller.id))


@router.post("/me/consents", operation_id="reportConsents", response_model=GrantList)
async def report_consents(hub: Hub, caller: MyWriter, body: ConsentsNew) -> Response:
    """Tell the hub what you answered when a mini program asked for subscriptions, and get what you allow now.

    For accounts with `grants_from: client` only: others learn of it by WeChat's events.
    """
    account = await account_of(hub, caller.app, body.account, enabled=True)
    balances = await hub.desk.report_consents(account, caller.key, body.answers, once=body.once)
    return shown(_grants(balances))


@router.get("/me/grants", operation_id="listMyGrants", response_model=GrantList)
async def list_my_grants(hub: Hub, caller: MyReader, account: AccountQuery) -> Response:
    """List what you allow to be sent from an account, by template."""
    found = await account_of(hub, caller.app, account)
    return shown(_grants(await _balances(hub, found.id, caller)))


async def _balances(hub: Services, account: AccountId, caller: EndUser) -> Sequence[GrantBalance]:
    binding = (await hub.books.bindings.addresses([account], [caller.key])).get((account, caller.key))
    return [] if binding is None else await hub.books.grants.balances(account, binding.address)


def _grants(balances: Sequence[GrantBalance]) -> GrantList:
    return GrantList(data=[grant_shown(balance) for balance in balances])
