"""What the control API and the phone page are shown, as JSON. A msgid is a string: it is above 2**53."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hub.sandbox.state import Account, AccountKind, Grant, Message, MessageStatus, Template, Tie
from hub.sandbox.templates import labels
from hub.sandbox.world import World

_SHOWN: Final = 100
_CODES_SHOWN: Final = 10
SERVICE_THREAD: Final = "service"


def world_view(world: World) -> dict[str, Any]:
    """Accounts, people, settings, clock."""
    return {
        "seed": world.state.seed,
        "now": world.clock.now(),
        "settings": msgspec.to_builtins(world.state.settings),
        "accounts": [account_view(account) for account in world.state.accounts.values()],
        "people": [msgspec.to_builtins(person) for person in world.state.people.values()],
    }


def account_view(account: Account) -> dict[str, Any]:
    """All of an account, its secret too: it is a sandbox."""
    whole: dict[str, Any] = msgspec.to_builtins(account)
    whole["templates"] = [template_view(template) for template in account.templates.values()]
    return whole


def template_view(template: Template) -> dict[str, Any]:
    """A template with its fields."""
    return {**msgspec.to_builtins(template), "fields": labels(template)}


def message_view(message: Message) -> dict[str, Any]:
    """A message as it was sent and as it is shown."""
    whole: dict[str, Any] = msgspec.to_builtins(message)
    return whole | {"msgid": str(message.msgid)}


def tie_view(world: World, tie: Tie) -> dict[str, Any]:
    """What a person is to an account."""
    whole: dict[str, Any] = msgspec.to_builtins(tie)
    return whole | {"unionid": world.unionid(world.account(tie.appid), tie.person_id)}


def phone(world: World, person_id: str) -> dict[str, Any]:
    """Everything one person's phone shows: conversations with their cards, and the accounts."""
    person = world.person(person_id)
    threads: dict[str, dict[str, Any]] = {}
    accounts = []
    for account in world.state.accounts.values():
        tie = world.tie(account.appid, person_id)
        accounts.append(_account_on_phone(world, account, tie))
        if account.kind is AccountKind.OFFICIAL and tie.following:
            threads[account.appid] = _thread(account.appid, account.name, "official")
    threads[SERVICE_THREAD] = _thread(SERVICE_THREAD, "", "service")
    mine = [
        message
        for message in world.state.messages
        if message.person_id == person_id and message.status is MessageStatus.DELIVERED
    ]
    for message in mine[-_SHOWN:]:
        account = world.state.accounts[message.appid]
        thread_id = message.appid if account.kind is AccountKind.OFFICIAL else SERVICE_THREAD
        # A bizsend to somebody who does not follow is shown among the service notifications.
        thread = threads.get(thread_id) or threads[SERVICE_THREAD]
        thread["messages"].append(message_view(message) | {"account": account.name})
    return {
        "person": msgspec.to_builtins(person),
        "now": world.clock.now(),
        "accounts": accounts,
        "qrcodes": _scannable(world),
        "threads": list(threads.values()),
    }


def _scannable(world: World) -> list[dict[str, str]]:
    """The newest QR codes that have not expired."""
    now = world.clock.now()
    alive = [
        code for code in world.state.qrcodes.values() if code.expires_at is None or code.expires_at > now
    ]
    return [{"ticket": code.ticket, "scene": code.scene} for code in alive[-_CODES_SHOWN:]]


def _thread(thread_id: str, name: str, kind: str) -> dict[str, Any]:
    return {"id": thread_id, "name": name, "kind": kind, "messages": []}


def _account_on_phone(world: World, account: Account, tie: Tie) -> dict[str, Any]:
    return {
        "appid": account.appid,
        "name": account.name,
        "kind": str(account.kind),
        "openid": tie.openid,
        "unionid": world.unionid(account, tie.person_id),
        "following": tie.following,
        "blocks_messages": tie.blocks_messages,
        "callback": account.callback.url if account.callback else "",
        "templates": [_template_on_phone(template, tie) for template in account.templates.values()],
    }


def _template_on_phone(template: Template, tie: Tie) -> dict[str, Any]:
    grant = tie.grants.get(template.template_id, Grant())
    return {
        "template_id": template.template_id,
        "title": template.title,
        "kind": template.kind,
        "example": template.example,
        "refused": template.template_id in tie.refused,
        "remaining": grant.remaining,
        "long_term": grant.long_term,
        "always": grant.always,
    }
