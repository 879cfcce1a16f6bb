"""Calls an account's URL: the GET check, and pushes with 5 seconds, three tries, signatures and AES."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from hub.sandbox import crypto, events, http_client
from hub.sandbox.chance import Chance
from hub.sandbox.chaos import EventPlan
from hub.sandbox.clock import Clock
from hub.sandbox.events import Fields
from hub.sandbox.ledger import Ledger
from hub.sandbox.state import Account, Callback, CallbackFormat, CallbackMode, Settings

_KEPT: Final = 500
_AT_ONCE: Final = 32
_OK: Final = 200


@dataclass(slots=True)
class Push:
    """One push and what became of it."""

    number: int
    appid: str
    openid: str
    event: str
    body: str
    tries: list[dict[str, Any]] = field(default_factory=list)
    outcome: str = "waiting"


class Callbacks:
    """Sends pushes in the background; `close` waits for none of them."""

    def __init__(self, *, clock: Clock, chance: Chance, ledger: Ledger, settings: Settings) -> None:
        self.clock, self.chance, self.ledger, self.settings = clock, chance, ledger, settings
        self.pushes: deque[Push] = deque(maxlen=_KEPT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._number = 0

    async def push(self, account: Account, openid: str, fields: Fields, plan: EventPlan) -> None:
        """Starts a push as planned; an early one is over when this returns."""
        callback = account.callback
        if callback is None:
            self.ledger.callbacks["no_url"] += 1
            return
        if plan.dropped:
            self.ledger.callbacks["dropped"] += 1
            return
        body = events.body_of(account, fields, openid=openid, at=int(self.clock.now()))
        for _ in range(plan.copies):
            self._number += 1
            push = Push(
                self._number, account.appid, openid, str(fields.get("Event", fields["MsgType"])), body
            )
            self.pushes.append(push)
            task = asyncio.create_task(self._send(account, callback, push, plan.delay_ms))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            if plan.early:
                await asyncio.shield(task)

    async def close(self) -> None:
        """Gives up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def settled(self) -> None:
        """Waits until no push is under way."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _send(self, account: Account, callback: Callback, push: Push, delay_ms: int) -> None:
        await asyncio.sleep((delay_ms + self.settings.event_delay_ms) / 1000)
        stamp = self._stamp()
        for number in range(self.settings.callback_tries):
            if number:
                await asyncio.sleep(self.settings.callback_pause_ms / 1000)
                stamp = self._stamp() if self.settings.resign_retries else stamp
            async with self._room:
                answered = await self._try(account, callback, push, stamp)
            if answered:
                push.outcome = "answered"
                self.ledger.callbacks["answered"] += 1
                return
        push.outcome = "given up"
        self.ledger.callbacks["given_up"] += 1

    async def _try(self, account: Account, callback: Callback, push: Push, stamp: tuple[str, str]) -> bool:
        url, body = signed(account, callback, push.body, openid=push.openid, stamp=stamp)
        as_json = callback.format is CallbackFormat.JSON
        self.ledger.callbacks["tries"] += 1
        record: dict[str, Any] = {"at": self.clock.now(), "url": url}
        push.tries.append(record)
        try:
            answer = await http_client.request(
                "POST",
                url,
                body=body.encode(),
                content_type="application/json" if as_json else "text/xml",
                timeout_s=self.settings.callback_timeout_ms / 1000,
            )
        except http_client.Unreachable as error:
            record["error"] = str(error)
            return False
        record |= {"status": answer.status, "body": answer.body[:1000].decode(errors="replace")}
        return answer.status == _OK

    async def check(self, callback: Callback) -> str | None:
        """The URL check with echostr; the reason why it failed, or None."""
        timestamp, nonce = self._stamp()
        echo = self.chance.echo()
        url = _with_query(
            callback.url,
            signature=crypto.signature(callback.token, timestamp, nonce),
            timestamp=timestamp,
            nonce=nonce,
            echostr=echo,
        )
        try:
            timeout_s = self.settings.callback_timeout_ms / 1000
            answer = await http_client.request("GET", url, timeout_s=timeout_s)
        except http_client.Unreachable as error:
            return f"the URL does not answer: {error}"
        if answer.status != _OK:
            return f"the URL answers HTTP {answer.status}"
        got = answer.body.decode(errors="replace")
        return None if got == echo else f"the URL must answer echostr itself ({echo}), not {got[:200]!r}"

    def _stamp(self) -> tuple[str, str]:
        return str(int(self.clock.now())), self.chance.digits(10)


def signed(
    account: Account, callback: Callback, body: str, *, openid: str, stamp: tuple[str, str]
) -> tuple[str, str]:
    """The URL with its signatures and the body as the mode wants it."""
    timestamp, nonce = stamp
    plain = crypto.signature(callback.token, timestamp, nonce)
    query = {"signature": plain, "timestamp": timestamp, "nonce": nonce, "openid": openid}
    if callback.mode is CallbackMode.PLAIN:
        return _with_query(callback.url, **query), body
    cipher = crypto.encrypt(body, encoding_aes_key=callback.encoding_aes_key, appid=account.appid)
    query |= {
        "encrypt_type": "aes",
        "msg_signature": crypto.signature(callback.token, timestamp, nonce, cipher),
    }
    as_json = callback.format is CallbackFormat.JSON
    if callback.mode is CallbackMode.AES:
        return _with_query(callback.url, **query), events.envelope(account, cipher, as_json=as_json)
    return _with_query(callback.url, **query), events.with_cipher(body, cipher, as_json=as_json)


def _with_query(url: str, **query: str) -> str:
    parts = urlsplit(url)
    whole = "&".join(part for part in (parts.query, urlencode(query)) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", whole, ""))
