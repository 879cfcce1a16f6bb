"""How a mini program says it: a subscribe message that opens one of its own pages."""

from __future__ import annotations

from hub.channels._wechat.client import MiniLang, MiniMessage, MiniState
from hub.channels._wechat.mailroom import Letter
from hub.channels._wechat.wording import fault
from hub.core.channel import ContentFault


class ProgramComposer:
    """`url` is for official accounts, and left out here."""

    def compose(self, letter: Letter) -> MiniMessage | ContentFault:
        """The message for a wording."""
        wording = letter.wording
        if "://" in wording.page.partition("?")[0]:
            fix = "Give a path such as pages/task/detail?id=7."
            return fault("page", "page.not_a_path", "page: a mini program opens its own pages only", fix)
        return MiniMessage(
            openid=letter.openid,
            template_id=wording.template,
            data=wording.data,
            page=wording.page.removeprefix("/") or None,
            state=_state(letter.account.options.mini_state),
            lang=language(letter.reader.locale),
        )


def language(locale: str) -> MiniLang:
    """WeChat knows four."""
    match locale.lower().replace("_", "-").split("-"):
        case ["zh", *rest] if {"tw", "hant"} & set(rest) and not {"hk", "mo"} & set(rest):
            return MiniLang.TAIWAN
        case ["zh", *rest] if {"hk", "mo"} & set(rest):
            return MiniLang.HONG_KONG
        case ["zh", *_]:
            return MiniLang.CHINESE
        case _:
            return MiniLang.ENGLISH


def _state(text: str) -> MiniState:
    return MiniState(text) if text in set(MiniState) else MiniState.FORMAL
