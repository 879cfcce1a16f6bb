"""WeChat's API as typed calls: one call is one try, and answers a value or a Failure.

Only a refused access token is met with a second call, once, after `TokenSource.renew`: WeChat has then said that it did
nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar, assert_never

from hub.channels._wechat import answers
from hub.channels._wechat.faults import Failure, Kind
from hub.channels._wechat.tokens import Fetch, Fetched, TokenSource
from hub.channels._wechat.transport import Answer, Request, Transport
from hub.core.outcome import Reason

T = TypeVar("T")

MAX_CLIENT_MSG_ID: Final = 32
"""The platform does not document a limit; the similar id of mass sends has 64."""
DEDUPLICATED_FOR: Final = timedelta(minutes=10)
"""How long WeChat sends one message only for one (openid, client_msg_id)."""
MAX_QR_LIFE: Final = timedelta(days=30)
MAX_SCENE: Final = 64
_ID: Final = re.compile(r"[0-9A-Za-z]{1,32}")


class MiniState(StrEnum):
    """Which version of a mini program a message opens."""

    DEVELOPER = "developer"
    TRIAL = "trial"
    FORMAL = "formal"


class MiniLang(StrEnum):
    """In which language a mini program is entered."""

    CHINESE = "zh_CN"
    ENGLISH = "en_US"
    HONG_KONG = "zh_HK"
    TAIWAN = "zh_TW"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account's keys. `appid` is no secret."""

    appid: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MiniPage:
    """A page of a mini program that a message opens."""

    appid: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class TemplateMessage:
    """For a follower of an official account. With `mini` and `url`, old clients open the url."""

    openid: str
    template_id: str
    data: Mapping[str, str]
    client_msg_id: str
    url: str | None = None
    mini: MiniPage | None = None


@dataclass(frozen=True, slots=True)
class SubscribeNotice:
    """For a person who has subscribed to a template of an official account. WeChat does not de-duplicate these."""

    openid: str
    template_id: str
    data: Mapping[str, str]
    page: str | None = None
    mini: MiniPage | None = None


@dataclass(frozen=True, slots=True)
class MiniMessage:
    """For a person who has subscribed in a mini program. WeChat does not de-duplicate these."""

    openid: str
    template_id: str
    data: Mapping[str, str]
    page: str | None = None
    state: MiniState = MiniState.FORMAL
    lang: MiniLang = MiniLang.CHINESE


Sendable: TypeAlias = TemplateMessage | SubscribeNotice | MiniMessage

PATHS: Final[Mapping[type[Sendable], str]] = {
    TemplateMessage: "/cgi-bin/message/template/send",
    SubscribeNotice: "/cgi-bin/message/subscribe/bizsend",
    MiniMessage: "/cgi-bin/message/subscribe/send",
}


def body_of(message: Sendable) -> dict[str, object]:
    """The request as it is sent, without whom it is for."""
    values = {name: {"value": value} for name, value in message.data.items()}
    body: dict[str, object] = {"template_id": message.template_id, "data": values}
    match message:
        case TemplateMessage():
            body |= _present(url=message.url, miniprogram=_mini(message.mini))
            body["client_msg_id"] = message.client_msg_id
        case SubscribeNotice():
            body |= _present(page=message.page, miniprogram=_mini(message.mini))
        case MiniMessage():
            body |= _present(page=message.page)
            body |= {"miniprogram_state": message.state.value, "lang": message.lang.value}
        case _:
            assert_never(message)
    return body


def client_msg_id(delivery_id: str) -> str:
    """The id that WeChat de-duplicates by: the same for every try of one delivery, in at most 32 characters."""
    bare = delivery_id.rpartition("_")[2]
    if _ID.fullmatch(bare):
        return bare
    return hashlib.sha256(delivery_id.encode()).hexdigest()[:MAX_CLIENT_MSG_ID]


def stable_token(transport: Transport, account: Credentials) -> Fetch:
    """How a TokenSource asks for a token. Its tokens and those of the old /token endpoint do not know each other."""

    async def fetch(force: bool) -> Fetched | Failure:
        body = {
            "grant_type": "client_credential",
            "appid": account.appid,
            "secret": account.secret,
            "force_refresh": force,
        }
        request = Request("/cgi-bin/stable_token", {}, body, token_endpoint=True, secrets=(account.secret,))
        return _read(await transport.ask(request), answers.fetched, once=False)

    return fetch


class WeChatClient:
    """One account. Every method is bounded in time by the transport's limits and the token's, and raises nothing for
    what WeChat or the network do."""

    def __init__(self, transport: Transport, account: Credentials, tokens: TokenSource) -> None:
        self._transport = transport
        self._account = account
        self._tokens = tokens

    @property
    def appid(self) -> str:
        """Whose client it is."""
        return self._account.appid

    async def send(self, message: Sendable) -> answers.Sent | Failure:
        """A message of any kind. A TemplateMessage is not sent twice within ten minutes under one (openid,
        client_msg_id); of the others WeChat knows no repeat."""
        body = {"touser": message.openid, **body_of(message)}
        result = _read(await self._call(PATHS[type(message)], {}, body, once=True), answers.sent, once=True)
        if isinstance(result, Failure) and result.kind is Kind.DUPLICATE:
            return answers.Sent(None, duplicate=True)
        return result

    async def check_token(self) -> Failure | None:
        """Ask for a token now, whatever is known already; None where WeChat gives one. It changes nothing: WeChat gives
        everybody the same one."""
        fetched = await stable_token(self._transport, self._account)(False)
        return fetched if isinstance(fetched, Failure) else None

    async def send_template(self, message: TemplateMessage) -> answers.Sent | Failure:
        """A template message. Within ten minutes a second one of the same (openid, client_msg_id) is not sent."""
        return await self.send(message)

    async def send_notice(self, notice: SubscribeNotice) -> answers.Sent | Failure:
        """A subscribe notification of an official account (bizsend)."""
        return await self.send(notice)

    async def send_mini(self, message: MiniMessage) -> answers.Sent | Failure:
        """A subscribe message of a mini program."""
        return await self.send(message)

    async def private_templates(self) -> tuple[answers.Template, ...] | Failure:
        """An official account's template messages."""
        return await self._get("/cgi-bin/template/get_all_private_template", answers.private_templates)

    async def subscribe_templates(self) -> tuple[answers.Template, ...] | Failure:
        """A mini program's or official account's subscribe templates."""
        return await self._get("/wxaapi/newtmpl/gettemplate", answers.subscribe_templates)

    async def follower(self, openid: str) -> answers.Follower | Failure:
        """Whether a person follows an official account, and their unionid."""
        return await self._get("/cgi-bin/user/info", answers.follower, openid=openid, lang="zh_CN")

    async def create_qr(self, scene: str, *, expires_in: timedelta) -> answers.QrCode | Failure:
        """A temporary QR code; its scene comes back in the events `subscribe` and `SCAN`. Anybody may scan it: give a
        random scene, used once. Raises ValueError outside of WeChat's bounds."""
        if not 1 <= len(scene) <= MAX_SCENE or not timedelta(0) < expires_in <= MAX_QR_LIFE:
            message = (
                f"A scene has 1 to {MAX_SCENE} characters and a QR code lives up to {MAX_QR_LIFE.days} days"
            )
            raise ValueError(message)
        body = {
            "expire_seconds": int(expires_in.total_seconds()),
            "action_name": "QR_STR_SCENE",
            "action_info": {"scene": {"scene_str": scene}},
        }
        answer = await self._call("/cgi-bin/qrcode/create", {}, body)
        return _read(answer, answers.qr_code, once=False)

    async def explain(self, rid: str) -> answers.Explanation | Failure:
        """What WeChat remembers of a failed request, for seven days."""
        answer = await self._call("/cgi-bin/openapi/rid/get", {}, {"rid": rid})
        return _read(answer, answers.explanation, once=False)

    async def quota(self, path: str) -> answers.Allowance | Failure:
        """How often a call may be made today, by its path (`/cgi-bin/message/template/send`)."""
        answer = await self._call("/cgi-bin/openapi/quota/get", {}, {"cgi_path": path})
        return _read(answer, answers.allowance, once=False)

    async def mini_login(self, code: str) -> answers.MiniLogin | Failure:
        """Who a mini program's login code stands for. A code works once: after AMBIGUOUS, ask for another."""
        query = {"appid": self._account.appid, "secret": self._account.secret, "js_code": code}
        return await self._login("/sns/jscode2session", query, answers.mini_login)

    async def web_login(self, code: str) -> answers.WebLogin | Failure:
        """Who a web page's OAuth code stands for. A code works once: after AMBIGUOUS, ask for another."""
        query = {"appid": self._account.appid, "secret": self._account.secret, "code": code}
        return await self._login("/sns/oauth2/access_token", query, answers.web_login)

    async def _get(self, path: str, reader: Callable[[Answer], T], **query: str) -> T | Failure:
        return _read(await self._call(path, query), reader, once=False)

    async def _login(self, path: str, query: Mapping[str, str], reader: Callable[[Answer], T]) -> T | Failure:
        """These need no access token. A wrong secret is the account's fault, as at the token endpoint."""
        full = {**query, "grant_type": "authorization_code"}
        request = Request(path, full, once=True, token_endpoint=True, secrets=(self._account.secret,))
        return _read(await self._transport.ask(request), reader, once=True)

    async def _call(
        self,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, object] | None = None,
        *,
        once: bool = False,
    ) -> Answer | Failure:
        token = await self._tokens.get()
        if isinstance(token, Failure):
            return token
        answer = await self._transport.ask(_with_token(path, query, body, once, token))
        if not isinstance(answer, Failure) or answer.kind is not Kind.TOKEN:
            return answer
        renewed = await self._tokens.renew(token)
        if isinstance(renewed, Failure):
            return renewed
        return await self._transport.ask(_with_token(path, query, body, once, renewed))


def _with_token(
    path: str, query: Mapping[str, str], body: Mapping[str, object] | None, once: bool, token: str
) -> Request:
    return Request(path, {**query, "access_token": token}, body, once=once, secrets=(token,))


def _read(answer: Answer | Failure, reader: Callable[[Answer], T], *, once: bool) -> T | Failure:
    if isinstance(answer, Failure):
        return answer
    try:
        return reader(answer)
    except answers.Odd as odd:
        kind = Kind.AMBIGUOUS if once else Kind.BUSY
        return Failure(kind, Reason.PROVIDER_DOWN, words=f"an answer that is not as documented: {odd}")


def _mini(page: MiniPage | None) -> Mapping[str, str] | None:
    return None if page is None else {"appid": page.appid, "pagepath": page.path}


def _present(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
