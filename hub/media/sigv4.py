"""AWS Signature Version 4, for headers and for URLs, with the standard library. Times are arguments."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
EMPTY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose signature, for which region and service."""

    key: str
    secret: str
    region: str
    service: str = "s3"

    def headers(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str],
        payload: str,
        now: datetime,
    ) -> dict[str, str]:
        """`headers` (host among them) with the signature; `payload` is the SHA-256 of the body in hex or UNSIGNED.
        `path` is not encoded yet."""
        stamp = _stamp(now)
        all_of_them = {**headers, "x-amz-date": stamp}
        if self.service == "s3":
            all_of_them["x-amz-content-sha256"] = payload
        names, canonical = _canonical(method, path, query, all_of_them, payload)
        signature = self._sign(stamp, canonical)
        scope = f"{self.key}/{self._scope(stamp)}"
        all_of_them["authorization"] = (
            f"{_ALGORITHM} Credential={scope}, SignedHeaders={names}, Signature={signature}"
        )
        return all_of_them

    def query(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str],
        ttl: timedelta,
        now: datetime,
    ) -> str:
        """The query of a URL that works for `ttl` (at most seven days) without other credentials, by whoever sends
        these headers."""
        stamp = _stamp(now)
        names = ";".join(sorted(name.lower() for name in headers))
        signed = [
            *query,
            ("X-Amz-Algorithm", _ALGORITHM),
            ("X-Amz-Credential", f"{self.key}/{self._scope(stamp)}"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(int(ttl.total_seconds()))),
            ("X-Amz-SignedHeaders", names),
        ]
        _, canonical = _canonical(method, path, signed, headers, UNSIGNED)
        return f"{_encoded(signed)}&X-Amz-Signature={self._sign(stamp, canonical)}"

    def _scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"

    def _sign(self, stamp: str, canonical: str) -> str:
        text = "\n".join(
            (_ALGORITHM, stamp, self._scope(stamp), hashlib.sha256(canonical.encode()).hexdigest())
        )
        key = f"AWS4{self.secret}".encode()
        for word in (stamp[:8], self.region, self.service, "aws4_request"):
            key = hmac.digest(key, word.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()


def uri_path(path: str) -> str:
    """A path as it stands in a URL and in a signature."""
    return quote(path, safe="/-_.~")


def _canonical(
    method: str, path: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str], payload: str
) -> tuple[str, str]:
    """The names of the signed headers, and the canonical request."""
    folded = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    names = ";".join(sorted(folded))
    lines = "".join(f"{name}:{folded[name]}\n" for name in sorted(folded))
    return names, "\n".join((method, uri_path(path), _encoded(query), lines, names, payload))


def _encoded(query: Sequence[tuple[str, str]]) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query)
    return "&".join(f"{name}={value}" for name, value in pairs)


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
