"""`/v1/policies`: routing policies under a name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from hub.api.answers import empty, shown, write
from hub.api.deps import Hub, Services, by_key
from hub.api.policies_json import built_in, policy_of, policy_shown
from hub.api.problems import Problem
from hub.api.route import HubRoute
from hub.api.schemas_routing import PolicyList, PolicyName, PolicyShown, RouteBody
from hub.core.directory import Change
from hub.core.errors import NotFound
from hub.core.identity import ApiCaller
from hub.core.message import AppId
from hub.core.records import NamedPolicy
from hub.core.scopes import Scope

router = APIRouter(prefix="/v1/policies", tags=["policies"], route_class=HubRoute)

Reader = Annotated[ApiCaller, by_key(Scope.POLICIES_READ)]
Writer = Annotated[ApiCaller, by_key(Scope.POLICIES_WRITE)]
NamePath = Annotated[PolicyName, Path()]


async def find_policy(hub: Services, app: AppId, name: str) -> tuple[NamedPolicy, bool] | None:
    """The app's own policy of this name (True), else the built-in one."""
    own = {policy.name: policy for policy in await hub.directory.policies(app)}
    if name in own:
        return own[name], True
    found = built_in(hub.engine.channels.names).get(name)
    return None if found is None else (found, False)


@router.put(
    "/{name}",
    operation_id="putPolicy",
    response_model=PolicyShown,
    responses={201: {"model": PolicyShown}},
)
async def put_policy(hub: Hub, caller: Writer, name: NamePath, body: RouteBody) -> Response:
    """Make or replace a policy of your app. Notifications accepted earlier keep what they were sent with."""
    policy = policy_of(body, hub.engine.channels.names)

    async def work(change: Change) -> Response:
        stored, new = await change.put_policy(NamedPolicy(name, policy, body.expires_in))
        return shown(policy_shown(stored, own=True), 201 if new else 200)

    return await write(hub, caller, work)


@router.get("", operation_id="listPolicies", response_model=PolicyList)
async def list_policies(hub: Hub, caller: Reader) -> Response:
    """List the policies that notifications of your app may name: your own, and the built-in ones beside them."""
    own = {policy.name: policy for policy in await hub.directory.policies(caller.app)}
    names = sorted({*own, *built_in(hub.engine.channels.names)})
    data = [
        policy_shown(own[name], own=True)
        if name in own
        else policy_shown(built_in(hub.engine.channels.names)[name], own=False)
        for name in names
    ]
    return shown(PolicyList(data=data))


@router.get("/{name}", operation_id="getPolicy", response_model=PolicyShown)
async def get_policy(hub: Hub, caller: Reader, name: NamePath) -> Response:
    """Get one policy."""
    found = await find_policy(hub, caller.app, name)
    if found is None:
        raise Problem("policy_not_found", f"This app has no policy {name!r}.")
    return shown(policy_shown(found[0], own=found[1]))


@router.delete("/{name}", operation_id="deletePolicy", status_code=204, response_class=Response)
async def delete_policy(hub: Hub, caller: Writer, name: NamePath) -> Response:
    """Remove a policy of your app; a built-in one under the same name comes back."""

    async def work(change: Change) -> Response:
        try:
            await change.delete_policy(name)
        except NotFound:
            if name in built_in(hub.engine.channels.names):
                raise Problem("policy_builtin", "A built-in policy cannot be removed.") from None
            raise
        return empty()

    return await write(hub, caller, work)
