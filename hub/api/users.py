"""`/v1/users`: the people of an app, and their devices, from the business system's side."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from hub.api.answers import (
    IdempotencyKey,
    claim_of,
    listed,
    loads,
    location,
    page_of,
    raw,
    raw_json,
    shown,
    write,
)
from hub.api.deps import Hub, by_key, user_of
from hub.api.route import HubRoute
from hub.api.schemas import After, Limit, Listing, PathUser
from hub.api.schemas_people import (
    SignedOut,
    UserBatch,
    UserFields,
    UserResults,
    UserShown,
    user_shown,
)
from hub.core.directory import Change
from hub.core.identity import ApiCaller
from hub.core.records import UserRecord, UserWrite
from hub.core.scopes import Scope

router = APIRouter(prefix="/v1/users", tags=["users"], route_class=HubRoute)

Reader = Annotated[ApiCaller, by_key(Scope.USERS_READ)]
Writer = Annotated[ApiCaller, by_key(Scope.USERS_WRITE)]


def show_user(record: UserRecord) -> UserShown:
    """A user as answers show it."""
    return user_shown(record, loads(record.preferences))


def user_write(user_id: str, body: UserFields) -> UserWrite:
    """The fields that were given."""
    preferences = None if body.preferences is None else raw_json(body.preferences.kept())
    return UserWrite(user_id, body.name, body.locale, body.timezone, preferences)


@router.put(
    "/{user_id}", operation_id="putUser", response_model=UserShown, responses={201: {"model": UserShown}}
)
async def put_user(hub: Hub, caller: Writer, user_id: PathUser, body: UserFields) -> Response:
    """Make a user, or change the fields given. 201 says that the user is new."""

    async def work(change: Change) -> Response:
        record, new = await change.put_user(user_write(user_id, body))
        headers = location("users", quote(user_id, safe="")) if new else None
        return shown(show_user(record), 201 if new else 200, headers)

    return await write(hub, caller, work)


@router.patch("/{user_id}", operation_id="changeUser", response_model=UserShown)
async def patch_user(hub: Hub, caller: Writer, user_id: PathUser, body: UserFields) -> Response:
    """Change the fields given of a user who exists."""
    await user_of(hub, caller.app, user_id)

    async def work(change: Change) -> Response:
        record, _ = await change.put_user(user_write(user_id, body))
        return shown(show_user(record))

    return await write(hub, caller, work)


@router.post("/batch", operation_id="putUsers", response_model=UserResults)
async def put_users(
    request: Request, hub: Hub, caller: Writer, body: UserBatch, key: IdempotencyKey = None
) -> Response:
    """Make or change up to 500 users in one transaction."""
    users = [user_write(user.user_id, user) for user in body.users]

    async def work(change: Change) -> Response:
        results = await change.put_users(users)
        data = [{**show_user(record).model_dump(), "created": new} for record, new in results]
        return raw({"data": data})

    return await write(hub, caller, work, claim=await claim_of(request, caller, key))


@router.get("", operation_id="listUsers", response_model=Listing[UserShown])
async def list_users(
    request: Request, hub: Hub, caller: Reader, limit: Limit = 50, after: After = None
) -> Response:
    """List the users of your app, by id."""
    return listed(request, await hub.directory.users(caller.app, page_of(limit, after)), show_user)


@router.get("/{user_id}", operation_id="getUser", response_model=UserShown)
async def get_user(hub: Hub, caller: Reader, user_id: PathUser) -> Response:
    """Get one user."""
    return shown(show_user(await hub.directory.user(caller.app, user_id)))


@router.post("/{user_id}/sign-out", operation_id="signOutUser", response_model=SignedOut)
async def sign_out(
    hub: Hub, caller: Annotated[ApiCaller, by_key(Scope.TOKENS_WRITE)], user_id: PathUser
) -> Response:
    """Refuse every token of this user issued until now, within five seconds on every node, and close the sockets.

    Tokens that you sign yourself carry whole seconds in `iat`: one issued in the very second of the sign-out is
    refused too.
    """
    user = await user_of(hub, caller.app, user_id)

    async def work(change: Change) -> Response:
        return shown(SignedOut(user_id=user_id, tokens_after=await change.sign_out(user)))

    answer = await write(hub, caller, work)
    await hub.rights_changed(user)
    return answer
