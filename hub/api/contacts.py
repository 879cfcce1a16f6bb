"""Contacts: of any user for the business system, and one's own for end users."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, TypeAlias
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import StringConstraints

from hub.api.answers import empty, listed, location, page_of, raw, shown, write
from hub.api.deps import Caller, Hub, Services, by_key, by_user, user_of
from hub.api.problems import Fault, Problem
from hub.api.route import HubRoute
from hub.api.schemas import After, Limit, Line, Listing, PathUser, UserId
from hub.api.schemas_contacts import (
    ContactBatch,
    ContactFields,
    ContactItem,
    ContactKind,
    ContactResults,
    ContactShown,
    Tag,
    contact_shown,
)
from hub.core.contacts import ContactChanges, ContactFilter, ContactWrite
from hub.core.directory import Change
from hub.core.errors import NotFound
from hub.core.identity import ApiCaller, EndUser
from hub.core.message import UserKey
from hub.core.scopes import Scope, UserScope

router = APIRouter(prefix="/v1/users/{user_id}/contacts", tags=["contacts"], route_class=HubRoute)
mine = APIRouter(prefix="/v1/me/contacts", tags=["contacts"], route_class=HubRoute)

Reader = Annotated[ApiCaller, by_key(Scope.USERS_READ)]
Writer = Annotated[ApiCaller, by_key(Scope.USERS_WRITE)]
OwnReader = Annotated[EndUser, by_user(UserScope.READ)]
OwnWriter = Annotated[EndUser, by_user(UserScope.WRITE)]
PathContact: TypeAlias = Annotated[UserId, Path(description="The product's id of the contact.")]
OfKind: TypeAlias = Annotated[ContactKind | None, Query(description="Only these.")]
WithTag: TypeAlias = Annotated[Tag | None, Query(description="Only those with this tag.")]
Named: TypeAlias = Annotated[
    Annotated[Line, StringConstraints(min_length=1, max_length=64)] | None,
    Query(description="Part of the name or of the alias, in any script; capitals and width do not count."),
]
Starred: TypeAlias = Annotated[bool | None, Query(description="Only those who are, or are not.")]
Blocked: TypeAlias = Annotated[bool | None, Query(description="Only those who are, or are not.")]


@router.get("", operation_id="listContacts", response_model=Listing[ContactShown])
async def list_contacts(
    request: Request,
    hub: Hub,
    caller: Reader,
    user_id: PathUser,
    kind: OfKind = None,
    tag: WithTag = None,
    q: Named = None,
    starred: Starred = None,
    blocked: Blocked = None,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """List a user's contacts, by their ids."""
    owner = await user_of(hub, caller.app, user_id)
    only = ContactFilter(kind, tag, starred, blocked, q)
    return listed(
        request, await hub.directory.contacts(caller.app, owner, only, page_of(limit, after)), contact_shown
    )


@mine.get("", operation_id="listMyContacts", response_model=Listing[ContactShown])
async def list_my_contacts(
    request: Request,
    hub: Hub,
    caller: OwnReader,
    kind: OfKind = None,
    tag: WithTag = None,
    q: Named = None,
    starred: Starred = None,
    blocked: Blocked = None,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """List your contacts, by their ids."""
    only = ContactFilter(kind, tag, starred, blocked, q)
    page = page_of(limit, after)
    return listed(request, await hub.directory.contacts(caller.app, caller.key, only, page), contact_shown)


@router.post("/batch", operation_id="putContacts", response_model=ContactResults)
async def put_contacts(hub: Hub, caller: Writer, user_id: PathUser, body: ContactBatch) -> Response:
    """Make or change up to 500 contacts of a user, all or none."""
    owner = await user_of(hub, caller.app, user_id)
    return await _import(hub, caller, owner, body.contacts)


@mine.post("/batch", operation_id="putMyContacts", response_model=ContactResults)
async def put_my_contacts(hub: Hub, caller: OwnWriter, body: ContactBatch) -> Response:
    """Make or change up to 500 of your contacts, all or none."""
    return await _import(hub, caller, caller.key, body.contacts)


@router.get("/{contact_id}", operation_id="getContact", response_model=ContactShown)
async def get_contact(hub: Hub, caller: Reader, user_id: PathUser, contact_id: PathContact) -> Response:
    """Get one contact of a user."""
    owner = await user_of(hub, caller.app, user_id)
    user = await _contact(hub, caller, contact_id)
    return shown(contact_shown(await hub.directory.contact(caller.app, owner, user)))


@mine.get("/{contact_id}", operation_id="getMyContact", response_model=ContactShown)
async def get_my_contact(hub: Hub, caller: OwnReader, contact_id: PathContact) -> Response:
    """Get one of your contacts."""
    user = await _contact(hub, caller, contact_id)
    return shown(contact_shown(await hub.directory.contact(caller.app, caller.key, user)))


@router.put(
    "/{contact_id}",
    operation_id="putContact",
    response_model=ContactShown,
    responses={201: {"model": ContactShown}},
)
async def put_contact(
    hub: Hub, caller: Writer, user_id: PathUser, contact_id: PathContact, body: ContactFields
) -> Response:
    """Make a contact of a user, or change the fields given. 201 says that it is new."""
    owner = await user_of(hub, caller.app, user_id)
    headers = location("users", quote(user_id, safe=""), "contacts", quote(contact_id, safe=""))
    return await _put(hub, caller, owner, contact_id, body, headers)


@mine.put(
    "/{contact_id}",
    operation_id="putMyContact",
    response_model=ContactShown,
    responses={201: {"model": ContactShown}},
)
async def put_my_contact(
    hub: Hub, caller: OwnWriter, contact_id: PathContact, body: ContactFields
) -> Response:
    """Make one of your contacts, or change the fields given. 201 says that it is new.

    You can add whom you share a conversation with; the business system can add anybody for you.
    """
    headers = location("me", "contacts", quote(contact_id, safe=""))
    return await _put(hub, caller, caller.key, contact_id, body, headers)


@router.patch("/{contact_id}", operation_id="changeContact", response_model=ContactShown)
async def patch_contact(
    hub: Hub, caller: Writer, user_id: PathUser, contact_id: PathContact, body: ContactFields
) -> Response:
    """Change the fields given of a contact that a user has."""
    owner = await user_of(hub, caller.app, user_id)
    return await _patch(hub, caller, owner, contact_id, body)


@mine.patch("/{contact_id}", operation_id="changeMyContact", response_model=ContactShown)
async def patch_my_contact(
    hub: Hub, caller: OwnWriter, contact_id: PathContact, body: ContactFields
) -> Response:
    """Change the fields given of a contact that you have."""
    return await _patch(hub, caller, caller.key, contact_id, body)


@router.delete("/{contact_id}", operation_id="deleteContact", status_code=204, response_class=Response)
async def delete_contact(hub: Hub, caller: Writer, user_id: PathUser, contact_id: PathContact) -> Response:
    """Forget a contact of a user, and that it was blocked."""
    owner = await user_of(hub, caller.app, user_id)
    return await _delete(hub, caller, owner, contact_id)


@mine.delete("/{contact_id}", operation_id="deleteMyContact", status_code=204, response_class=Response)
async def delete_my_contact(hub: Hub, caller: OwnWriter, contact_id: PathContact) -> Response:
    """Forget one of your contacts, and that it was blocked."""
    return await _delete(hub, caller, caller.key, contact_id)


def _written(user: UserKey, body: ContactFields) -> ContactWrite:
    tags = None if body.tags is None else tuple(body.tags)
    return ContactWrite(user, body.kind, body.alias, body.note, tags, body.starred, body.blocked)


async def _known(hub: Services, caller: Caller, user_ids: Sequence[str]) -> Mapping[str, UserKey]:
    """Who may become a contact: for a business system everybody, for a user those of a common conversation. Others are
    not there for them, by name or otherwise."""
    if isinstance(caller, EndUser):
        return await hub.people.acquainted(caller.key, caller.app, user_ids)
    return await hub.directory.user_keys(caller.app, user_ids)


async def _contact(
    hub: Services, caller: Caller, contact_id: str, *, missing: str = "contact_not_found"
) -> UserKey:
    """Whoever does not exist is nobody's contact."""
    found = await hub.directory.user_keys(caller.app, [contact_id])
    if contact_id not in found:
        raise _missing(missing, contact_id)
    return found[contact_id]


async def _had(hub: Services, caller: Caller, owner: UserKey, user: UserKey, contact_id: str) -> None:
    """Raises user_not_found where this is no contact yet."""
    try:
        await hub.directory.contact(caller.app, owner, user)
    except NotFound as error:
        raise _missing("user_not_found", contact_id) from error


def _missing(code: str, contact_id: str) -> Problem:
    said = (
        "There is no such contact."
        if code == "contact_not_found"
        else f"There is no user {contact_id!r} here."
    )
    return Problem(code, said)


async def _change(
    hub: Services,
    caller: Caller,
    owner: UserKey,
    work: Callable[[Change], Awaitable[ContactChanges]],
    answer: Callable[[ContactChanges], Response],
    *,
    gone: bool = False,
) -> Response:
    """One transaction; then whoever was (un)blocked is looked at anew, and the owner's devices hear of it."""
    done: list[ContactChanges] = []

    async def working(change: Change) -> Response:
        done[:] = [await work(change)]
        return answer(done[0])

    response = await write(hub, caller, working)
    for changes in done:
        for conversation, user in changes.conversations:
            await hub.membership_changed(conversation, [user])
        for record, _ in changes.written:
            told = None if gone else contact_shown(record).model_dump(mode="json")
            await hub.tell([owner], {"type": "contact", "user": record.user_id, "contact": told})
    return response


async def _put(
    hub: Services,
    caller: Caller,
    owner: UserKey,
    contact_id: str,
    body: ContactFields,
    headers: dict[str, str],
) -> Response:
    user = (await _known(hub, caller, [contact_id])).get(contact_id)
    if user is None:
        # Whoever is a contact already stays one, whatever became of the conversation.
        user = await _contact(hub, caller, contact_id, missing="user_not_found")
        await _had(hub, caller, owner, user, contact_id)

    def answer(changes: ContactChanges) -> Response:
        record, new = changes.written[0]
        return shown(contact_shown(record), 201 if new else 200, headers if new else None)

    return await _change(hub, caller, owner, lambda c: c.put_contacts(owner, [_written(user, body)]), answer)


async def _patch(
    hub: Services, caller: Caller, owner: UserKey, contact_id: str, body: ContactFields
) -> Response:
    user = await _contact(hub, caller, contact_id)
    await hub.directory.contact(caller.app, owner, user)

    def answer(changes: ContactChanges) -> Response:
        return shown(contact_shown(changes.written[0][0]))

    return await _change(hub, caller, owner, lambda c: c.put_contacts(owner, [_written(user, body)]), answer)


async def _delete(hub: Services, caller: Caller, owner: UserKey, contact_id: str) -> Response:
    user = await _contact(hub, caller, contact_id)
    return await _change(
        hub, caller, owner, lambda c: c.delete_contact(owner, user), lambda _: empty(), gone=True
    )


async def _import(hub: Services, caller: Caller, owner: UserKey, contacts: Sequence[ContactItem]) -> Response:
    known = await _known(hub, caller, [one.user_id for one in contacts])
    faults = [
        Fault(f"/contacts/{index}/user_id", "user_not_found", f"There is no user {one.user_id!r}.")
        for index, one in enumerate(contacts)
        if one.user_id not in known
    ]
    if faults:
        raise Problem("user_not_found", faults[0].detail, errors=faults)
    wanted = [_written(known[one.user_id], one) for one in contacts]

    def answer(changes: ContactChanges) -> Response:
        data = [{**contact_shown(r).model_dump(), "created": new} for r, new in changes.written]
        return raw({"data": data})

    return await _change(hub, caller, owner, lambda c: c.put_contacts(owner, wanted), answer)
