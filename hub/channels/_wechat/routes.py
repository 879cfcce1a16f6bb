"""`/callbacks/wechat/{account}`: what WeChat calls, and where its OAuth page sends browsers.

    GET  /callbacks/wechat/{account}         the check of the URL, when it is entered in WeChat's console: its echostr
    POST /callbacks/wechat/{account}         an event or a message, plain or sealed, XML or JSON
    GET  /callbacks/wechat/{account}/oauth   a browser on its way back from an invitation

`account` is the hub's own id of an account. Anything but `success` makes WeChat send an event again, three times in all
at intervals of five seconds; so 503 is answered where the database is away, and `success` for what was seen before.

| answer | when |
| --- | --- |
| 404 | there is no such account, it is switched off, or it has no callback token |
| 403 | the signature is missing, wrong, too old or used for another body; or plain where sealing was agreed |
| 400 | it cannot be deciphered or read |
| 413 | it is larger than 64 KiB |
| 503 | the hub cannot write it down right now |

Not part of the API for business systems, and not in its schema.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from hub.channels._wechat import markup
from hub.channels._wechat.callback import (
    Callback,
    CallbackAccount,
    CallbackRefused,
    Refusal,
    check_url,
    open_callback,
)
from hub.channels._wechat.intake import Intake
from hub.channels._wechat.invitations import CALLBACKS
from hub.channels._wechat.memory import CallbackMemory, Sight
from hub.channels._wechat.oauth import OauthReturn
from hub.channels._wechat.pages import AWAY, UNKNOWN, page
from hub.core.accounts import Account, AccountBook, AccountId
from hub.core.errors import HubError, NotFound, Refused
from hub.core.ports import Clock

log = logging.getLogger("hub.wechat")

PATIENCE: Final = timedelta(seconds=4)
"""WeChat hangs up after five."""
_MOMENT: Final = 0.2
"""For what is cut off at the end of it."""
_CHANNELS: Final = frozenset({"wechat_mp", "miniprogram"})
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STATUSES: Final[Mapping[Refusal, int]] = {
    Refusal.OVERSIZE: 413,
    Refusal.UNSIGNED: 403,
    Refusal.STALE: 403,
    Refusal.NOT_SEALED: 403,
    Refusal.UNDECIPHERABLE: 400,
    Refusal.UNREADABLE: 400,
}


@dataclass(frozen=True, slots=True)
class CallbackCounts:
    """How many callbacks came to which end: `(event, result)`. Both are closed sets of words."""

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, event: str, result: str) -> None:
        """One more."""
        self.ends[event, result] += 1


class CallbackDoor:
    """Lets in what WeChat has signed."""

    def __init__(
        self,
        *,
        accounts: AccountBook,
        memory: CallbackMemory,
        intake: Intake,
        oauth: OauthReturn,
        clock: Clock,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._accounts = accounts
        self._memory = memory
        self._intake = intake
        self._oauth = oauth
        self._clock = clock
        self._patience = patience.total_seconds()
        self._under_way: set[asyncio.Task[Response]] = set()
        self.counts = CallbackCounts()

    async def check(self, account_id: str, request: Request) -> Response:
        """The check of the URL."""
        try:
            async with asyncio.timeout(self._patience):
                _, agreed = await self._agreed(account_id)
            echo = check_url(agreed, request.query_params, now=self._clock())
        except CallbackRefused as refused:
            return self._refuse(account_id, refused)
        except NotFound:
            return _text(404, "not found")
        except (HubError, TimeoutError) as error:
            return self._postpone(account_id, "url_check", error)
        self.counts.note("url_check", "done")
        return _text(200, echo)

    async def receive(self, account_id: str, request: Request) -> Response:
        """An event. Answered in time even where what has begun cannot be stopped at once: it ends by itself, and the
        next try finds it done or undone."""
        work = asyncio.create_task(self._receive(account_id, request), name="wechat-callback")
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        done, _ = await asyncio.wait({work}, timeout=self._patience + _MOMENT)
        return await work if done else _text(503, "come again")

    async def _receive(self, account_id: str, request: Request) -> Response:
        kind = "unread"
        try:
            async with asyncio.timeout(self._patience):
                account, agreed = await self._agreed(account_id)
                body = await _body(request)
                callback = open_callback(agreed, request.query_params, body, now=self._clock())
                kind = type(callback.event).__name__
                return await self._act(account, callback, kind)
        except CallbackRefused as refused:
            return self._refuse(account_id, refused)
        except NotFound:
            return _text(404, "not found")
        except ClientDisconnect:
            return _text(400, "disconnected")
        except HTTPException:
            raise  # what is around the routes has its own bounds
        except Refused as refused:
            self.counts.note(kind, "refused")
            log.warning("wechat_callback_refused", extra={"account": account_id, "why": refused.code})
            return _text(400, "refused")
        except (HubError, TimeoutError) as error:
            return self._postpone(account_id, kind, error)
        except Exception:
            self.counts.note(kind, "failed")
            log.exception("wechat_callback_failed", extra={"account": account_id, "event": kind})
            return _text(500, "failed")

    async def come_back(self, account_id: str, request: Request) -> Response:
        """A browser from WeChat's OAuth page."""
        try:
            account, _ = await self._agreed(account_id, callbacks=False)
        except NotFound:
            return page(UNKNOWN)
        except HubError:
            return page(AWAY)
        query = request.query_params
        return await self._oauth.answer(account, code=query.get("code", ""), state=query.get("state", ""))

    async def _act(self, account: Account, callback: Callback, kind: str) -> Response:
        sight = await self._memory.sight(callback)
        if sight is Sight.FORGED:
            self.counts.note(kind, "forged")
            log.warning("wechat_callback_forged", extra={"account": account.id})
            return _text(403, "forged")
        if sight is Sight.SEEN:
            self.counts.note(kind, "seen")
            return _text(200, "success")
        try:
            await self._intake.act(account, callback.event)
        except BaseException:  # the time being up among them: the next try must find it undone
            await asyncio.shield(self._memory.forget(callback))
            raise
        await self._memory.done(callback)
        self.counts.note(kind, "done")
        return _text(200, "success")

    async def _agreed(self, account_id: str, *, callbacks: bool = True) -> tuple[Account, CallbackAccount]:
        """The account and what is agreed with WeChat. Raises NotFound for one that nobody may call."""
        account = await self._accounts.account(AccountId(account_id)) if _ID.fullmatch(account_id) else None
        if account is None or not account.enabled or account.channel not in _CHANNELS:
            raise NotFound("account_not_found", "There is no such account.")
        secrets = await self._accounts.secrets(account.id)
        if callbacks and not secrets.callback_token:
            raise NotFound("account_not_found", "There is no such account.")
        agreed = CallbackAccount(account.external_id, secrets.callback_token, secrets.aes_keys)
        return account, agreed

    def _refuse(self, account_id: str, refused: CallbackRefused) -> Response:
        """Never with anything of the body, in the answer or in the log."""
        self.counts.note("unread", refused.refusal.value)
        log.warning(
            "wechat_callback_refused",
            extra={"account": account_id[:64], "why": refused.refusal.value, "detail": refused.detail},
        )
        answer = _text(_STATUSES[refused.refusal], refused.refusal.value)
        if refused.refusal is Refusal.OVERSIZE:
            answer.headers["Connection"] = "close"  # or the server would read the rest, to throw it away
        return answer

    def _postpone(self, account_id: str, kind: str, error: HubError | TimeoutError) -> Response:
        self.counts.note(kind, "postponed")
        code = error.code if isinstance(error, HubError) else "timed_out"
        log.warning(
            "wechat_callback_postponed", extra={"account": account_id[:64], "event": kind, "code": code}
        )
        answer = _text(503, "come again")
        answer.headers["Connection"] = "close"  # the body may not have come to its end
        return answer


def callback_router(door: Callable[[], CallbackDoor | None]) -> APIRouter:
    """The routes; `door` is asked at each call, and answers None while the hub is not open."""
    router = APIRouter(include_in_schema=False)

    @router.get(f"{CALLBACKS}/{{account}}")
    async def check(account: str, request: Request) -> Response:
        opened = door()
        return _text(503, "starting") if opened is None else await opened.check(account, request)

    @router.post(f"{CALLBACKS}/{{account}}")
    async def receive(account: str, request: Request) -> Response:
        opened = door()
        return _text(503, "starting") if opened is None else await opened.receive(account, request)

    @router.get(f"{CALLBACKS}/{{account}}/oauth")
    async def come_back(account: str, request: Request) -> Response:
        opened = door()
        return page(AWAY) if opened is None else await opened.come_back(account, request)

    return router


async def _body(request: Request) -> bytes:
    """Read no further than its bound, whatever its length is said to be."""
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > markup.MAX_BYTES:
        raise CallbackRefused(Refusal.OVERSIZE)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > markup.MAX_BYTES:
            raise CallbackRefused(Refusal.OVERSIZE)
    return bytes(body)


def _text(status: int, text: str) -> Response:
    return PlainTextResponse(text, status_code=status)
