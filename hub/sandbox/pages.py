"""The pages of WeChat that a person opens: OAuth consent and the old one-time subscription."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from hub.sandbox.binding import OAUTH, new_code
from hub.sandbox.state import Account, AccountKind
from hub.sandbox.world import World

_SCOPES = {"snsapi_base", "snsapi_userinfo"}
_RESERVED_MOST = 128


class Pages:
    """`sandbox_person` in the query chooses at once; without it the page asks who is holding the phone."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def authorize(self, request: Request) -> Response:
        """GET /connect/oauth2/authorize: back to redirect_uri with code and state."""
        query = dict(request.query_params)
        account = self._official(query)
        scope = query.get("scope", "")
        if account is None or query.get("response_type") != "code" or scope not in _SCOPES:
            return _page("Scope 参数错误或没有 Scope 权限", [], status=400)
        target = query.get("redirect_uri", "")
        if not _allowed(account, target):
            return _page("redirect_uri域名与后台配置不一致，错误码:10003", [], status=400)
        person = query.get("sandbox_person", "")
        if person not in self.world.state.people:
            return self._who(request, f"{account.name} 申请获得你的公开信息")
        tie = self.world.tie(account.appid, person)
        snapshot = query.get("sandbox_snapshot") == "1"
        code = new_code(self.world, tie, OAUTH, scope=scope, snapshot=snapshot)
        return RedirectResponse(_with(target, {"code": code.code, "state": query.get("state", "")}), 302)

    async def subscribe(self, request: Request) -> Response:
        """GET /mp/subscribemsg?action=get_confirm: one message allowed for one scene."""
        query = dict(request.query_params)
        account = self._official(query)
        scene, target = query.get("scene", ""), query.get("redirect_url", "")
        fine = scene.isdigit() and int(scene) <= 10_000 and len(query.get("reserved", "")) <= _RESERVED_MOST
        if (
            account is None
            or query.get("action") != "get_confirm"
            or not fine
            or not _allowed(account, target)
        ):
            return _page("参数错误", [], status=400)
        person, answer = query.get("sandbox_person", ""), query.get("sandbox_answer", "")
        if person not in self.world.state.people:
            return self._who(request, f"{account.name} 请求给你发送一条消息")
        if answer not in {"confirm", "cancel"}:
            choices = [("允许", {"sandbox_answer": "confirm"}), ("取消", {"sandbox_answer": "cancel"})]
            return _page("一次性订阅消息", [(name, _again(request, more)) for name, more in choices])
        tie = self.world.tie(account.appid, person)
        back = {"template_id": query.get("template_id", ""), "action": answer, "scene": scene}
        if answer == "confirm":
            tie.scenes[str(int(scene))] = back["template_id"]
            back = {"openid": tie.openid} | back
        self.world.changed("scene", person)
        return RedirectResponse(_with(target, back | {"reserved": query.get("reserved", "")}), 302)

    async def show_qrcode(self, request: Request) -> Response:
        """GET /cgi-bin/showqrcode?ticket=: a picture of the scene. The phone page scans by ticket."""
        qrcode = self.world.state.qrcodes.get(request.query_params.get("ticket", ""))
        if qrcode is None:
            return Response(status_code=404)
        account = self.world.account(qrcode.appid)
        return Response(_picture(account.name, qrcode.scene), media_type="image/svg+xml")

    def _official(self, query: Mapping[str, str]) -> Account | None:
        account = self.world.state.accounts.get(query.get("appid", ""))
        return account if account is not None and account.kind is AccountKind.OFFICIAL else None

    def _who(self, request: Request, title: str) -> Response:
        people = self.world.state.people.values()
        links = [(person.name, _again(request, {"sandbox_person": person.person_id})) for person in people]
        return _page(title, links)


def _allowed(account: Account, target: str) -> bool:
    parts = urlsplit(target)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return False
    return not account.oauth_domains or parts.hostname in account.oauth_domains


def _again(request: Request, more: Mapping[str, str]) -> str:
    return f"{request.url.path}?{urlencode(dict(request.query_params) | dict(more))}"


def _with(target: str, more: Mapping[str, str]) -> str:
    parts = urlsplit(target)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *more.items()])
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, parts.fragment))


def _picture(name: str, scene: str) -> str:
    """Words and no pattern: there is no real code that a camera could read."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 280 280" font-family="sans-serif" '
        'text-anchor="middle"><rect width="280" height="280" rx="24" fill="#07c160"/>'
        '<rect x="24" y="24" width="232" height="232" rx="14" fill="#fff"/>'
        f'<text x="140" y="112" font-size="22">{escape(name)}</text>'
        f'<text x="140" y="150" font-size="13" fill="#555">{escape(scene)}</text>'
        '<text x="140" y="206" font-size="12" fill="#888">沙箱二维码：在手机页“扫一扫”</text></svg>'
    )


def _page(title: str, links: list[tuple[str, str]], *, status: int = 200) -> Response:
    """Links and no form: a form's redirect to another site would fall to form-action."""
    listed = "".join(f'<a class="choice" href="{escape(href)}">{escape(name)}</a>' for name, href in links)
    return HTMLResponse(
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>微信</title>'
        '<link rel="icon" href="/phone/icon.svg"><link rel="stylesheet" href="/phone/style.css"></head>'
        f'<body class="consent"><main class="sheet"><h1>{escape(title)}</h1>{listed}</main></body></html>',
        status_code=status,
    )
