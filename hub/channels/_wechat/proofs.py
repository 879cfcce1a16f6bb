"""Checks before anything is sent: a mapping at publishing, data at accepting, and a look at the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hub.channels._wechat.addressing import Addressing, Route, facts_of
from hub.channels._wechat.client import Sendable, body_of
from hub.channels._wechat.mailroom import Composer, Letter
from hub.channels._wechat.wording import fault, structure, word
from hub.core.channel import ContentFault
from hub.core.errors import Refused
from hub.core.identity import Recipient
from hub.core.message import AppId
from hub.core.outcome import Rejected
from hub.core.rendering import speaking
from hub.core.templates import ChannelMapping, TemplateVersion

_SYNC = "Synchronise the account's templates, and take the id from there."


class Proofs:
    """The protocol `Templated`, for both channels. Everything may raise errors.Unavailable."""

    def __init__(self, channel: str, addressing: Addressing, composer: Composer) -> None:
        self._channel = channel
        self._addressing = addressing
        self._composer = composer

    async def check_mapping(self, app: AppId, mapping: ChannelMapping) -> Sequence[ContentFault]:
        """Against every account that the mapping is for and that has the template."""
        accounts = await self._addressing.accounts(app)
        if mapping.account is not None:
            accounts = [account for account in accounts if account.id == mapping.account]
        if not accounts:
            return [self._no_account(mapping)]
        routes = [await self._addressing.route(account, mapping) for account in accounts]
        known = [route for route in routes if route.known and not route.template.gone]
        if not known:
            gone = any(route.known for route in routes)
            what = "is gone at WeChat" if gone else "is not known at any account that the mapping is for"
            code = "template.gone" if gone else "template.unknown"
            return [fault("template", code, f"Template {mapping.template} {what}.", _SYNC)]
        return _once([found for route in known for found in self._of_route(route)])

    async def check_content(
        self,
        app: AppId,
        template: TemplateVersion,
        data: Mapping[str, object],
        recipient: Recipient,
        account: str | None = None,
    ) -> Sequence[ContentFault]:
        """What WeChat would refuse, at any account that it may leave from. That nobody can be reached is none."""
        routes = await self._addressing.routes(app, template, account)
        if isinstance(routes, Rejected):
            return [ContentFault("", routes.code, routes.detail)] if routes.code else []
        found: list[ContentFault] = []
        for route in routes:
            message = self._message(route, template, data, recipient)
            found += message if isinstance(message, tuple) else ()
        return _once(found)

    async def preview(
        self,
        app: AppId,
        template: TemplateVersion,
        data: Mapping[str, object],
        recipient: Recipient,
        account: str | None = None,
    ) -> Mapping[str, object]:
        """The request without whom it is for. Raises Refused template.field_invalid where there would be none."""
        routes = await self._addressing.routes(app, template, account)
        if isinstance(routes, Rejected):
            routes = self._addressing.imagined(app, template)
        if not routes:
            raise Refused("template.field_invalid", f"The template has no mapping for {self._channel}.")
        message = self._message(routes[0], template, data, recipient)
        if isinstance(message, tuple):
            raise Refused("template.field_invalid", "; ".join(found.detail for found in message))
        return body_of(message)

    def _message(
        self, route: Route, version: TemplateVersion, data: Mapping[str, object], recipient: Recipient
    ) -> Sendable | tuple[ContentFault, ...]:
        reader = speaking(recipient, version)
        wording = word(route.mapping, route.template, facts_of(data, None, 1), reader)
        if isinstance(wording, tuple):
            return wording
        message = self._composer.compose(Letter(route.account, wording, reader))
        return (message,) if isinstance(message, ContentFault) else message

    def _of_route(self, route: Route) -> Sequence[ContentFault]:
        """Constants as they are, and the links as the channel understands them."""
        found = list(structure(route.mapping, route.template))
        # An address that comes whole from the data is looked at when there are data.
        url = "" if route.mapping.url.lstrip().startswith("{{") else _plain(route.mapping.url)
        letter = Letter.looked_at(route.account, route.template, page=_plain(route.mapping.page), url=url)
        message = self._composer.compose(letter)
        return [*found, message] if isinstance(message, ContentFault) else found

    def _no_account(self, mapping: ChannelMapping) -> ContentFault:
        if mapping.account is None:
            detail = f"The app has no enabled account of {self._channel}."
            return fault("account", "account.none", detail, "Add the account first.")
        detail = f"The app has no enabled account {mapping.account} of {self._channel}."
        return fault("account", "account.unknown", detail, "Leave the account out, or name one of the app's.")


def _plain(link: str) -> str:
    """The link with something short for each placeholder."""
    text, start = "", 0
    while (opening := link.find("{{", start)) >= 0 and (closing := link.find("}}", opening)) >= 0:
        text += link[start:opening] + "x"
        start = closing + 2
    return text + link[start:]


def _once(found: Sequence[ContentFault]) -> Sequence[ContentFault]:
    return list(dict.fromkeys(found))
