"""What a session refuses of a body before anything is done with it."""

from __future__ import annotations

import pytest

from tests.unit.ws.test_session import error_of, live, send


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text", '{"text":7}'),
        ("image", '{"name":"a.png"}'),
        ("file", '{"media":"med_1"}'),
        ("location", '{"lat":91,"lng":0}'),
        ("card", '"u"'),
    ],
)
def test_a_well_known_kind_says_what_it_should(kind: str, body: str) -> None:
    wrong = error_of(live().receive(send(body).replace(b'"text"', f'"{kind}"'.encode(), 1), now=0.0))
    assert (wrong["code"], wrong["id"]) == ("body_invalid", 1)


def test_the_bounds_of_a_body_hold_for_an_edit() -> None:
    session = live()
    long = '"' + "x" * 1_000 + '"'
    edit = f'{{"type":"edit","id":7,"message":"m","body":{long}}}'.encode()
    assert error_of(session.receive(edit, now=0.0))["code"] == "too_large"
