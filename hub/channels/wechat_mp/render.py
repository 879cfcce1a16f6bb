"""How an official account says it: a template message, or a subscribe notification where the template is one."""

from __future__ import annotations

from hub.channels._wechat.client import MiniPage, SubscribeNotice, TemplateMessage
from hub.channels._wechat.mailroom import Letter
from hub.channels._wechat.wording import fault
from hub.core.accounts import TemplateKind
from hub.core.channel import ContentFault

_SCHEMES = ("http://", "https://")


class OfficialComposer:
    """A page with a scheme is a web address; without one it is a page of the account's mini program, and `url` is for
    clients that cannot open it."""

    def compose(self, letter: Letter) -> TemplateMessage | SubscribeNotice | ContentFault:
        """The message for a wording."""
        wording, account = letter.wording, letter.account
        web, mini = wording.url, None
        if wording.page.startswith(_SCHEMES):
            web = wording.page
        elif wording.page:
            if not account.options.jump_appid:
                detail = f"page: {account.name} has no mini program that it could open"
                fix = "Give a web address, or set the account's jump_appid."
                return fault("page", "page.no_program", detail, fix)
            mini = MiniPage(account.options.jump_appid, wording.page)
        if web and not web.startswith(_SCHEMES):
            return fault("url", "url.malformed", "url: must begin with https:// or http://")
        if wording.kind is TemplateKind.MESSAGE:
            return TemplateMessage(
                letter.openid, wording.template, wording.data, letter.msg_id, web or None, mini
            )
        return SubscribeNotice(letter.openid, wording.template, wording.data, web or None, mini)
