"""Signatures are the standard's, and what was not signed, or not now, is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.webhooks import new_webhook_secret
from hub.webhooks.signing import BadSignature, headers_of, key_of, signature, verify

# The example of the reference libraries (standardwebhooks, svix).
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
EXPECTED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = new_webhook_secret()


def test_the_reference_example_is_signed_as_by_the_reference() -> None:
    assert signature(SECRET, ID, 1614265330, BODY) == EXPECTED
    assert signature(SECRET.removeprefix("whsec_"), ID, 1614265330, BODY) == EXPECTED
    assert headers_of([SECRET], ID, AT, BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": EXPECTED,
    }


def test_during_a_rotation_both_secrets_fit() -> None:
    headers = headers_of([OTHER, SECRET], ID, AT, BODY)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secrets in ([SECRET], [OTHER], [new_webhook_secret(), SECRET]):
        assert verify(secrets, headers, BODY, now=AT) == ID
    with pytest.raises(BadSignature):
        verify([new_webhook_secret()], headers, BODY, now=AT)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", ["", "x", "１６１４２６５３３０", None])
def test_what_is_missing_or_changed_is_refused(name: str, value: str | None) -> None:
    headers = headers_of([SECRET], ID, AT, BODY)
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    with pytest.raises(BadSignature):
        verify([SECRET], headers, BODY, now=AT)


def test_another_body_another_version_and_another_time_are_refused() -> None:
    headers = headers_of([SECRET], ID, AT, BODY)
    with pytest.raises(BadSignature):
        verify([SECRET], headers, BODY + b" ", now=AT)
    for early in (timedelta(minutes=-6), timedelta(minutes=6)):
        with pytest.raises(BadSignature, match="away"):
            verify([SECRET], headers, BODY, now=AT + early)
    assert verify([SECRET], headers, BODY, now=AT + timedelta(minutes=4)) == ID
    with pytest.raises(BadSignature):
        verify([SECRET], {**headers, "webhook-signature": EXPECTED.replace("v1", "v1a")}, BODY, now=AT)
    with pytest.raises(BadSignature):
        verify([], headers, BODY, now=AT)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!", "whsec_" + "QUFB" * 7, "whsec_" + "QUFB" * 22])
def test_a_secret_has_24_to_64_bytes(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        key_of(secret)


def test_new_secrets_are_long_enough_and_never_the_same() -> None:
    made = {new_webhook_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(key_of(secret)) for secret in made} == {32}


@given(st.text(min_size=1, max_size=40), st.binary(max_size=200), st.integers(1, 4_000_000_000))
def test_whatever_is_signed_is_verified(id_: str, body: bytes, seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert verify([OTHER], headers_of([SECRET, OTHER], id_, at, body), body, now=at) == id_
