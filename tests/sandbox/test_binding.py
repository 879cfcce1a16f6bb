"""Logins, OAuth, followers and QR codes: how a product learns who is who."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from hub.sandbox.demo import OFFICIAL_APPID, OFFICIAL_KEY, PROGRAM_APPID, PROGRAM_KEY
from tests.sandbox.rig import Lab

BACK = "https://hub.example/oauth?x=1"


def login(lab: Lab, code: str, **more: str) -> dict[str, Any]:
    """GET /sns/jscode2session."""
    query = {
        "appid": PROGRAM_APPID,
        "secret": PROGRAM_KEY,
        "js_code": code,
        "grant_type": "authorization_code",
    }
    return cast("dict[str, Any]", lab.http.get("/sns/jscode2session", params=query | more).json())


def js_code(lab: Lab, person: str = "alice") -> str:
    """wx.login."""
    answer = lab.control("POST", f"/people/{person}/login", {"appid": PROGRAM_APPID})
    return cast("str", answer["code"])


def test_login_answers_openid_unionid_and_no_errcode(lab: Lab) -> None:
    answer = login(lab, js_code(lab))
    assert set(answer) == {"openid", "session_key", "unionid"}
    assert answer["openid"] == lab.openid("alice", PROGRAM_APPID)


def test_sns_answers_are_called_text_plain(lab: Lab) -> None:
    assert lab.http.get("/sns/jscode2session").headers["content-type"].startswith("text/plain")


def test_a_login_code_is_good_once_and_for_five_minutes(lab: Lab) -> None:
    code = js_code(lab)
    assert "openid" in login(lab, code)
    assert login(lab, code)["errcode"] == 40163
    late = js_code(lab)
    lab.advance(301)
    assert login(lab, late)["errcode"] == 40029


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"js_code": "x"}, 40029),
        ({"js_code": ""}, 41008),
        ({"secret": "x"}, 40125),
        ({"appid": "x"}, 40013),
        ({"grant_type": "x"}, 40002),
    ],
)
def test_a_login_that_is_wrong(lab: Lab, more: dict[str, str], code: int) -> None:
    assert login(lab, js_code(lab), **more)["errcode"] == code


def test_a_high_risk_person(lab: Lab) -> None:
    lab.control("PATCH", "/people/alice", {"high_risk": True})
    assert login(lab, js_code(lab))["errcode"] == 40226


def test_a_hundred_logins_a_minute(lab: Lab) -> None:
    lab.control("POST", "/clock", {"freeze": True})
    answers = [login(lab, js_code(lab)) for _ in range(101)]
    assert all("openid" in answer for answer in answers[:100])
    assert answers[100]["errcode"] == 45011


def test_the_session_can_be_checked_and_renewed(lab: Lab) -> None:
    session = login(lab, js_code(lab))

    def sign(key: str) -> str:
        return hmac.new(key.encode(), b"", hashlib.sha256).hexdigest()

    query = {"openid": session["openid"], "sig_method": "hmac_sha256"}
    old = query | {"signature": sign(session["session_key"])}
    assert lab.get(PROGRAM_APPID, "/wxa/checksession", **old)["errcode"] == 0
    renewed = lab.get(PROGRAM_APPID, "/wxa/resetusersessionkey", **old)
    assert lab.get(PROGRAM_APPID, "/wxa/checksession", **old)["errcode"] == 87009
    fresh = query | {"signature": sign(renewed["session_key"])}
    assert lab.get(PROGRAM_APPID, "/wxa/checksession", **fresh)["errcode"] == 0


def authorize(lab: Lab, **more: str) -> httpx2.Response:
    """The consent page, with the person chosen at once."""
    query = {
        "appid": OFFICIAL_APPID,
        "redirect_uri": BACK,
        "response_type": "code",
        "scope": "snsapi_base",
        "state": "s1",
        "sandbox_person": "alice",
    }
    return lab.http.get("/connect/oauth2/authorize", params=query | more)


def oauth(lab: Lab, **more: str) -> dict[str, Any]:
    """Consent, and the code for a token."""
    location = authorize(lab, **more).headers["location"]
    query = parse_qs(urlsplit(location).query)
    assert (query["x"], query["state"]) == (["1"], ["s1"])
    return exchange(lab, query["code"][0])


def exchange(lab: Lab, code: str) -> dict[str, Any]:
    """GET /sns/oauth2/access_token."""
    query = {
        "appid": OFFICIAL_APPID,
        "secret": OFFICIAL_KEY,
        "code": code,
        "grant_type": "authorization_code",
    }
    return cast("dict[str, Any]", lab.http.get("/sns/oauth2/access_token", params=query).json())


def test_oauth_base_gives_the_openid_only(lab: Lab) -> None:
    answer = oauth(lab)
    assert answer["openid"] == lab.openid("alice")
    assert answer["scope"] == "snsapi_base"
    assert "unionid" not in answer
    assert "errcode" not in answer
    query = {"access_token": answer["access_token"], "openid": answer["openid"]}
    assert lab.http.get("/sns/auth", params=query).json()["errcode"] == 0
    assert lab.http.get("/sns/userinfo", params=query).json()["errcode"] == 48001


def test_oauth_userinfo_gives_the_unionid_of_the_mini_program(lab: Lab) -> None:
    answer = oauth(lab, scope="snsapi_userinfo")
    assert answer["unionid"] == login(lab, js_code(lab))["unionid"]
    assert answer["openid"] != lab.openid("alice", PROGRAM_APPID)
    query = {"access_token": answer["access_token"], "openid": answer["openid"]}
    assert lab.http.get("/sns/userinfo", params=query).json()["nickname"] == "陈思雨"


def test_a_snapshot_user_is_marked(lab: Lab) -> None:
    assert oauth(lab, sandbox_snapshot="1")["is_snapshotuser"] == 1


def test_an_oauth_code_is_good_once_and_for_five_minutes(lab: Lab) -> None:
    def code() -> str:
        return parse_qs(urlsplit(authorize(lab).headers["location"]).query)["code"][0]

    used = code()
    assert "openid" in exchange(lab, used)
    assert exchange(lab, used)["errcode"] == 40163
    late = code()
    lab.advance(301)
    assert exchange(lab, late)["errcode"] == 42003
    assert exchange(lab, js_code(lab))["errcode"] == 40029


def test_a_refreshed_oauth_token_replaces_both(lab: Lab) -> None:
    first = oauth(lab)
    query = {
        "appid": OFFICIAL_APPID,
        "grant_type": "refresh_token",
        "refresh_token": first["refresh_token"],
    }
    second = lab.http.get("/sns/oauth2/refresh_token", params=query).json()
    assert second["access_token"] != first["access_token"]
    assert lab.http.get("/sns/oauth2/refresh_token", params=query).json()["errcode"] == 40030


def test_the_consent_page_asks_who_and_refuses_other_domains(lab: Lab) -> None:
    page = authorize(lab, sandbox_person="")
    assert page.status_code == 200
    assert "陈思雨" in page.text
    assert "sandbox_person=alice" in page.text
    lab.control("PATCH", f"/accounts/{OFFICIAL_APPID}", {"oauth_domains": ["other.example"]})
    refused = authorize(lab)
    assert refused.status_code == 400
    assert "10003" in refused.text
    assert authorize(lab, scope="x").status_code == 400
    assert authorize(lab, redirect_uri="javascript:alert(1)").status_code == 400


def test_user_info(lab: Lab) -> None:
    openid = lab.openid("alice")
    stranger = lab.get(OFFICIAL_APPID, "/cgi-bin/user/info", openid=openid)
    assert stranger == {"subscribe": 0, "openid": openid}
    lab.follow()
    info = lab.get(OFFICIAL_APPID, "/cgi-bin/user/info", openid=openid, lang="zh_CN")
    assert (info["subscribe"], info["subscribe_scene"], info["nickname"]) == (1, "ADD_SCENE_SEARCH", "")
    assert info["unionid"] == login(lab, js_code(lab))["unionid"]
    assert lab.get(OFFICIAL_APPID, "/cgi-bin/user/info", openid="x")["errcode"] == 40003


def test_no_unionid_without_an_open_platform_account(lab: Lab) -> None:
    lab.control("PATCH", f"/accounts/{PROGRAM_APPID}", {"open_platform": ""})
    assert "unionid" not in login(lab, js_code(lab))


@pytest.mark.parametrize(
    ("action", "scene", "key", "value"),
    [
        ("QR_STR_SCENE", {"scene_str": "bind:n1"}, "qr_scene_str", "bind:n1"),
        ("QR_LIMIT_STR_SCENE", {"scene_str": "desk"}, "qr_scene_str", "desk"),
        ("QR_SCENE", {"scene_id": 42}, "qr_scene", 42),
        ("QR_LIMIT_SCENE", {"scene_id": 7}, "qr_scene", 7),
    ],
)
def test_a_scan_leaves_its_scene(
    lab: Lab, action: str, scene: dict[str, Any], key: str, value: object
) -> None:
    body = {"action_name": action, "action_info": {"scene": scene}, "expire_seconds": 600}
    made = lab.official("/cgi-bin/qrcode/create", body)
    assert ("expire_seconds" in made) == ("LIMIT" not in action)
    openid = lab.control("POST", "/people/alice/scan", {"ticket": made["ticket"]})["openid"]
    info = lab.get(OFFICIAL_APPID, "/cgi-bin/user/info", openid=openid)
    assert info[key] == value
    assert info["subscribe_scene"] == "ADD_SCENE_QR_CODE"


def test_a_qr_code_has_a_picture(lab: Lab) -> None:
    body = {"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "<a&b>"}}}
    ticket = lab.official("/cgi-bin/qrcode/create", body)["ticket"]
    picture = lab.http.get("/cgi-bin/showqrcode", params={"ticket": ticket})
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert "&lt;a&amp;b&gt;" in picture.text
    assert lab.http.get("/cgi-bin/showqrcode", params={"ticket": "x"}).status_code == 404


def test_a_qr_code_expires(lab: Lab) -> None:
    body = {"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "a"}}}
    made = lab.official("/cgi-bin/qrcode/create", body)
    assert made["expire_seconds"] == 60
    lab.advance(61)
    lab.control("POST", "/people/alice/scan", {"ticket": made["ticket"]}, status=410)
    lab.control("POST", "/people/alice/scan", {"ticket": "none"}, status=404)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"action_name": "X", "action_info": {"scene": {"scene_id": 1}}}, 40052),
        ({"action_name": "QR_SCENE"}, 40053),
        ({"action_name": "QR_SCENE", "action_info": {"scene": {"scene_id": 0}}}, 40053),
        ({"action_name": "QR_LIMIT_SCENE", "action_info": {"scene": {"scene_id": 100_001}}}, 40053),
        ({"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "x" * 65}}}, 40053),
    ],
)
def test_a_qr_code_that_cannot_be_made(lab: Lab, body: dict[str, Any], code: int) -> None:
    assert lab.official("/cgi-bin/qrcode/create", body)["errcode"] == code
