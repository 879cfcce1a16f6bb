"""access_token: the two ways to get one, and what becomes of it."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from hub.sandbox.demo import OFFICIAL_APPID, OFFICIAL_KEY
from tests.sandbox.rig import Lab

GOOD = {"grant_type": "client_credential", "appid": OFFICIAL_APPID, "secret": OFFICIAL_KEY}
RID = re.compile(r" rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$")


def legacy(lab: Lab, **more: str) -> dict[str, Any]:
    """GET /cgi-bin/token."""
    return cast("dict[str, Any]", lab.http.get("/cgi-bin/token", params=GOOD | more).json())


def stable(lab: Lab, **more: Any) -> dict[str, Any]:
    """POST /cgi-bin/stable_token."""
    return cast("dict[str, Any]", lab.http.post("/cgi-bin/stable_token", json=GOOD | more).json())


def errcode(lab: Lab, token: str) -> int:
    """What a call with the token answers; 0 without an errcode."""
    answer = lab.http.get("/cgi-bin/template/get_industry", params={"access_token": token}).json()
    return cast("int", answer.get("errcode", 0))


def test_a_success_has_no_errcode_and_an_error_has_a_rid_and_status_200(lab: Lab) -> None:
    assert set(legacy(lab)) == {"access_token", "expires_in"}
    response = lab.http.get("/cgi-bin/token", params=GOOD | {"secret": "wrong"})
    assert response.status_code == 200
    assert response.json()["errcode"] == 40125
    assert RID.search(response.json()["errmsg"])


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"grant_type": "x"}, 40002),
        ({"appid": "wx0"}, 40013),
        ({"appid": ""}, 41002),
        ({"secret": ""}, 41004),
        ({"secret": "x"}, 40125),
    ],
)
def test_wrong_credentials(lab: Lab, wrong: dict[str, str], code: int) -> None:
    assert legacy(lab, **wrong)["errcode"] == code
    assert stable(lab, **wrong)["errcode"] == code


def test_a_wrong_method(lab: Lab) -> None:
    assert lab.http.get("/cgi-bin/stable_token", params=GOOD).json()["errcode"] == 43002
    assert lab.http.post("/cgi-bin/token", json=GOOD).json()["errcode"] == 43001


def test_legacy_issues_a_new_one_and_the_previous_works_for_five_minutes(lab: Lab) -> None:
    first, second = legacy(lab)["access_token"], legacy(lab)["access_token"]
    assert first != second
    lab.advance(299)
    assert (errcode(lab, first), errcode(lab, second)) == (0, 0)
    lab.advance(2)
    assert (errcode(lab, first), errcode(lab, second)) == (40001, 0)


def test_harsh_mode_has_no_overlap(lab: Lab) -> None:
    lab.settings(legacy_overlap=0)
    first, _ = legacy(lab)["access_token"], legacy(lab)
    assert errcode(lab, first) == 40001


def test_legacy_has_a_daily_quota(lab: Lab) -> None:
    lab.control("PATCH", f"/accounts/{OFFICIAL_APPID}", {"daily_limits": {"/cgi-bin/token": 2}})
    codes = [legacy(lab).get("errcode", 0) for _ in range(3)]
    assert codes == [0, 0, 45009]


def test_stable_answers_the_same_with_what_is_left(lab: Lab) -> None:
    first = stable(lab)
    assert first["expires_in"] in {7199, 7200}
    lab.advance(1000)
    second = stable(lab)
    assert second["access_token"] == first["access_token"]
    assert 6198 <= second["expires_in"] <= 6200


def test_stable_renews_in_the_last_five_minutes_and_both_work_until_the_end(lab: Lab) -> None:
    first = stable(lab)["access_token"]
    lab.advance(7200 - 299)
    fresh = stable(lab)
    assert fresh["access_token"] != first
    assert fresh["expires_in"] >= 7199
    assert (errcode(lab, first), errcode(lab, fresh["access_token"])) == (0, 0)
    lab.advance(300)
    assert (errcode(lab, first), errcode(lab, fresh["access_token"])) == (42001, 0)
    assert stable(lab)["access_token"] == fresh["access_token"]


@pytest.mark.parametrize("age", [0, 100, 3600, 6899, 6901, 7100, 7300])
def test_stable_never_says_less_than_300_seconds(lab: Lab, age: int) -> None:
    stable(lab)
    lab.advance(age)
    assert stable(lab)["expires_in"] >= 300


def test_force_kills_the_one_before(lab: Lab) -> None:
    first = stable(lab)["access_token"]
    second = stable(lab, force_refresh=True)["access_token"]
    assert first != second
    assert (errcode(lab, first), errcode(lab, second)) == (40001, 0)


def test_force_twice_in_30_seconds_refreshes_once(lab: Lab) -> None:
    first = stable(lab, force_refresh=True)["access_token"]
    lab.advance(29)
    assert stable(lab, force_refresh=True)["access_token"] == first
    lab.advance(2)
    assert stable(lab, force_refresh=True)["access_token"] != first


def test_force_20_times_a_day(lab: Lab) -> None:
    codes = []
    for _ in range(21):
        codes.append(stable(lab, force_refresh=True).get("errcode", 0))
        lab.advance(31)
    assert codes == [0] * 20 + [45009]
    assert "errcode" not in stable(lab)
    lab.advance(86400)
    assert "errcode" not in stable(lab, force_refresh=True)


def test_the_two_kinds_know_nothing_of_each_other(lab: Lab) -> None:
    lab.settings(legacy_overlap=0)
    stable_one, legacy_one = stable(lab)["access_token"], legacy(lab)["access_token"]
    assert stable_one != legacy_one
    stable(lab, force_refresh=True)
    assert errcode(lab, legacy_one) == 0
    kept = stable(lab)["access_token"]
    legacy(lab)
    assert errcode(lab, kept) == 0
    assert errcode(lab, legacy_one) == 40001


def test_stable_has_a_minute_quota(lab: Lab) -> None:
    limits = {"minute_limits": {"/cgi-bin/stable_token": 3}}
    lab.control("PATCH", f"/accounts/{OFFICIAL_APPID}", limits)
    lab.control("POST", "/clock", {"freeze": True})
    assert [stable(lab).get("errcode", 0) for _ in range(4)] == [0, 0, 0, 45011]
    lab.advance(60)
    assert "errcode" not in stable(lab)


def test_an_address_outside_the_whitelist(lab: Lab) -> None:
    lab.control("PATCH", f"/accounts/{OFFICIAL_APPID}", {"ip_whitelist": ["10.0.0.1"]})
    answer = stable(lab)
    assert answer["errcode"] == 40164
    words = "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist rid: "
    assert answer["errmsg"].startswith(words)
    assert legacy(lab)["errcode"] == 40164


@pytest.mark.parametrize("code", [40243, 50004, 50007, 89503, 89506, 89507])
def test_an_account_that_gets_no_tokens(lab: Lab, code: int) -> None:
    lab.control("PATCH", f"/accounts/{OFFICIAL_APPID}", {"token_fault": code})
    assert (legacy(lab)["errcode"], stable(lab)["errcode"]) == (code, code)


def test_what_a_call_says_of_its_token(lab: Lab) -> None:
    assert errcode(lab, "") == 41001
    assert errcode(lab, "???") == 40014
    assert errcode(lab, "A" * 130) == 40001
    token = legacy(lab)["access_token"]
    lab.advance(7201)
    assert errcode(lab, token) == 42001


def test_tokens_can_be_killed(lab: Lab) -> None:
    token = stable(lab)["access_token"]
    lab.control("POST", f"/accounts/{OFFICIAL_APPID}/kill_tokens")
    assert errcode(lab, token) == 40001
    assert errcode(lab, stable(lab)["access_token"]) == 0
