"""What a person does with a phone: follow, scan, accept, refuse, tap, write, log in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hub.sandbox import events
from hub.sandbox.binding import LOGIN, new_code
from hub.sandbox.errors import ControlError
from hub.sandbox.other_sends import open_window
from hub.sandbox.state import Account, AccountKind, Grant, Message, QrCode, Template, Tie
from hub.sandbox.world import World

_IDS_MOST: Final = 3
_LONG_TERM: Final = 3
_GONE: Final = 410


async def follow(world: World, tie: Tie, *, qrcode: QrCode | None = None) -> None:
    """Follows the account; twice is as good as once, and a scan by a follower is SCAN."""
    account = _official(world, tie)
    if qrcode is not None:
        open_window(world, tie, "scan")
    if tie.following:
        if qrcode is not None:
            await world.tell(account, tie, events.scan(scene=qrcode.scene, ticket=qrcode.ticket))
        return
    tie.following, tie.followed_at = True, world.clock.now()
    tie.subscribe_scene = "ADD_SCENE_QR_CODE" if qrcode else "ADD_SCENE_SEARCH"
    tie.qr_scene = int(qrcode.scene) if qrcode is not None and qrcode.numeric else 0
    tie.qr_scene_str = qrcode.scene if qrcode is not None and not qrcode.numeric else ""
    open_window(world, tie, "follow")
    scene, ticket = (qrcode.scene, qrcode.ticket) if qrcode else ("", "")
    await world.tell(account, tie, events.follow(scene=scene, ticket=ticket))


async def unfollow(world: World, tie: Tie) -> None:
    """Stops following; nothing if the person did not."""
    account = _official(world, tie)
    if tie.following:
        tie.following = False
        tie.windows.clear()
        await world.tell(account, tie, events.unfollow())


async def scan(world: World, person_id: str, ticket_or_url: str) -> Tie:
    """Scans a QR code by its ticket or by the url inside it."""
    found = [
        qrcode for qrcode in world.state.qrcodes.values() if ticket_or_url in {qrcode.ticket, qrcode.url}
    ]
    if not found:
        raise ControlError("no such QR code", status=404)
    if found[0].expires_at is not None and found[0].expires_at <= world.clock.now():
        raise ControlError("this QR code has expired", status=_GONE)
    tie = world.tie(found[0].appid, person_id)
    await follow(world, tie, qrcode=found[0])
    return tie


async def request_subscribe(
    world: World, tie: Tie, choices: Mapping[str, str], *, always: bool = False, scene: int = 0
) -> dict[str, str]:
    """wx.requestSubscribeMessage with the person's answers; per id accept, reject, ban or filter.

    A choice that is kept ("always") wins over the answer: the dialog would not have been shown.
    """
    account = world.account(tie.appid)
    templates = _asked(account, list(choices))
    results: dict[str, str] = {}
    titles: set[str] = set()
    answered: dict[str, str] = {}
    told: dict[str, str] = {}
    for template in templates:
        if template.title in titles:
            results[template.template_id] = "filter"
            continue
        titles.add(template.title)
        if template.banned or account.subscribe_banned:
            results[template.template_id] = "ban"
            continue
        grant = tie.grants.setdefault(template.template_id, Grant())
        kept = grant.always
        choice = kept or choices[template.template_id]
        if choice not in {"accept", "reject"}:
            raise ControlError(f"a choice is accept or reject, not {choice!r}")
        answered[template.template_id] = results[template.template_id] = choice
        if not kept or world.state.settings.popup_event_when_kept:
            told[template.template_id] = choice
    for template in templates:
        if template.template_id in answered:
            _take(world, tie, template, answered[template.template_id], always=always)
    world.changed("grant", tie.person_id)
    if told:
        await world.tell(account, tie, events.popup(told, scene))
    return results


def _asked(account: Account, ids: Sequence[str]) -> list[Template]:
    unknown = [template_id for template_id in ids if template_id not in account.templates]
    if unknown:
        raise ControlError(f"no template {unknown[0]} in {account.appid}", status=404)
    templates = [account.templates[template_id] for template_id in ids]
    if not 0 < len(templates) <= _IDS_MOST:
        raise ControlError(f"a dialog asks for 1 to {_IDS_MOST} templates, not {len(templates)}")
    if any(not template.kind for template in templates):
        raise ControlError("template messages need no subscription")
    if len({template.kind for template in templates}) > 1:
        raise ControlError("one-time and long-term templates cannot be asked for together")
    return templates


def _take(world: World, tie: Tie, template: Template, choice: str, *, always: bool) -> None:
    grant = tie.grants[template.template_id]
    if always:
        grant.always = choice
    if choice == "reject":
        return
    grant.accepted += 1
    if template.kind == _LONG_TERM:
        grant.long_term = True
    else:
        grant.remaining += 1
        world.ledger.granted(tie.openid, template.template_id)


async def switch(world: World, tie: Tie, template_id: str, choice: str) -> None:
    """The account's settings page. Refusing a subscription is told, refusing a template message is not."""
    account = world.account(tie.appid)
    template = account.templates.get(template_id)
    if template is None:
        raise ControlError(f"no template {template_id} in {tie.appid}", status=404)
    if choice not in {"accept", "reject"}:
        raise ControlError(f"a choice is accept or reject, not {choice!r}")
    if not template.kind:
        tie.refused = [refused for refused in tie.refused if refused != template_id]
        if choice == "reject":
            tie.refused.append(template_id)
        world.changed("settings", tie.person_id)
        return
    grant = tie.grants.setdefault(template_id, Grant())
    grant.always = choice
    if choice == "reject":
        grant.remaining, grant.long_term = 0, False
        world.ledger.voided(tie.openid, template_id)
        await world.tell(account, tie, events.change(template_id))
    elif template.kind == _LONG_TERM:
        grant.long_term = True
    world.changed("settings", tie.person_id)


def tap(world: World, message: Message) -> dict[str, str]:
    """The person taps a card: where it leads."""
    if message.tapped_at is None:
        message.tapped_at = world.clock.now()
    world.changed("tap", message.person_id)
    return message.link


async def write(world: World, tie: Tie, text: str) -> None:
    """The person writes to the account, which may then answer for 48 hours."""
    account = world.account(tie.appid)
    if account.kind is AccountKind.OFFICIAL and not tie.following:
        raise ControlError("only a follower can write to an official account", status=409)
    open_window(world, tie, "message")
    await world.tell(account, tie, events.text(text, world.next_msgid()))


def log_in(world: World, tie: Tie) -> str:
    """wx.login in a mini program: a code. Opening the program lets it write for a minute."""
    if world.account(tie.appid).kind is not AccountKind.MINIPROGRAM:
        raise ControlError("wx.login exists in mini programs only")
    open_window(world, tie, "enter")
    return new_code(world, tie, LOGIN).code


def _official(world: World, tie: Tie) -> Account:
    account = world.account(tie.appid)
    if account.kind is not AccountKind.OFFICIAL:
        raise ControlError("only official accounts have followers")
    return account
