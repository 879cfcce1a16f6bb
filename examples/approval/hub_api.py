"""The hub's REST API as a business system calls it, and the signature by which it knows the hub."""

from __future__ import annotations

import base64
import hmac
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine talks to itself


def say(english: str, chinese: str = "") -> None:
    """One step, in both languages."""
    print(f"{english} · {chinese}" if chinese else english, flush=True)


class Refused(Exception):
    """The hub said no; `problem` is its own explanation."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status
        try:
            self.problem: dict[str, Any] = json.loads(text)
        except ValueError:
            self.problem = {"detail": text}


class Hub:
    """One address with one key: the business system's, or (`as_user`) a person's token."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url, self.key = url.rstrip("/"), key

    @classmethod
    def found(cls, data: Path, url: str | None, key: str | None) -> Hub:
        """The hub of this data folder, unless told otherwise."""
        try:
            return cls(
                url or (data / "address").read_text().strip(), key or (data / "api_key").read_text().strip()
            )
        except OSError as error:
            raise SystemExit(f"No hub runs on {data}: start ./run first · 请先启动 ./run ({error})") from None

    def as_user(self, user: str) -> Hub:
        """What this user's app would be."""
        return Hub(self.url, self.call("POST", "/v1/tokens", {"user": user})["token"])

    def call(self, method: str, path: str, body: object = None) -> Any:
        """A JSON request. Raises Refused."""
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310
        try:
            with _DIRECT.open(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode()) from error


def signed(secret: str, headers: Any, body: bytes) -> bool:
    """Whether a request carries a Standard Webhooks signature of ours, made just now."""
    id_, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    fresh = at.isdigit() and abs(time.time() - int(at)) < 300
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.digest(key, f"{id_}.{at}.".encode() + body, "sha256")
    wanted, given = "v1," + base64.b64encode(mac).decode(), headers.get("webhook-signature", "").split()
    return fresh and any(hmac.compare_digest(one, wanted) for one in given)
