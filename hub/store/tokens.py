"""End users' tokens: minted with the app's own secret, or signed by the business system with a registered key.

What a token says of itself is believed only after its signature holds, under the alg that its key's row fixes.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from jwt.types import Options
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.errors import Refused
from hub.core.gathered import Gathered
from hub.core.identity import EndUser
from hub.core.message import AppId, UserKey
from hub.core.records import MintedToken, UserWrite, is_user_id
from hub.store.directory_base import SIGNING_KEY, USER, Basis
from hub.store.directory_cache import Standing, VerifyingKey
from hub.store.directory_users import find_numbers, insert_users
from hub.store.removed_names import removed_at

HUB_ALG = "HS256"
PUBLIC_ALGS = ("EdDSA", "ES256", "RS256")
AUDIENCE = "hub"
ISSUER = "hub"
MAX_LIFE = timedelta(hours=24)
DEFAULT_SCOPES = frozenset({"read", "write"})
_SKEW = 5.0
_MAX_TOKEN = 8_192
_MAX_KID = 40
# Within what a datetime holds.
_END_OF_TIME = 253_402_300_000
_MIN_RSA_BITS = 2_048
_REQUIRED = ["exp", "iat", "sub", "aud", "tenant"]


def public_key_pem(alg: str, text: str) -> str:
    """The public key in one spelling, checked against its alg. Raises Refused public_key_invalid."""
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refused("public_key_invalid", "The key is not a PEM public key (BEGIN PUBLIC KEY).") from error
    match alg, key:
        case "EdDSA", Ed25519PublicKey():
            pass
        case "ES256", EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            pass
        case "RS256", RSAPublicKey() if key.key_size >= _MIN_RSA_BITS:
            pass
        case _:
            raise Refused(
                "public_key_invalid",
                f"{alg} needs {_KEY_OF.get(alg, 'one of ' + ', '.join(PUBLIC_ALGS))}, and this is another key.",
            )
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


_KEY_OF: Mapping[str, str] = {
    "EdDSA": "an Ed25519 key",
    "ES256": "a P-256 key",
    "RS256": f"an RSA key of at least {_MIN_RSA_BITS} bits",
}


@dataclass(frozen=True, slots=True)
class _Claims:
    subject: str
    issued_at: float
    not_before: float
    expires_at: float
    scopes: frozenset[str]


class Tokens:
    """Mints and checks. What it remembers of keys and users is a few seconds old at most."""

    def __init__(self, basis: Basis) -> None:
        self._basis = basis
        # A restart brings everybody back at once: their standings are looked up together.
        self._standings = Gathered(self._load_standings)

    async def mint(self, app: AppId, user_id: str, *, ttl: timedelta, scopes: Collection[str]) -> MintedToken:
        """A token for a user, who is made if new. `ttl` is at most 24 hours."""
        key = await self._basis.caches.minting_keys.get(app, lambda: self._minting_key(app))
        await self._standing(app, user_id, vouched=True)
        now = self._basis.clock()
        expires_at = (now + min(ttl, MAX_LIFE)).replace(microsecond=0)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "tenant": app,
            "sub": user_id,
            # With microseconds: a token made right after a sign-out must not look older than it.
            "iat": now.timestamp(),
            "exp": int(expires_at.timestamp()),
            "jti": secrets.token_hex(12),
            "scope": " ".join(sorted(scopes)),
        }
        token = jwt.encode(claims, key.material, algorithm=HUB_ALG, headers={"kid": key.kid})
        return MintedToken(token, user_id, expires_at, frozenset(scopes))

    async def verify(self, token: str) -> EndUser:
        """The user of a token. Refused codes: token_invalid, token_expired, token_revoked."""
        key = await self._key_of(token)
        claims = _claims(token, key)
        now = self._basis.clock().timestamp()
        if claims.expires_at <= now:
            raise Refused("token_expired", "The token has expired. Ask for a new one.")
        if claims.not_before > now + _SKEW:
            raise _invalid("it is not valid yet")
        standing = await self._standing(key.app, claims.subject)
        revoked = standing.tokens_after
        if revoked is not None and claims.issued_at < revoked.timestamp():
            raise Refused("token_revoked", "The user was signed out after this token was issued.")
        return EndUser(
            app=key.app,
            key=standing.key,
            id=claims.subject,
            expires_at=datetime.fromtimestamp(claims.expires_at, UTC),
            scopes=claims.scopes,
            issued_at=datetime.fromtimestamp(claims.issued_at, UTC),
        )

    async def _key_of(self, token: str) -> VerifyingKey:
        try:
            if len(token) > _MAX_TOKEN:
                raise _invalid("it is too long")
            kid = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError) as error:
            raise _invalid("it is not a JWT") from error
        if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID or not kid.replace("_", "a").isalnum():
            raise _invalid("its header names no key")
        key = await self._basis.caches.signing_keys.get(kid, lambda: self._verifying_key(kid))
        if key is None:
            raise _invalid("its key is not known")
        return key

    async def _verifying_key(self, kid: str) -> VerifyingKey | None:
        query = select(SIGNING_KEY).where(SIGNING_KEY.c.kid == kid, SIGNING_KEY.c.revoked_at.is_(None))
        rows = await self._basis.database.rows(query)
        if not rows:
            return None
        row = rows[0]
        material: Any = (
            self._basis.secrets.open(row.key) if row.alg == HUB_ALG else load_pem_public_key(row.key.encode())
        )
        return VerifyingKey(row.kid, AppId(row.app_id), row.alg, material)

    async def _minting_key(self, app: AppId) -> VerifyingKey:
        """The newest secret of the app; the first use makes one. Two made at once are both good."""
        query = (
            select(SIGNING_KEY)
            .where(
                SIGNING_KEY.c.app_id == app,
                SIGNING_KEY.c.alg == HUB_ALG,
                SIGNING_KEY.c.revoked_at.is_(None),
            )
            .order_by(SIGNING_KEY.c.created_at.desc())
            .limit(1)
        )
        rows = await self._basis.database.rows(query)
        if rows:
            return VerifyingKey(rows[0].kid, app, HUB_ALG, self._basis.secrets.open(rows[0].key))
        secret = secrets.token_bytes(32)
        row = {
            "kid": self._basis.new_id("sgk"),
            "app_id": app,
            "alg": HUB_ALG,
            "key": self._basis.secrets.seal(secret),
            "created_at": self._basis.clock(),
        }

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(SIGNING_KEY).values(row))

        await self._basis.database.write(work)
        return VerifyingKey(str(row["kid"]), app, HUB_ALG, secret)

    async def _standing(self, app: AppId, user_id: str, *, vouched: bool = False) -> Standing:
        known = self._basis.caches.standings
        return await known.get((app, user_id), lambda: self._look_up(app, user_id, vouched=vouched))

    async def _load_standings(
        self, wanted: Sequence[tuple[AppId, str]]
    ) -> Mapping[tuple[AppId, str], Standing]:
        found: dict[tuple[AppId, str], Standing] = {}
        for app, user_ids in _apart(wanted).items():
            query = select(USER.c.user_id, USER.c.id, USER.c.tokens_after).where(
                USER.c.app_id == app, USER.c.user_id.in_(user_ids)
            )
            for row in await self._basis.database.rows(query):
                found[app, row.user_id] = Standing(UserKey(row.id), row.tokens_after)
        return found

    async def _look_up(self, app: AppId, user_id: str, *, vouched: bool) -> Standing:
        """A user who is not known yet is made; one who was removed only where the business system asks for it
        (`vouched`), and not by a token that may be older."""
        known = await self._standings.get((app, user_id))
        if known is not None:
            return known
        now = self._basis.clock()

        async def work(connection: AsyncConnection) -> tuple[dict[str, UserKey], datetime | None]:
            removed = (await removed_at(connection, app, [user_id])).get(user_id)
            if removed is not None and not vouched:
                detail = "The user was removed. The business system can make a new one of this name."
                raise Refused("token_revoked", detail)
            await insert_users(connection, app, [UserWrite(user_id)], now)
            return await find_numbers(connection, app, [user_id]), removed

        made, removed = await self._basis.database.write(work)
        self._basis.caches.numbers.learn(app, made)
        return Standing(made[user_id], removed)


def _apart(wanted: Sequence[tuple[AppId, str]]) -> Mapping[AppId, Sequence[str]]:
    apps: dict[AppId, list[str]] = {}
    for app, user_id in wanted:
        apps.setdefault(app, []).append(user_id)
    return apps


def _claims(token: str, key: VerifyingKey) -> _Claims:
    """The claims under a signature that holds. Times are checked by the caller's clock, not by the library's."""
    unchecked: Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": _REQUIRED}
    try:
        found: dict[str, Any] = jwt.decode(
            token, key.material, algorithms=[key.alg], audience=AUDIENCE, options=unchecked
        )
    except jwt.InvalidAudienceError as error:
        raise _invalid(f"its audience is not {AUDIENCE!r}") from error
    except jwt.MissingRequiredClaimError as error:
        raise _invalid(f"it has no claim {error.claim!r}") from error
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise _invalid("its signature or form is wrong") from error
    if found["tenant"] != key.app:
        raise _invalid("its tenant is not its key's")
    if key.alg == HUB_ALG and found.get("iss") != ISSUER:
        raise _invalid("its issuer is not the hub")
    subject = found["sub"]
    if not isinstance(subject, str) or not is_user_id(subject):
        raise _invalid("its subject is not a user id")
    issued, expires = _seconds(found, "iat"), _seconds(found, "exp")
    not_before = max(issued, _seconds(found, "nbf")) if "nbf" in found else issued
    if expires - issued > MAX_LIFE.total_seconds() + _SKEW:
        raise _invalid("it lives longer than 24 hours")
    return _Claims(subject, issued, not_before, expires, _scopes(found.get("scope")))


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _invalid(f"its {name!r} is not a time")
    if not 0 <= value < _END_OF_TIME:
        raise _invalid(f"its {name!r} is not a time")
    return float(value)


def _scopes(value: object) -> frozenset[str]:
    """A token without the claim may do what users do; one with it, only that."""
    if value is None:
        return DEFAULT_SCOPES
    if not isinstance(value, str):
        raise _invalid("its 'scope' is not a text")
    return frozenset(value.split())


def _invalid(why: str) -> Refused:
    return Refused("token_invalid", f"The token is not valid: {why}.")
