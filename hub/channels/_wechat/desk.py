"""What only WeChat can do for an account: how it does, its templates, and how people prove which address is theirs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, Protocol, TypeVar

from hub.channels._wechat import answers
from hub.channels._wechat.client import WeChatClient
from hub.channels._wechat.consents import Consents
from hub.channels._wechat.errcodes import rule_for
from hub.channels._wechat.faults import Failure, Kind
from hub.channels._wechat.followers import Lines, Lookups, ask_follower, sighting_of
from hub.channels._wechat.invitations import (
    WECHAT_OPEN,
    authorize_url,
    may_return_to,
    new_token,
    return_address,
    scene_of,
)
from hub.core.accounts import (
    TICKET_LIFE,
    Account,
    AccountHealth,
    Binding,
    BindingBook,
    BindingState,
    Consent,
    GrantBalance,
    GrantBook,
    GrantSource,
    Invitation,
    ProviderTemplate,
    ProviderTemplates,
    Quota,
    Sighting,
    TemplateKind,
    Ticket,
    TicketKind,
)
from hub.core.errors import Conflict, NotFound, Refused, Unavailable
from hub.core.message import UserKey
from hub.core.ports import Clock

log = logging.getLogger("hub.wechat")

T = TypeVar("T")

OFFICIAL: Final = "wechat_mp"
PROGRAM: Final = "miniprogram"
_SENDS: Final[Mapping[str, tuple[str, ...]]] = {
    OFFICIAL: ("/cgi-bin/message/template/send", "/cgi-bin/message/subscribe/bizsend"),
    PROGRAM: ("/cgi-bin/message/subscribe/send",),
}
_NO_SUBSCRIPTIONS: Final = frozenset({48001, 200100})
"""An official account without subscribe messages has none of their templates either."""
_MAX_CODE: Final = 256
_MAX_CONSENTS: Final = 20


class DeskLines(Lines, Protocol):
    """What the desk needs of switchboard.Switchboard. Nothing here raises."""

    async def health(self, account: Account) -> AccountHealth:
        """Its circuits; nothing is asked of WeChat."""
        ...

    async def mend(self, account: Account) -> None:
        """Closes its circuits."""
        ...


class WeChatDesk:
    """Implements core.accounts.AccountDesk for official accounts and mini programs."""

    def __init__(
        self,
        *,
        lines: DeskLines,
        bindings: BindingBook,
        grants: GrantBook,
        templates: ProviderTemplates,
        lookups: Lookups,
        clock: Clock,
        public_url: str,
        open_url: str = WECHAT_OPEN,
    ) -> None:
        """`public_url` is where people's browsers reach this hub; `open_url` where WeChat's own pages are."""
        self._lines = lines
        self._bindings = bindings
        self._grants = grants
        self._templates = templates
        self._lookups = lookups
        self._consents = Consents(grants, templates)
        self._clock = clock
        self._public_url = public_url
        self._open_url = open_url.rstrip("/")

    async def health(self, account: Account, *, probe: bool) -> AccountHealth:
        """With `probe` WeChat is asked for a token now, which is where a wrong secret and an address that is not on the
        whitelist show; where it is given, the account's circuits are closed."""
        if not probe:
            return await self._lines.health(account)
        # Who has just corrected a secret asks whether it is right now.
        line = await self._lines.line(account, recheck=True)
        failure = line if isinstance(line, Failure) else await line.client.check_token()
        if failure is None:
            await self._lines.mend(account)
            return await self._lines.health(account)
        known = await self._lines.health(account)
        code = "" if failure.errcode is None else str(failure.errcode)
        return AccountHealth(False, known.circuit, known.open_until, _words(failure, token=True), code)

    async def quotas(self, account: Account) -> Sequence[Quota]:
        """Of its sends. A call that WeChat does not count for this account is left out."""
        client = await self._client(account)
        paths = _SENDS.get(account.channel, ())
        found = await asyncio.gather(*(client.quota(path) for path in paths))
        counts = [
            Quota(path, count.limit, count.used, count.remaining)
            for path, count in zip(paths, found, strict=True)
            if isinstance(count, answers.Allowance)
        ]
        if not counts and found:
            _answered(found[0])
        return counts

    async def sync_templates(self, account: Account) -> Sequence[ProviderTemplate]:
        """Read the account's templates and keep them. Where WeChat does not answer, those known stay as they are."""
        client = await self._client(account)
        found: list[ProviderTemplate] = []
        subscribed = await client.subscribe_templates()
        if account.channel == OFFICIAL:
            messages = _answered(await client.private_templates())
            found += [_template(account, item, TemplateKind.MESSAGE) for item in messages]
            if isinstance(subscribed, Failure) and subscribed.errcode in _NO_SUBSCRIPTIONS:
                subscribed = ()
        for item in _answered(subscribed):
            kind = TemplateKind.LONG_TERM if item.long_term else TemplateKind.ONE_TIME
            found.append(_template(account, item, kind))
        return await self._templates.replace(account.id, found, now=self._clock())

    async def invite_by_page(self, account: Account, user: UserKey, *, return_to: str) -> Invitation:
        """For who opens it inside of WeChat; the browser goes to `return_to` afterwards, or sees a page of the hub."""
        _only(account, OFFICIAL)
        if not may_return_to(return_to):
            raise Refused(
                "return_to_invalid",
                "`return_to` must be an http(s) address or a path that begins with a single slash.",
            )
        ticket = await self._issue(account, user, TicketKind.OAUTH_STATE, return_to)
        redirect = return_address(self._public_url, account.id)
        url = authorize_url(self._open_url, appid=account.external_id, redirect=redirect, state=ticket.token)
        return Invitation(url, ticket.expires_at)

    async def invite_by_qr(self, account: Account, user: UserKey) -> Invitation:
        """Whoever scans it first is bound to the user: show it to that person only."""
        _only(account, OFFICIAL)
        client = await self._client(account)
        ticket = await self._issue(account, user, TicketKind.QR_SCENE, "")
        code = _answered(await client.create_qr(scene_of(ticket.token), expires_in=TICKET_LIFE))
        return Invitation(code.url, ticket.expires_at, self._picture(code))

    async def bind_by_code(self, account: Account, user: UserKey, code: str) -> Binding:
        """A mini program's `wx.login` code. The session key that comes with the answer is let go here."""
        _only(account, PROGRAM)
        if not 0 < len(code) <= _MAX_CODE:
            raise Refused("provider_refused", "This is no login code of WeChat.")
        client = await self._client(account)
        login = _answered(await client.mini_login(code))
        return await self._note(
            Sighting(account.id, login.openid, "code", user, login.unionid, BindingState.ACTIVE)
        )

    async def refresh(self, account: Account, address: str) -> Binding:
        """Ask WeChat whether the person follows now. Mini programs have no followers: what is known is answered."""
        known = await self._bindings.binding(account.id, address)
        if known is None:
            raise NotFound("binding_not_found", "Nothing is known of this address at the account.")
        if account.channel != OFFICIAL:
            return known
        answer = await ask_follower(self._lines, account, address)
        sighting = sighting_of(account, address, answer)
        if sighting is None:
            _answered(answer)
            return known
        return await self._note(sighting)

    async def report_consents(
        self, account: Account, user: UserKey, answers: Mapping[str, Consent], *, once: str
    ) -> Sequence[GrantBalance]:
        """What a client says the person answered."""
        if account.options.grants_from is not GrantSource.CLIENT:
            raise Conflict(
                "grants_from_events",
                "This account learns of subscriptions by WeChat's events; counting reports as well would count twice.",
            )
        if len(answers) > _MAX_CONSENTS:
            raise Refused("request_invalid", f"At most {_MAX_CONSENTS} templates in one report.")
        found = await self._bindings.addresses([account.id], [user])
        binding = found.get((account.id, user))
        if binding is None:
            raise NotFound("binding_not_found", "The user is not bound at this account.")
        await self._consents.reported(account, binding.address, answers, once=once)
        return await self._grants.balances(account.id, binding.address)

    async def _client(self, account: Account) -> WeChatClient:
        line = await self._lines.line(account)
        if isinstance(line, Failure):
            _raise(line)
        return line.client

    async def _issue(self, account: Account, user: UserKey, kind: TicketKind, return_to: str) -> Ticket:
        ticket = Ticket(new_token(), kind, account.id, user, self._clock() + TICKET_LIFE, return_to)
        await self._bindings.issue_ticket(ticket)
        return ticket

    async def _note(self, sighting: Sighting) -> Binding:
        return (await self._bindings.note([sighting]))[0]

    def _picture(self, code: answers.QrCode) -> str:
        """WeChat serves the picture from a place of its own; a sandbox from where its other pages are."""
        if self._open_url == WECHAT_OPEN:
            return code.picture
        return self._open_url + code.picture_path


def _template(account: Account, item: answers.Template, kind: TemplateKind) -> ProviderTemplate:
    return ProviderTemplate(
        account=account.id,
        id=item.id,
        kind=kind,
        title=item.title,
        content=item.content,
        fields=item.fields,
        enums=dict(item.enums),
        example=item.example,
    )


def _only(account: Account, channel: str) -> None:
    if account.channel != channel:
        name = "an official account" if channel == OFFICIAL else "a mini program"
        raise Conflict("not_for_this_account", f"Only {name} can do this.")


def _answered(result: T | Failure) -> T:
    """The result of a call, or the failure as an error of the hub."""
    if isinstance(result, Failure):
        _raise(result)
    return result


def _raise(failure: Failure) -> NoReturn:
    words = _words(failure)
    match failure.kind:
        case Kind.BUSY | Kind.RATE | Kind.TOKEN | Kind.AMBIGUOUS:
            raise Unavailable("provider_unavailable", words)
        case _:
            raise Refused("provider_refused", words)


def _words(failure: Failure, *, token: bool = False) -> str:
    """What happened and what to do, in plain words, with WeChat's own behind them."""
    if failure.errcode is None:
        return failure.detail or "WeChat cannot be reached right now."
    advice = rule_for(failure.errcode, at_token_endpoint=token).advice("en")
    return f"{advice.what}. {advice.do}. ({failure.detail})"
