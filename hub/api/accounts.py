"""`/v1/wechat/accounts`: what an app sends from at WeChat, and how each does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from hub.api.answers import IdempotencyKey, claim_of, empty, location, shown, write
from hub.api.deps import Hub, Services, actor_of, by_key
from hub.api.problems import Problem
from hub.api.route import HubRoute
from hub.api.schemas_accounts import (
    AccountHealthShown,
    AccountList,
    AccountNew,
    AccountPatch,
    AccountPath,
    AccountShown,
    CallbackPatch,
    ProviderTemplateList,
    QuotaList,
    account_shown,
    health_shown,
    quota_shown,
    template_shown,
)
from hub.core.accounts import Account, AccountId, AccountOptions, AccountSecrets, ProviderTemplate
from hub.core.directory import Change
from hub.core.errors import Unavailable
from hub.core.identity import ApiCaller
from hub.core.message import AppId
from hub.core.scopes import Scope

router = APIRouter(prefix="/v1/wechat/accounts", tags=["accounts"], route_class=HubRoute)

Reader = Annotated[ApiCaller, by_key(Scope.ACCOUNTS_READ)]
Writer = Annotated[ApiCaller, by_key(Scope.ACCOUNTS_WRITE)]


async def account_of(hub: Services, app: AppId, account: str, *, enabled: bool = False) -> Account:
    """An account of this app. Raises Problem account_not_found; with `enabled`, account_disabled too."""
    found = await hub.books.accounts.account(AccountId(account))
    if found is None or found.app != app:
        raise Problem("account_not_found", "There is no such account.")
    if enabled and not found.enabled:
        raise Problem("account_disabled", "This account is disabled.")
    return found


@router.post("", operation_id="createAccount", status_code=201, response_model=AccountShown)
async def create_account(
    request: Request, hub: Hub, caller: Writer, body: AccountNew, key: IdempotencyKey = None
) -> Response:
    """Add an official account or a mini program to send from. Its secrets are kept encrypted and never shown.

    Put the answer's `callback_path`, behind this hub's public address, into WeChat's message push settings.
    """
    account = Account(
        id=AccountId(hub.engine.new_id("acc")),
        app=caller.app,
        channel=body.channel,
        name=body.name,
        external_id=body.appid,
        options=AccountOptions(**body.options.model_dump()),
        created_at=hub.engine.clock(),
    )
    callback = body.callback
    secrets = AccountSecrets(
        secret=body.secret,
        callback_token="" if callback is None else callback.token,
        aes_keys=() if callback is None or callback.aes_key is None else (callback.aes_key,),
    )

    async def work(change: Change) -> Response:
        await change.put_account(account, secrets)
        return shown(account_shown(account, secrets), 201, location("wechat", "accounts", account.id))

    return await write(hub, caller, work, claim=await claim_of(request, caller, key))


@router.get("", operation_id="listAccounts", response_model=AccountList)
async def list_accounts(hub: Hub, caller: Reader) -> Response:
    """List the accounts of your app, oldest first."""
    accounts = await hub.books.accounts.accounts_of(caller.app)
    return shown(AccountList(data=[await _shown(hub, account) for account in accounts]))


@router.get("/{account_id}", operation_id="getAccount", response_model=AccountShown)
async def get_account(hub: Hub, caller: Reader, account_id: AccountPath) -> Response:
    """Get one account."""
    return shown(await _shown(hub, await account_of(hub, caller.app, account_id)))


async def _shown(hub: Services, account: Account) -> AccountShown:
    try:
        secrets = await hub.books.accounts.secrets(account.id)
    except Unavailable as unavailable:
        if unavailable.code != "secret_unreadable":
            raise
        # Shown as missing, so that somebody puts them in again.
        secrets = AccountSecrets("")
    return account_shown(account, secrets)


@router.patch("/{account_id}", operation_id="changeAccount", response_model=AccountShown)
async def patch_account(hub: Hub, caller: Writer, account_id: AccountPath, body: AccountPatch) -> Response:
    """Change the fields given: rename it, disable it, replace its secret or the keys of its callbacks.

    Channel and appid stay: another appid has other openids, and is another account.
    """

    async def work(change: Change) -> Response:
        before, known = await change.locked_account(AccountId(account_id))
        options = {} if body.options is None else body.options.model_dump(exclude_unset=True)
        account = replace(
            before,
            name=before.name if body.name is None else body.name,
            enabled=before.enabled if body.enabled is None else body.enabled,
            options=replace(before.options, **options),
        )
        secrets = _rotated(known, body)
        await change.put_account(account, None if secrets == known else secrets)
        return shown(account_shown(account, secrets))

    return await write(hub, caller, work)


def _rotated(known: AccountSecrets, body: AccountPatch) -> AccountSecrets:
    """The secrets after a change. A new key goes first, and the one before stays beside it."""
    secrets = known if body.secret is None else replace(known, secret=body.secret)
    given = body.callback or CallbackPatch()
    if given.token is not None:
        secrets = replace(secrets, callback_token=given.token)
    keys = secrets.aes_keys
    if given.aes_key is not None and keys[:1] != (given.aes_key,):
        keys = (given.aes_key, *keys[:1])
    return replace(secrets, aes_keys=keys[:1] if given.forget_previous else keys)


@router.delete("/{account_id}", operation_id="deleteAccount", status_code=204, response_class=Response)
async def delete_account(hub: Hub, caller: Writer, account_id: AccountPath) -> Response:
    """Remove an account with its bindings, subscriptions and templates. To pause it, disable it instead."""
    account = await account_of(hub, caller.app, account_id)
    await hub.books.accounts.delete_account(account.id, actor=actor_of(caller))
    return empty()


@router.get("/{account_id}/health", operation_id="getAccountHealth", response_model=AccountHealthShown)
async def get_account_health(
    hub: Hub,
    caller: Reader,
    account_id: AccountPath,
    probe: Annotated[bool, Query(description="Ask WeChat for a token now.")] = False,
) -> Response:
    """Get how an account does: from what is known already, or by asking WeChat."""
    account = await account_of(hub, caller.app, account_id)
    return shown(health_shown(await hub.desk.health(account, probe=probe)))


@router.get("/{account_id}/quotas", operation_id="listAccountQuotas", response_model=QuotaList)
async def list_quotas(hub: Hub, caller: Reader, account_id: AccountPath) -> Response:
    """List what may still be sent today, as WeChat counts it."""
    account = await account_of(hub, caller.app, account_id)
    return shown(QuotaList(data=[quota_shown(quota) for quota in await hub.desk.quotas(account)]))


@router.post(
    "/{account_id}/templates/sync", operation_id="syncAccountTemplates", response_model=ProviderTemplateList
)
async def sync_templates(hub: Hub, caller: Writer, account_id: AccountPath) -> Response:
    """Read the account's templates from WeChat and keep them; those that are gone stay, marked so."""
    account = await account_of(hub, caller.app, account_id)
    found = await hub.desk.sync_templates(account)

    async def work(change: Change) -> Response:
        await change.note_sync(account.id, sum(not template.gone for template in found))
        return _templates(hub, found)

    return await write(hub, caller, work)


@router.get(
    "/{account_id}/templates", operation_id="listAccountTemplates", response_model=ProviderTemplateList
)
async def list_templates(hub: Hub, caller: Reader, account_id: AccountPath) -> Response:
    """List the account's templates as last synchronised: each field with its type, its limit and an example."""
    account = await account_of(hub, caller.app, account_id)
    return _templates(hub, await hub.books.templates.templates_of(account.id))


def _templates(hub: Services, found: Sequence[ProviderTemplate]) -> Response:
    data = [template_shown(template, hub.template_fields(template)) for template in found]
    return shown(ProviderTemplateList(data=data))
