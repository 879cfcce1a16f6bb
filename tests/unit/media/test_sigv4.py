"""Signatures against the vectors that AWS publishes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hub.media.sigv4 import EMPTY, Signer

SUITE = Signer("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "service")
SUITE_TIME = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
S3 = Signer("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
S3_TIME = datetime(2013, 5, 24, tzinfo=UTC)
S3_HOST = {"host": "examplebucket.s3.amazonaws.com"}


@pytest.mark.parametrize(
    ("method", "query", "signature"),
    [
        ("GET", [], "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", [], "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            [("Param2", "value2"), ("Param1", "value1")],
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ],
)
def test_the_suite_of_signature_version_4(method: str, query: list[tuple[str, str]], signature: str) -> None:
    given = {"host": "example.amazonaws.com"}
    headers = SUITE.headers(method, "/", query=query, headers=given, payload=EMPTY, now=SUITE_TIME)
    assert headers["authorization"].endswith(f"Signature={signature}")


def test_a_get_with_a_range_as_s3_documents_it() -> None:
    given = {**S3_HOST, "range": "bytes=0-9"}
    headers = S3.headers("GET", "/test.txt", headers=given, payload=EMPTY, now=S3_TIME)
    assert headers["authorization"].endswith(
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_a_put_as_s3_documents_it() -> None:
    given = {
        **S3_HOST,
        "date": "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    payload = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
    headers = S3.headers("PUT", "/test$file.text", headers=given, payload=payload, now=S3_TIME)
    signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    assert headers["authorization"].endswith(f"Signature={signature}")


def test_a_signed_url_as_s3_documents_it() -> None:
    query = S3.query("GET", "/test.txt", headers=S3_HOST, ttl=timedelta(days=1), now=S3_TIME)
    assert query.endswith("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")
    assert "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" in query
