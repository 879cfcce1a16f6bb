"""access_token: /cgi-bin/token, /cgi-bin/stable_token, and what a token is worth at a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from hub.sandbox.errors import ApiError
from hub.sandbox.pipeline import Call
from hub.sandbox.state import Account, Token
from hub.sandbox.world import World

LEGACY: Final = "legacy"
STABLE: Final = "stable"
_OVERLAP_S: Final = 300
_FORCE_PAUSE_S: Final = 30
_FORCE_A_DAY: Final = 20
_DAY_S: Final = 86400
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{20,512}")


def account_of_token(world: World, token: str) -> Account:
    """The account whose valid token it is. 41001, 40014, 40001 or 42001 otherwise."""
    if not token:
        raise ApiError(41001)
    if not _SHAPE.fullmatch(token):
        raise ApiError(40014)
    found = world.state.tokens.get(token)
    if found is None or found.appid not in world.state.accounts:
        raise ApiError(40001)
    now = world.clock.now()
    if found.revoked_at is not None and found.revoked_at <= now:
        raise ApiError(40001)
    if found.expires_at <= now:
        raise ApiError(42001)
    return world.state.accounts[found.appid]


def revoke_all(world: World, appid: str) -> None:
    """All tokens of the account die at once."""
    now = world.clock.now()
    for token in world.state.tokens.values():
        if token.appid == appid and (token.revoked_at is None or token.revoked_at > now):
            token.revoked_at = now
    world.ledger.tokens["revoked_by_chaos"] += 1


async def legacy(call: Call) -> dict[str, Any]:
    """GET /cgi-bin/token: always a new one; the previous one lives for five more minutes."""
    world = call.world
    account = _authenticated(call, call.query)
    _limited(call, account, per_day=2000, per_minute=None)
    now, overlap = world.clock.now(), world.state.settings.legacy_overlap
    for token in world.state.tokens.values():
        if token.appid == account.appid and token.kind == LEGACY:
            dies = now + overlap
            token.revoked_at = dies if token.revoked_at is None else min(token.revoked_at, dies)
    token = _issue(world, account, LEGACY)
    return {"access_token": token.token, "expires_in": world.state.settings.token_ttl}


async def stable(call: Call) -> dict[str, Any]:
    """POST /cgi-bin/stable_token: the same one until five minutes before its end; force kills it."""
    world = call.world
    account = _authenticated(call, call.body)
    _limited(call, account, per_day=500_000, per_minute=10_000)
    forced = call.body.get("force_refresh", False)
    if not isinstance(forced, bool):
        raise ApiError(40035)
    now = world.clock.now()
    current = _current(world, account)
    if forced and _may_force(world, account):
        if current is not None:
            _kill_stable(world, account)
        world.state.forced[account.appid].append(now)
        world.ledger.tokens["forced"] += 1
        current = _issue(world, account, STABLE)
    elif current is None or current.expires_at - now < _OVERLAP_S:
        current = _issue(world, account, STABLE)
    return {"access_token": current.token, "expires_in": int(current.expires_at - now)}


def _current(world: World, account: Account) -> Token | None:
    """The stable token that was issued last, if it still works."""
    now = world.clock.now()
    alive = [
        token
        for token in world.state.tokens.values()
        if token.appid == account.appid
        and token.kind == STABLE
        and token.expires_at > now
        and (token.revoked_at is None or token.revoked_at > now)
    ]
    return max(alive, key=lambda token: token.expires_at, default=None)


def _kill_stable(world: World, account: Account) -> None:
    now = world.clock.now()
    for token in world.state.tokens.values():
        if token.appid == account.appid and token.kind == STABLE:
            token.revoked_at = now if token.revoked_at is None else min(token.revoked_at, now)


def _may_force(world: World, account: Account) -> bool:
    """False less than 30 s after the last one: nothing is refreshed. 45009 after 20 in a day."""
    now = world.clock.now()
    forced = world.state.forced.setdefault(account.appid, [])
    forced[:] = [at for at in forced if at > now - _DAY_S]
    if forced and now - forced[-1] < _FORCE_PAUSE_S:
        world.ledger.tokens["forced_too_soon"] += 1
        return False
    if len(forced) >= _FORCE_A_DAY:
        raise ApiError(45009)
    return True


def _issue(world: World, account: Account, kind: str) -> Token:
    now = world.clock.now()
    for old in [token for token in world.state.tokens.values() if token.expires_at < now - _DAY_S]:
        del world.state.tokens[old.token]
    token = Token(
        token=world.chance.access_token(),
        appid=account.appid,
        kind=kind,
        issued_at=now,
        expires_at=now + world.state.settings.token_ttl,
    )
    world.state.tokens[token.token] = token
    world.ledger.tokens[f"issued_{kind}"] += 1
    world.dirty = True
    return token


def _authenticated(call: Call, given: Mapping[str, Any]) -> Account:
    """The account, if grant type, appid, secret, address and the account's own state allow a token."""
    if given.get("grant_type") != "client_credential":
        raise ApiError(40002)
    account = account_by_secret(call.world, given)
    if account.token_fault:
        raise ApiError(account.token_fault)
    if account.ip_whitelist and call.client_ip not in account.ip_whitelist:
        place = f"{call.client_ip} ipv6 ::ffff:{call.client_ip}"
        raise ApiError(40164, f"invalid ip {place}, not in whitelist")
    return account


def account_by_secret(world: World, given: Mapping[str, Any]) -> Account:
    """The account of appid and secret: 41002, 41004, 40013, 40125 where they are missing or wrong."""
    appid, secret = given.get("appid"), given.get("secret")
    if not appid:
        raise ApiError(41002)
    if not secret:
        raise ApiError(41004)
    account = world.state.accounts.get(str(appid))
    if account is None:
        raise ApiError(40013)
    if account.secret != secret:
        raise ApiError(40125)
    return account


def _limited(call: Call, account: Account, *, per_day: int, per_minute: int | None) -> None:
    world = call.world
    per_day = account.daily_limits.get(call.path, per_day)
    if world.count(account.appid, call.path, world.clock.day()) > per_day:
        raise ApiError(45009)
    per_minute = account.minute_limits.get(call.path, per_minute or 0)
    if per_minute and world.count(account.appid, call.path, world.clock.minute()) > per_minute:
        raise ApiError(45011)
