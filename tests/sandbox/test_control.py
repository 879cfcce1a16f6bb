"""The control API, the stream, the saved state and the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

from hub.sandbox import snapshot
from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID, demo_state
from hub.sandbox.state import State
from tests.sandbox.rig import MP_TODO, TODO, TODO_DATA, Lab


def test_an_account_a_template_and_a_person_of_ones_own(lab: Lab) -> None:
    account = lab.control("POST", "/accounts", {"kind": "official", "name": "我的号"})
    appid, secret = account["appid"], account["secret"]
    content = {"title": "提醒", "content": "事项:{{thing1.DATA}}"}
    template = lab.control("POST", f"/accounts/{appid}/templates", content)
    assert template["fields"] == [{"label": "事项", "key": "thing1"}]
    person = lab.control("POST", "/people", {"name": "新人"})["person"]["person_id"]
    openid = lab.control("POST", f"/people/{person}/follow", {"appid": appid})["openid"]
    query = {"grant_type": "client_credential", "appid": appid, "secret": secret}
    token = lab.http.get("/cgi-bin/token", params=query).json()["access_token"]
    body = {
        "touser": openid,
        "template_id": template["template_id"],
        "data": {"thing1": {"value": "开会"}},
    }
    path = "/cgi-bin/message/template/send"
    sent = lab.http.post(path, params={"access_token": token}, json=body).json()
    assert sent["errcode"] == 0
    (message,) = lab.control("GET", f"/messages?openid={openid}")["messages"]
    assert message["msgid"] == str(sent["msgid"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/accounts", {"appid": OFFICIAL_APPID}, 409),
        ("POST", "/accounts", {"kindd": "official"}, 422),
        ("POST", "/accounts", {"kind": "company"}, 422),
        ("PATCH", "/accounts/none", {}, 404),
        ("PATCH", f"/accounts/{OFFICIAL_APPID}", {"appid": "x"}, 422),
        ("PATCH", f"/accounts/{OFFICIAL_APPID}/templates/none", {}, 404),
        ("POST", "/people", {"person_id": "alice", "name": "x"}, 409),
        ("GET", "/people/none/phone", None, 404),
        ("POST", "/people/alice/follow", {"appid": PROGRAM_APPID}, 400),
        ("POST", "/people/alice/follow", {}, 422),
        ("POST", "/people/alice/login", {"appid": OFFICIAL_APPID}, 400),
        ("POST", "/people/alice/write", {"appid": OFFICIAL_APPID, "text": "x"}, 409),
        ("POST", "/people/alice/subscribe", {"appid": OFFICIAL_APPID, "choices": {TODO: "accept"}}, 400),
        ("POST", "/people/alice/subscribe", {"appid": PROGRAM_APPID, "choices": {MP_TODO: "maybe"}}, 400),
        ("PATCH", f"/people/alice/ties/{OFFICIAL_APPID}", {"following": True}, 422),
        ("POST", "/messages/1/tap", {}, 404),
        ("PATCH", "/settings", {"token_ttl": "long"}, 422),
        ("POST", "/clock", {"advance_seconds": "x"}, 422),
        ("POST", "/reset", {"seed": "x"}, 422),
    ],
)
def test_what_cannot_be_done_is_said(lab: Lab, method: str, path: str, body: object, status: int) -> None:
    assert lab.control(method, path, body, status=status)["error"]


def test_a_body_that_is_not_json(lab: Lab) -> None:
    assert lab.http.post("/sandbox/clock", content=b"{").status_code == 422
    assert lab.http.post("/sandbox/clock", content=b"[]").status_code == 422


def test_tapping_a_card_tells_where_it_leads(lab: Lab) -> None:
    msgid = lab.send(lab.follow(), url="https://hub.example/1")["msgid"]
    link = lab.control("POST", f"/messages/{msgid}/tap")
    assert link == {"kind": "url", "target": "https://hub.example/1"}
    (message,) = lab.control("GET", "/messages?person_id=alice")["messages"]
    assert message["tapped_at"] is not None


def test_a_reset_may_leave_nothing(lab: Lab) -> None:
    state = lab.control("POST", "/reset", {"demo": False})
    assert (state["accounts"], state["people"]) == ([], [])


def test_ids_are_the_same_for_a_seed(lab: Lab) -> None:
    before = lab.openid("alice")
    lab.reset()
    assert lab.openid("alice") == before
    lab.control("POST", "/reset", {"seed": 2})
    assert lab.openid("alice") != before


def test_other_sites_pages_cannot_use_the_control_api(lab: Lab) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert lab.http.get("/sandbox/state", headers=headers).status_code == 403


def test_the_stream_tells_that_something_changed(lab: Lab) -> None:
    openid = lab.follow()
    with lab.http.stream("GET", "/sandbox/stream") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(lines) == "retry: 1000"
        threading.Timer(0.05, lab.send, [openid]).start()
        notice = next(line for line in lines if line.startswith("data: "))
    assert json.loads(notice.removeprefix("data: ")) == {"what": "message", "person_id": "alice"}


def test_the_state_survives_its_file(tmp_path: Path, lab: Lab) -> None:
    state = demo_state(5)
    snapshot.save(tmp_path, state)
    assert snapshot.load(tmp_path) == state
    assert (tmp_path / "sandbox.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "sandbox.json").write_text("{")
    with pytest.raises(SystemExit, match=r"sandbox\.json"):
        snapshot.load(tmp_path)
    assert snapshot.load(tmp_path / "none") is None
    assert isinstance(State(), State)


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hub.sandbox", "--port", str(port), "--data", str(folder)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/sandbox/state")
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return process
    raise AssertionError("the sandbox did not start")


def test_the_process_saves_and_takes_up_again(tmp_path: Path, unused_port: int) -> None:
    base = f"http://127.0.0.1:{unused_port}"
    first = _start(tmp_path, unused_port)
    httpx2.post(f"{base}/sandbox/people/alice/follow", json={"appid": OFFICIAL_APPID})
    with httpx2.stream("GET", f"{base}/sandbox/stream"):
        first.send_signal(signal.SIGINT)
        assert first.wait(10) == 0
    second = _start(tmp_path, unused_port)
    tie = httpx2.get(f"{base}/sandbox/people/alice/ties/{OFFICIAL_APPID}").json()
    second.send_signal(signal.SIGTERM)
    second.wait(10)
    assert tie["following"] is True


def test_data_is_kept_as_it_was_sent(lab: Lab) -> None:
    lab.send(lab.follow(), client_msg_id="x1")
    (message,) = lab.control("GET", "/messages")["messages"]
    assert message["request"]["data"] == TODO_DATA
    assert message["client_msg_id"] == "x1"
