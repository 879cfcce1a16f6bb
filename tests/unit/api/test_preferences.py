"""What people want to hear and when, and what apps set for everybody: taken as it will be understood, or refused."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest

from hub.core.caps import CapThen, FrequencyCap
from hub.core.message import AppId
from hub.core.preferences import parse
from tests.unit.api.harness import World

PLANS = ["plan2"]
"""Nothing here is about where messages are."""

WANTED: dict[str, Any] = {
    "channels": {"wechat_mp": False},
    "categories": {"marketing": False, "news": {"channels": {"miniprogram": False}}},
    "quiet_hours": [
        {"start": "22:00", "end": "08:00", "days": ["fri", "sat"]},
        {"start": "12:00", "end": "13:00"},
    ],
    "mute": ["thread:inst-778", "category:广告"],
    "sound": {"tone": "竹 🎋"},
}


async def test_preferences_are_kept_as_they_were_said_and_understood_by_the_core(world: World) -> None:
    await world.call("PUT", "/v1/users/a", json={"preferences": WANTED})
    shown = (await world.get("/v1/users/a"))["preferences"]
    assert shown == WANTED
    understood = parse(json.dumps(shown))
    assert not understood.wants("wechat_mp", "approval")
    assert not understood.wants("miniprogram", "news")
    assert understood.wants("miniprogram", "approval")
    assert understood.mutes(thread=None, category="广告", type_="x")
    assert len(understood.quiet) == 2


async def test_users_change_their_own_preferences_and_nobody_elses(world: World) -> None:
    await world.users("a", "b")
    token = await world.token("a")
    mine = {"timezone": "Europe/Berlin", "locale": "de", "preferences": {"mute": ["type:oa.digest"]}}
    changed = await world.call("PUT", "/v1/me", token, json=mine)
    assert changed.status_code == 200
    assert (await world.get("/v1/users/a"))["preferences"] == mine["preferences"]
    assert (await world.get("/v1/users/b"))["preferences"] == {}
    assert (await world.call("PUT", "/v1/users/b", token, json=mine)).status_code == 403


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"channels": {"wechat_mp": "no"}}, "/preferences/channels/wechat_mp"),
        ({"quiet_hours": {"start": "22:00", "end": "25:00"}}, "/preferences/quiet_hours/end"),
        ({"quiet_hours": {"start": "22:00", "end": "22:00"}}, "/preferences/quiet_hours"),
        ({"quiet_hours": {"start": "0:00", "end": "24:00"}}, "/preferences/quiet_hours/start"),
        ({"quiet_hours": {"start": "22:00", "end": "23:00", "days": []}}, "/preferences/quiet_hours/days"),
        ({"mute": ["everything"]}, "/preferences/mute/0"),
        ({"categories": {"news": {"channel": {}}}}, "/preferences/categories/news"),
        ({"own": "x" * 20_000}, "/preferences"),
    ],
)
async def test_what_the_hub_would_not_understand_is_refused_where_it_stands(
    world: World, wrong: dict[str, Any], pointer: str
) -> None:
    answer = await world.call("PUT", "/v1/users/a", json={"preferences": wrong})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "request_invalid")
    assert any(fault["pointer"].startswith(pointer) for fault in problem["errors"]), problem["errors"]
    for path in ("/v1/users/batch",):
        batch = {"users": [{"user_id": "a", "preferences": wrong}]}
        assert (await world.call("POST", path, json=batch)).status_code == 422


CALENDAR = {
    "timezone": "Asia/Shanghai",
    "week": {"mon": [["09:00", "12:00"], ["13:30", "18:00"]], "sat": [["22:00", "06:00"]]},
    "holidays": ["2026-10-01"],
    "workdays": ["2026-10-10"],
}


async def test_an_apps_calendar_and_caps_come_back_as_the_core_has_them(world: World) -> None:
    caps = [{"channel": "wechat_mp", "category": None, "count": 3, "per": "PT24H", "then": "defer"}]
    body = {"settings": {"calendar": CALENDAR, "caps": caps}}
    changed = await world.call("PATCH", "/v1/apps/shop", world.admin, json=body)
    assert changed.status_code == 200, changed.text
    shown = (await world.get("/v1/apps/shop", world.admin))["settings"]
    assert shown["caps"] == caps
    assert shown["calendar"]["week"]["mon"] == CALENDAR["week"]["mon"]  # type: ignore[index]
    assert shown["calendar"]["week"]["sun"] == []
    settings = (await world.hub.directory.app(AppId("shop"))).settings
    assert settings.calendar.holidays == {date(2026, 10, 1)}
    assert settings.caps == (FrequencyCap(3, timedelta(days=1), "wechat_mp", None, CapThen.DEFER),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"calendar": {"timezone": "Mars/Olympus"}},
        {"calendar": {"week": {"monday": []}}},
        {"calendar": {"week": {}}},
        {"calendar": {"week": {"mon": [["09:00"]]}}},
        {"calendar": {"week": {"mon": [["09:00", "09:00"]]}}},
        {"calendar": {"holidays": ["2026-02-30"]}},
        {"caps": [{"count": 0, "per": "PT24H"}]},
        {"caps": [{"count": 1, "per": "PT1S"}]},
        {"caps": [{"count": 1, "per": "P40D"}]},
    ],
)
async def test_a_calendar_or_cap_that_makes_no_sense_is_refused(world: World, wrong: dict[str, Any]) -> None:
    answer = await world.call("PATCH", "/v1/apps/shop", world.admin, json={"settings": wrong})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid"), answer.text
