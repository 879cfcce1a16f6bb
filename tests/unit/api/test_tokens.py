"""Tokens: what is accepted, and every way of cheating that must not be."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.unit.api.harness import World

PLANS = ["plan2"]
"""Nothing here is about where messages are."""

PUBLIC = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _claims(world: World, **changes: Any) -> dict[str, Any]:
    now = int(world.clock().timestamp())
    claims = {"aud": "hub", "tenant": "shop", "sub": "王小明", "iat": now, "exp": now + 600}
    claims |= changes
    return {name: value for name, value in claims.items() if value is not None}


async def _register(world: World, alg: str, private: Any, key: str | None = None) -> str:
    pem = private.public_key().public_bytes(*PUBLIC).decode()
    made = await world.post("/v1/signing-keys", {"alg": alg, "public_key": pem}, key)
    return str(made["kid"])


async def _code(world: World, token: str) -> str:
    answer = await world.call("GET", "/v1/me", token)
    return "ok" if answer.status_code == 200 else str(answer.json()["code"])


@pytest.mark.parametrize(
    ("alg", "make"),
    [
        ("EdDSA", ed25519.Ed25519PrivateKey.generate),
        ("ES256", lambda: ec.generate_private_key(ec.SECP256R1())),
        ("RS256", lambda: rsa.generate_private_key(65537, 2048)),
    ],
)
async def test_a_business_system_may_sign_for_its_users(world: World, alg: str, make: Any) -> None:
    private = make()
    kid = await _register(world, alg, private)
    token = jwt.encode(_claims(world), private, algorithm=alg, headers={"kid": kid})
    me = await world.get("/v1/me", token)
    assert me["user_id"] == "王小明"


async def test_a_registered_key_must_fit_its_alg(world: World) -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key().public_bytes(*PUBLIC).decode()
    wrong_curve = ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(*PUBLIC).decode()
    ed = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(*PUBLIC).decode()
    for alg, pem in (("RS256", weak), ("ES256", wrong_curve), ("ES256", ed), ("EdDSA", "nonsense 🔑")):
        answer = await world.call("POST", "/v1/signing-keys", json={"alg": alg, "public_key": pem})
        assert (answer.status_code, answer.json()["code"]) == (422, "public_key_invalid")
    answer = await world.call("POST", "/v1/signing-keys", json={"alg": "HS256", "public_key": "secret"})
    assert answer.status_code == 422


async def test_claims_that_do_not_hold_are_refused(world: World) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    kid = await _register(world, "EdDSA", private)
    now = int(world.clock().timestamp())
    cheats: dict[str, dict[str, Any]] = {
        "expired": {"iat": now - 700, "exp": now - 1},
        "from the future": {"iat": now + 60},
        "not before": {"nbf": now + 60},
        "wrong audience": {"aud": "other"},
        "no audience": {"aud": None},
        "other tenant": {"tenant": "bank"},
        "no tenant": {"tenant": None},
        "no subject": {"sub": None},
        "subject not a text": {"sub": 7},
        "subject not an id": {"sub": "a/../b"},
        "nul in subject": {"sub": "a\x00"},
        "endless": {"exp": now + 60 * 60 * 25},
        "no end": {"exp": None},
        "end not a number": {"exp": "tomorrow"},
        "end beyond time": {"exp": 1e30},
        "no start": {"iat": None},
        "start not a number": {"iat": True},
        "infinite": {"exp": float("inf")},
        "scope not a text": {"scope": ["read"]},
    }
    for name, change in cheats.items():
        token = jwt.encode(_claims(world, **change), private, algorithm="EdDSA", headers={"kid": kid})
        expected = "token_expired" if name == "expired" else "token_invalid"
        assert await _code(world, token) == expected, name
    good = jwt.encode(_claims(world), private, algorithm="EdDSA", headers={"kid": kid})
    assert await _code(world, good) == "ok"


async def test_the_alg_is_the_keys_and_never_the_tokens(world: World) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    kid = await _register(world, "EdDSA", private)
    pem = private.public_key().public_bytes(*PUBLIC)
    claims = json.dumps(_claims(world)).encode()

    def part(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    import hashlib
    import hmac

    for alg in ("none", "None", "NONE", "HS256", "EdDSA"):
        head = part(json.dumps({"alg": alg, "typ": "JWT", "kid": kid}).encode())
        signed = f"{head}.{part(claims)}"
        mac = part(hmac.new(pem, signed.encode(), hashlib.sha256).digest())
        for signature in ("", mac, part(b"x" * 64)):
            assert await _code(world, f"{signed}.{signature}") == "token_invalid"


async def test_keys_that_are_not_there_or_not_theirs_open_nothing(world: World) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    theirs = await _register(world, "EdDSA", private, world.their_key)
    for kid in (theirs, "sgk_nothing", "", "../../etc/passwd", "' OR 1=1 --", "x" * 500, "a\x00b", None, 7):
        headers = {} if kid is None else {"kid": kid}
        head = (
            base64.urlsafe_b64encode(json.dumps({"alg": "EdDSA", **headers}).encode()).rstrip(b"=").decode()
        )
        body = base64.urlsafe_b64encode(json.dumps(_claims(world)).encode()).rstrip(b"=").decode()
        signature = base64.urlsafe_b64encode(private.sign(f"{head}.{body}".encode())).rstrip(b"=").decode()
        assert await _code(world, f"{head}.{body}.{signature}") == "token_invalid", kid
    for raw in (b"Bearer \xe9.\xe9.\xe9", b"Bearer hub_\xe9_\xe9", b"Bearer", b"Basic YTpi"):
        answer = await world.http.get("/v1/me", headers={b"Authorization": raw})
        assert answer.status_code == 401
    for nonsense in ("", ".", "..", "a.b", "eyJ9.eyJ9.x", "x" * 9_000):
        assert await _code(world, nonsense or " ") in {"token_invalid", "auth_required"}


async def test_a_revoked_signing_key_takes_its_tokens_with_it(world: World) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    kid = await _register(world, "EdDSA", private)
    token = jwt.encode(_claims(world), private, algorithm="EdDSA", headers={"kid": kid})
    assert await _code(world, token) == "ok"
    assert (await world.call("DELETE", f"/v1/signing-keys/{kid}")).status_code == 204
    assert await _code(world, token) == "token_invalid"
    # The hub's own secret can be rolled the same way.
    minted = await world.token("a")
    own = next(k for k in (await world.get("/v1/signing-keys"))["data"] if k["alg"] == "HS256")
    assert own["public_key"] is None
    assert (await world.call("DELETE", f"/v1/signing-keys/{own['kid']}")).status_code == 204
    assert await _code(world, minted) == "token_invalid"
    assert await _code(world, await world.token("a")) == "ok"


async def test_signing_out_ends_earlier_tokens_and_not_later_ones(world: World) -> None:
    first = await world.token("王小明")
    assert await _code(world, first) == "ok"
    await world.post("/v1/users/%E7%8E%8B%E5%B0%8F%E6%98%8E/sign-out", None)
    assert await _code(world, first) == "token_revoked"
    assert await _code(world, await world.token("王小明")) == "ok"


async def test_a_token_ends_when_it_says(world: World) -> None:
    token = await world.token("a", ttl="PT2M")
    assert await _code(world, token) == "ok"
    world.clock.shift = timedelta(minutes=2)
    assert await _code(world, token) == "token_expired"
    for ttl in ("PT25H", "P2D", "PT0S", "soon", "", 60):
        answer = await world.call("POST", "/v1/tokens", json={"user": "a", "ttl": ttl})
        assert answer.status_code == 422, ttl
        assert answer.json()["errors"][0]["pointer"] == "/ttl"


async def test_a_minted_token_makes_its_user_and_a_repeat_gives_the_same(world: World) -> None:
    headers = {"Idempotency-Key": "t1"}
    body = {"user": "新人 🌱", "scopes": ["read"]}
    one = await world.call("POST", "/v1/tokens", json=body, headers=headers)
    two = await world.call("POST", "/v1/tokens", json=body, headers=headers)
    assert one.json() == two.json()
    assert two.headers["idempotent-replayed"] == "true"
    assert (await world.get("/v1/users/新人 🌱"))["user_id"] == "新人 🌱"


async def test_nothing_secret_is_in_the_database(world: World, tmp_path: Any) -> None:
    headers = {"Idempotency-Key": "k1"}
    issued = await world.post("/v1/keys", {"scopes": ["users:read"]}, headers=headers)
    token = await world.post("/v1/tokens", {"user": "a"}, headers={"Idempotency-Key": "t1"})
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for secret in (issued["secret"], world.key, token["token"]):
        assert secret.encode() not in raw
        assert secret.rpartition("_")[2].encode() not in raw
