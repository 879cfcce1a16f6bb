"""Troubles: each kind, and that a seed repeats them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID
from tests.sandbox.rig import MP_TODO, MP_TODO_DATA, TODO, TODO_DATA, Lab

SEND = "/cgi-bin/message/template/send"


def raw_send(lab: Lab, openid: str, *, timeout: float = 10, **more: Any) -> httpx2.Response:
    """A template message, whatever comes back."""
    body = {"touser": openid, "template_id": TODO, "data": TODO_DATA} | more
    params = {"access_token": lab.token(OFFICIAL_APPID)}
    return lab.http.post(SEND, params=params, json=body, timeout=timeout)


def accepted(lab: Lab) -> int:
    """How many messages reached a phone."""
    return int(lab.ledger()["messages"]["accepted"])


def test_a_delay_after_accepting_is_ambiguous_and_the_id_saves_it(lab: Lab) -> None:
    openid = lab.follow()
    lab.token(OFFICIAL_APPID)
    lab.chaos({"effect": "delay", "path": SEND, "after": True, "ms": 600, "times": 1})
    with pytest.raises(httpx2.ReadTimeout):
        raw_send(lab, openid, timeout=0.2, client_msg_id="d1")
    assert accepted(lab) == 1
    assert raw_send(lab, openid, client_msg_id="d1").json()["errcode"] == 0
    assert accepted(lab) == 1
    assert lab.ledger()["doubles"] == []


def test_a_subscribe_message_after_a_time_out_has_used_its_grant(lab: Lab) -> None:
    openid = lab.accept(MP_TODO)
    path = "/cgi-bin/message/subscribe/send"
    lab.token(PROGRAM_APPID)
    lab.chaos({"effect": "reset", "path": path, "after": True, "times": 1})
    params = {"access_token": lab.token(PROGRAM_APPID)}
    body = {"touser": openid, "template_id": MP_TODO, "data": MP_TODO_DATA}
    with pytest.raises(httpx2.TransportError):
        lab.http.post(path, params=params, json=body)
    assert accepted(lab) == 1
    assert lab.subscribe_send(openid)["errcode"] == 43101


@pytest.mark.parametrize(("after", "count"), [(False, 0), (True, 1)])
def test_a_reset_before_or_after(lab: Lab, after: bool, count: int) -> None:
    openid = lab.follow()
    lab.token(OFFICIAL_APPID)
    lab.chaos({"effect": "reset", "path": SEND, "after": after})
    with pytest.raises(httpx2.ReadError, match="reset"):
        raw_send(lab, openid)
    assert accepted(lab) == count


@pytest.mark.parametrize(
    ("rule", "status", "start"),
    [
        ({"effect": "html"}, 200, "<html>"),
        ({"effect": "empty"}, 200, ""),
        ({"effect": "status"}, 502, "<html>"),
        ({"effect": "status", "status": 503}, 503, "<html>"),
    ],
)
def test_answers_that_are_no_answers(lab: Lab, rule: dict[str, Any], status: int, start: str) -> None:
    openid = lab.follow()
    lab.chaos(rule | {"path": SEND})
    response = raw_send(lab, openid)
    assert (response.status_code, response.text[: len(start)]) == (status, start)
    assert accepted(lab) == 0


@pytest.mark.parametrize("code", [-1, 40001, 45009, 45011, 40164, 50002])
def test_codes(lab: Lab, code: int) -> None:
    openid = lab.follow()
    lab.chaos({"effect": "errcode", "errcode": code, "path": SEND, "times": 2})
    assert [raw_send(lab, openid).json()["errcode"] for _ in range(3)] == [code, code, 0]
    assert " rid: " in str(lab.send("x")["errmsg"])


def test_tokens_die_every_third_call(lab: Lab) -> None:
    openid = lab.follow()
    lab.chaos({"effect": "kill_tokens", "path": SEND, "every": 3})
    codes = []
    for _ in range(6):
        codes.append(lab.send(openid)["errcode"])
        if codes[-1] == 40001:
            lab.tokens.clear()
    assert codes == [0, 0, 40001, 0, 0, 40001]


def test_a_storm_of_40001_hits_one_account_only(lab: Lab) -> None:
    lab.chaos({"effect": "errcode", "errcode": 40001, "appid": OFFICIAL_APPID, "path": "/cgi-bin/message/*"})
    assert lab.send(lab.follow())["errcode"] == 40001
    assert lab.subscribe_send(lab.accept(MP_TODO))["errcode"] == 0


def _outcomes(lab: Lab, seed: int) -> list[int]:
    lab.reset()
    openid = lab.follow()
    rules = [
        {"effect": "errcode", "errcode": -1, "path": SEND, "rate": 0.3},
        {"effect": "errcode", "errcode": 45011, "path": SEND, "rate": 0.2},
    ]
    lab.chaos(*rules, seed=seed, drop=0.5)
    return [lab.send(openid)["errcode"] for _ in range(40)]


def test_a_seed_repeats_itself(lab: Lab) -> None:
    first = _outcomes(lab, 7)
    assert first == _outcomes(lab, 7)
    assert first != _outcomes(lab, 8)
    assert {-1, 45011, 0} == set(first)


def test_one_rule_does_not_move_anothers_dice(lab: Lab) -> None:
    with_both = _outcomes(lab, 7)
    lab.reset()
    openid = lab.follow()
    lab.chaos({"effect": "errcode", "errcode": -1, "path": SEND, "rate": 0.3}, seed=7)
    alone = [lab.send(openid)["errcode"] for _ in range(40)]
    assert [code == -1 for code in with_both] == [code == -1 for code in alone]


def test_rules_count_and_can_be_cleared(lab: Lab) -> None:
    openid = lab.follow()
    lab.chaos({"effect": "errcode", "path": SEND, "every": 2})
    for _ in range(4):
        lab.send(openid)
    (rule,) = lab.control("GET", "/chaos")["rules"]
    assert (rule["matched"], rule["hit"]) == (4, 2)
    assert lab.ledger()["troubles"] == {"errcode": 2}
    assert lab.ledger()["answers"][f"{SEND} -1"] == 2
    lab.control("DELETE", "/chaos")
    assert lab.send(openid)["errcode"] == 0


@pytest.mark.parametrize(
    "plan",
    [
        {"rules": [{"effect": "delay", "milliseconds": 5}]},
        {"rules": [{"effect": "unknown"}]},
        {"rules": [1]},
        {"events": {"dropp": 1}},
        {"seeds": 1},
    ],
)
def test_a_typo_is_refused(lab: Lab, plan: dict[str, Any]) -> None:
    lab.control("POST", "/chaos", plan, status=422)
