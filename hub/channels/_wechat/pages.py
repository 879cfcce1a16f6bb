"""The few words that a person reads after WeChat's OAuth page, in Chinese and English. Nothing of the request is in
them, no script runs, and the one style sheet is named in the policy by its digest."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from typing import Final

from starlette.responses import HTMLResponse, Response

_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;text-align:center;"
    "font:16px/1.6 system-ui,'PingFang SC','Microsoft YaHei',sans-serif}"
    "main{padding:32px 24px;max-width:22em}h1{font-size:22px;margin:.4em 0}p{margin:.3em 0;opacity:.75}"
    ".mark{font-size:56px;line-height:1}.ok .mark{color:#07c160}.no .mark{color:#e6a23c}"
)
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Words:
    """One page: its status, and a title and a sentence in both languages."""

    status: int
    zh: str
    en: str
    zh_more: str = ""
    en_more: str = ""


LINKED: Final = Words(200, "绑定成功", "Linked", "可以关闭此页面了。", "You can close this page now.")
GONE: Final = Words(
    410,
    "链接已失效",
    "This link no longer works",
    "它已被使用或已过期，请重新获取。",
    "It has been used or has expired. Please ask for a new one.",
)
INCOMPLETE: Final = Words(
    400,
    "链接不完整",
    "This link is not complete",
    "请从收到的原始链接重新打开。",
    "Please open the link that you were given.",
)
SNAPSHOT: Final = Words(
    403,
    "尚未授权",
    "Not confirmed",
    "当前是微信的快照页，请点击“使用完整服务”，再重新获取链接。",
    "WeChat showed a preview only. Choose full service, then ask for a new link.",
)
REFUSED: Final = Words(
    400,
    "微信未确认您的身份",
    "WeChat did not confirm who you are",
    "请重新获取链接后再试。",
    "Please ask for a new link and try again.",
)
AWAY: Final = Words(
    503,
    "暂时无法完成绑定",
    "Linking is not possible right now",
    "请稍后重新获取链接再试。",
    "Please ask for a new link in a moment.",
)
UNKNOWN: Final = Words(404, "页面不存在", "There is nothing here")


def page(words: Words) -> Response:
    """As HTML."""
    kind, mark = ("ok", "✓") if words.status < 400 else ("no", "!")
    more = "".join(f"<p>{escape(text)}</p>" for text in (words.zh_more, words.en_more) if text)
    return HTMLResponse(
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(words.zh)} / {escape(words.en)}</title><style>{_STYLE}</style></head>"
        f'<body class="{kind}"><main><div class="mark" aria-hidden="true">{mark}</div>'
        f"<h1>{escape(words.zh)}<br>{escape(words.en)}</h1>{more}</main></body></html>",
        status_code=words.status,
        headers=_HEADERS,
    )
