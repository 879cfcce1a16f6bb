"""The local WeChat of a one-machine hub: its process, and the two introduced to each other over HTTP.

Both are told anew at every start: the port may be another one, and a fresh secret costs nothing.
"""

from __future__ import annotations

import http.client
import json
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

_TIMEOUT: Final = 10.0
_CHANNELS: Final = {"official": "wechat_mp", "miniprogram": "miniprogram"}
_OK: Final = range(200, 300)
_TOKEN_BYTES: Final = 12
_AES_KEY_LENGTH: Final = 43
_LETTERS: Final = string.ascii_letters + string.digits


class NotIntroduced(Exception):
    """One of the two does not answer as it should."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Where the two are, and the hub's key."""

    hub: str
    key: str
    sandbox: str


def environment(address: str, *, allowed: Sequence[str] = ()) -> dict[str, str]:
    """What the hub's processes must know to take the sandbox for WeChat, on this machine only. `allowed` is where
    webhooks may go already."""
    return {
        "HUB_WECHAT_API": address,
        "HUB_WECHAT_OPEN": address,
        # The examples' business systems listen on this machine; anywhere else the guard stays as it is.
        "HUB_WEBHOOK_ALLOW": ",".join([*allowed, "127.0.0.0/8", "::1/128"]),
    }


def introduce(pair: Pair) -> int:
    """Makes the sandbox's accounts known to the hub, and the hub's callback URL to the sandbox. Returns how many.
    Raises NotIntroduced."""
    world = _ask(pair.sandbox, "GET", "/sandbox/state")
    known = _accounts_of(pair)
    for account in world["accounts"]:
        _introduce_one(pair, account, known.get(account["appid"]))
    return len(world["accounts"])


def _accounts_of(pair: Pair) -> Mapping[str, str]:
    listed = _ask(pair.hub, "GET", "/v1/wechat/accounts?limit=50", key=pair.key)["data"]
    return {account["appid"]: account["id"] for account in listed}


def _introduce_one(pair: Pair, account: Mapping[str, Any], known: str | None) -> None:
    token = secrets.token_hex(_TOKEN_BYTES)
    aes_key = "".join(secrets.choice(_LETTERS) for _ in range(_AES_KEY_LENGTH))
    ours: dict[str, Any] = {
        "name": account["name"],
        "secret": account["secret"],
        "callback": {"token": token, "aes_key": aes_key},
    }
    if known is None:
        options = {"original_id": account["original_id"], "family": account["open_platform"]}
        new = {**ours, "channel": _CHANNELS[account["kind"]], "appid": account["appid"], "options": options}
        known = str(_ask(pair.hub, "POST", "/v1/wechat/accounts", new, key=pair.key)["id"])
    else:
        _ask(pair.hub, "PATCH", f"/v1/wechat/accounts/{known}", ours, key=pair.key)
    theirs = {
        "url": f"{pair.hub}/callbacks/wechat/{known}",
        "token": token,
        "mode": "aes",
        "encoding_aes_key": aes_key,
        # What another node still remembers of the old secret must not fail the introduction.
        "verify": False,
    }
    _ask(pair.sandbox, "PUT", f"/sandbox/accounts/{account['appid']}/callback", theirs)
    _ask(pair.hub, "POST", f"/v1/wechat/accounts/{known}/templates/sync", {}, key=pair.key)


def _ask(
    base: str, method: str, path: str, body: Mapping[str, Any] | None = None, *, key: str | None = None
) -> Any:
    """One request of this machine to itself: no proxy comes between."""
    where = urlsplit(base)
    connection = http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port, timeout=_TIMEOUT)
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    except OSError as error:
        message = f"{method} {path}: {error}"
        raise NotIntroduced(message) from None
    finally:
        connection.close()
    if answer.status not in _OK:
        message = f"{method} {path}: {answer.status} {text[:300]!r}"
        raise NotIntroduced(message)
    return json.loads(text) if text else {}
