"""Templates: published in versions, refused where a channel could not say them, shown and tried before use."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hub.core.channel import Registry
from hub.core.delivery import DeliveryId
from hub.core.message import TemplatePin
from tests.fakes.channel import ScriptedChannel
from tests.fakes.templated import TemplatedChannel
from tests.unit.api.harness import World

PLANS = ["plan2"]
"""Nothing here is about where messages are."""

TODO: dict[str, Any] = {
    "texts": {
        "zh-CN": {"title": "待审批:{{ title }} ✈️", "text": "{{ who.name }} {{ at | datetime }}"},
        "en": {"title": "To approve: {{ title }}", "text": "{{ who.name }} {{ at | datetime }}"},
    },
    "default_locale": "zh-CN",
    "variables": {"title": "text", "who.name": "text", "at": "datetime"},
    "mappings": [
        {
            "channel": "wechat_mp",
            "template": "tmpl-1",
            "fields": {"thing1": {"value": "{{ title }}"}, "time2": {"value": "{{ at | datetime }}"}},
        }
    ],
}
DATA = {"title": "差旅报销", "who": {"name": "王某"}, "at": "2026-03-01T09:12:00+08:00"}


@pytest.fixture
def wechat(world: World) -> TemplatedChannel:
    """The official account, as far as templates go."""
    channel = TemplatedChannel()
    world.hub.engine.channels = Registry([ScriptedChannel("ws"), channel, ScriptedChannel("sms")])
    return channel


def _with(**changes: Any) -> dict[str, Any]:
    return {**TODO, **changes}


async def _put(world: World, body: dict[str, Any] = TODO, key: str = "todo") -> Any:
    answer = await world.call("PUT", f"/v1/templates/{key}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def _refused(world: World, body: dict[str, Any], code: str) -> list[tuple[str, str]]:
    answer = await world.call("PUT", "/v1/templates/todo", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, code), problem
    return [(fault["pointer"], fault["code"]) for fault in problem["errors"]]


@pytest.mark.usefixtures("wechat")
async def test_a_template_is_published_in_versions_and_the_same_again_makes_none(world: World) -> None:
    first = await world.call("PUT", "/v1/templates/todo", json=TODO)
    assert (first.status_code, first.json()["version"]) == (201, 1)
    assert first.headers["location"] == "/v1/templates/todo"
    again = await world.call("PUT", "/v1/templates/todo", json=TODO)
    assert (again.status_code, again.json()) == (200, first.json())
    second = await world.call("PUT", "/v1/templates/todo", json=_with(mappings=[]))
    assert (second.status_code, second.json()["version"]) == (201, 2)
    assert (await world.get("/v1/templates/todo"))["mappings"] == []
    assert (await world.get("/v1/templates/todo/versions/1")) == first.json()
    listed = (await world.get("/v1/templates/todo/versions"))["data"]
    assert [version["version"] for version in listed] == [2, 1]
    assert [one["key"] for one in (await world.get("/v1/templates"))["data"]] == ["todo"]
    lines = (await world.get("/v1/audit"))["data"]
    assert [line["detail"] for line in lines if line["action"] == "template.publish"] == [
        {"version": 2},
        {"version": 1},
    ]


@pytest.mark.usefixtures("wechat")
async def test_a_placeholder_that_is_not_declared_is_refused_with_the_nearest_name(world: World) -> None:
    texts = {"zh-CN": {"title": "{{ titel }}", "text": "{{ title | datetme }}{{"}}
    body = _with(texts=texts, mappings=[])
    answer = await world.call("PUT", "/v1/templates/todo", json=body)
    assert "'title'" in answer.json()["detail"]
    assert await _refused(world, body, "template.text_invalid") == [
        ("/texts/zh-CN/title", "template.unknown_variable"),
        ("/texts/zh-CN/text", "template.unknown_filter"),
    ]
    assert (await world.call("GET", "/v1/templates/todo")).status_code == 404


@pytest.mark.usefixtures("wechat")
async def test_a_mapping_must_fit_the_providers_template(world: World) -> None:
    mapping = {"channel": "wechat_mp", "template": "tmpl-1", "fields": {"thing9": {"value": "{{ nope }}"}}}
    faults = await _refused(world, _with(mappings=[mapping]), "template.mapping_invalid")
    assert ("/mappings/0/fields/thing9/value", "template.unknown_variable") in faults
    assert ("/mappings/0/fields/thing9", "wx.unexpected") in faults
    assert ("/mappings/0", "wx.missing") in faults
    on_ws = _with(mappings=[{"channel": "ws", "template": "x", "fields": {}}])
    assert await _refused(world, on_ws, "template.mapping_invalid") == [
        ("/mappings/0/channel", "template.mapping_useless")
    ]
    nowhere = _with(mappings=[{"channel": "wechat_pm", "template": "x", "fields": {}}])
    assert await _refused(world, nowhere, "channel_unknown") == [("/mappings/0/channel", "channel_unknown")]


@pytest.mark.parametrize(
    "changes",
    [
        {"default_locale": "fr"},
        {"texts": {}},
        {"variables": {"hub.x": "text"}},
        {"variables": {"a b": "text"}},
        {"variables": {"a": "object"}},
        {"mappings": [TODO["mappings"][0], TODO["mappings"][0]]},
    ],
)
async def test_a_template_that_contradicts_itself_is_refused(world: World, changes: dict[str, Any]) -> None:
    answer = await world.call("PUT", "/v1/templates/todo", json=_with(**changes))
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


@pytest.mark.usefixtures("wechat")
async def test_an_archived_template_is_gone_for_new_notifications_and_comes_back(world: World) -> None:
    await _put(world)
    assert (await world.call("DELETE", "/v1/templates/todo")).status_code == 204
    gone = await world.call("DELETE", "/v1/templates/todo")
    assert (gone.status_code, gone.json()["code"]) == (404, "template_not_found")
    assert (await world.get("/v1/templates"))["data"] == []
    body = {"to": [{"user_id": "a"}], "template": {"key": "todo"}, "data": DATA}
    assert (await world.call("POST", "/v1/notifications", json=body)).json()["code"] == "template_unknown"
    assert len((await world.get("/v1/templates/todo/versions"))["data"]) == 1
    assert (await _put(world))["version"] == 1
    assert (await world.call("POST", "/v1/notifications", json=body)).status_code == 202


@pytest.mark.usefixtures("wechat")
async def test_the_preview_shows_each_language_and_each_providers_request(world: World) -> None:
    await _put(world)
    shown = await world.post("/v1/templates/todo/preview", {"data": DATA})
    assert [(card["locale"], card["title"]) for card in shown["cards"]] == [
        ("zh-CN", "待审批:差旅报销 ✈️"),
        ("en", "To approve: 差旅报销"),
    ]
    assert shown["channels"][0]["request"] == {
        "template_id": "tmpl-1",
        "data": {"thing1": {"value": "差旅报销"}, "time2": {"value": "2026年3月1日 09:12"}},
    }
    await world.call("PUT", "/v1/users/ada", json={"locale": "en-GB", "timezone": "Europe/London"})
    shown = await world.post("/v1/templates/todo/preview", {"data": DATA, "user_id": "ada"})
    assert [card["text"] for card in shown["cards"]] == ["王某 2026-03-01 01:12"]
    nobody = await world.call("POST", "/v1/templates/todo/preview", json={"data": DATA, "user_id": "x"})
    assert nobody.status_code == 404


@pytest.mark.usefixtures("wechat")
async def test_the_preview_shows_what_is_wrong_instead_of_failing(world: World) -> None:
    await _put(world)
    data = {"title": "很" * 21, "at": "tomorrow"}
    shown = await world.post("/v1/templates/todo/preview", {"data": data, "locale": "en"})
    (card,) = shown["cards"]
    assert (card["title"], card["text"]) == ("To approve: " + "很" * 21, None)
    assert {fault["code"] for fault in card["faults"]} == {
        "template.variable_missing",
        "template.variable_type",
        "template.unknown_variable",
    }
    (channel,) = shown["channels"]
    assert channel["request"] is None
    assert [fault["field"] for fault in channel["faults"]] == ["time2"]
    away = {"data": {**DATA, "title": "away"}, "locale": "en"}
    (channel,) = (await world.post("/v1/templates/todo/preview", away))["channels"]
    assert (channel["request"], channel["faults"][0]["code"]) == (None, "template.field_invalid")


async def test_a_try_is_a_real_notification_through_that_channel_only(
    world: World, wechat: TemplatedChannel
) -> None:
    await _put(world)
    await world.users("a")
    body = {"user_id": "a", "channel": "wechat_mp", "data": DATA}
    accepted = await world.post("/v1/templates/todo/test", body)
    shown = await world.get(accepted["links"]["self"])
    assert (shown["type"], [step["channel"] for step in shown["route"]["steps"]]) == (
        "template.test",
        ["wechat_mp"],
    )
    assert shown["route"]["quiet_hours"] == "ignore"
    assert [one.user_id for one in wechat.checked] == ["a"]
    for channel, code in (("sms", 202), ("wechat_pm", 422)):
        answer = await world.call("POST", "/v1/templates/todo/test", json={**body, "channel": channel})
        assert answer.status_code == code, answer.text
    await _put(world, _with(mappings=[]), "bare")
    silent = await world.call("POST", "/v1/templates/bare/test", json=body)
    assert (silent.status_code, silent.json()["errors"][0]["code"]) == (422, "template.mapping_missing")
    nobody = await world.call("POST", "/v1/templates/todo/test", json={**body, "user_id": "x"})
    assert (nobody.status_code, nobody.json()["code"]) == (404, "user_not_found")
    limited = (await world.post("/v1/keys", {"scopes": ["templates:write"]}))["secret"]
    refused = await world.call("POST", "/v1/templates/todo/test", limited, json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


@pytest.mark.usefixtures("wechat")
async def test_a_notification_says_its_template_in_the_recipients_language(world: World) -> None:
    await _put(world)
    await world.call("PUT", "/v1/users/ada", json={"locale": "en", "timezone": "Europe/London"})
    body = {"to": [{"user_id": "ada"}], "template": {"key": "todo"}, "data": DATA}
    await world.post("/v1/notifications", {**body, "actions": [{"id": "ok", "requires": ["comment"]}]})
    (entry,) = (await world.get("/v1/queue", params={"user": "ada"}))["data"]
    assert entry["message"]["kind"] == "notification"
    assert entry["message"]["body"] == {
        "title": "To approve: 差旅报销",
        "text": "王某 2026-03-01 01:12",
        "locale": "en",
        "actions": [{"id": "ok", "label": "", "style": "default", "requires": ["comment"]}],
    }


@pytest.mark.usefixtures("wechat")
async def test_recipients_of_several_languages_share_one_body_with_all_of_them(world: World) -> None:
    await _put(world)
    await world.call("PUT", "/v1/users/ada", json={"locale": "en"})
    body = {"to": [{"user_id": "ada"}, {"user_id": "新"}], "template": {"key": "todo"}, "data": DATA}
    await world.post("/v1/notifications", body)
    (entry,) = (await world.get("/v1/queue", params={"user": "ada"}))["data"]
    said = entry["message"]["body"]
    assert (said["locale"], said["title"]) == ("zh-CN", "待审批:差旅报销 ✈️")
    assert said["locales"] == {"en": {"title": "To approve: 差旅报销", "text": "王某 2026-03-01 09:12"}}
    pinned = {**body, "template": {"key": "todo", "locale": "en"}}
    await world.post("/v1/notifications", pinned)
    said = (await world.get("/v1/queue", params={"user": "新"}))["data"][1]["message"]["body"]
    assert (said["locale"], "locales" in said) == ("en", False)


@pytest.mark.usefixtures("wechat")
async def test_what_a_channel_would_refuse_is_refused_at_once_with_pointer_and_fix(world: World) -> None:
    await _put(world)
    route = {"steps": [{"channel": "ws", "wait": "PT1M"}, {"channel": "wechat_mp"}]}
    body = {
        "to": [{"user_id": "a"}],
        "template": {"key": "todo"},
        "data": {**DATA, "title": "很" * 27},
        "route": route,
    }
    answer = await world.call("POST", "/v1/notifications", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "template.field_invalid")
    assert problem["type"] == "/docs/problems/template-field-invalid"
    assert problem["errors"] == [
        {
            "pointer": "/data/title",
            "code": "wx.thing.too_long",
            "detail": "20 at most, got 27",
            "channel": "wechat_mp",
            "fix": "set overflow=ellipsis",
        }
    ]
    in_app = await world.call("POST", "/v1/notifications", json={**body, "route": None})
    assert in_app.status_code == 202, "the app takes any length"
    batch = await world.call("POST", "/v1/notifications/batch", json={"notifications": [body]})
    assert batch.json()["data"][0]["problem"]["errors"] == problem["errors"]
    assert (await world.get("/v1/deliveries"))["data"] == []


async def test_each_language_is_checked_once_however_many_people_read_it(
    world: World, wechat: TemplatedChannel
) -> None:
    await _put(world)
    people = [{"user_id": f"u{n}"} for n in range(40)]
    await world.call("PUT", "/v1/users/u7", json={"locale": "en"})
    body = {
        "to": people,
        "template": {"key": "todo"},
        "data": DATA,
        "route": {"steps": [{"channel": "wechat_mp"}]},
    }
    await world.post("/v1/notifications", body)
    assert sorted(one.locale for one in wechat.checked) == ["en", "zh-CN"]


@pytest.mark.usefixtures("wechat")
async def test_data_that_do_not_fill_the_template_are_refused_where_they_are_wrong(world: World) -> None:
    await _put(world)
    body = {
        "to": [{"user_id": "a"}],
        "template": {"key": "todo"},
        "data": {"titel": "x", "who": {"name": []}, "at": "now"},
    }
    problem = (await world.call("POST", "/v1/notifications", json=body)).json()
    assert problem["code"] == "template.data_invalid"
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [
        ("/data/title", "template.variable_missing"),
        ("/data/who/name", "template.variable_type"),
        ("/data/at", "template.variable_type"),
    ]
    assert "'titel'" in problem["detail"]


@pytest.mark.parametrize(
    "changes",
    [
        {"content": {"title": "t"}},
        {"template": None},
        {"template": None, "content": {"title": "t"}},
        {"template": None, "data": None, "content": {"kind": "poll", "body": "x"}, "actions": [{"id": "a"}]},
        {"template": None, "data": None, "actions": [{"id": "a"}],
         "content": {"title": "t", "actions": [{"id": "b"}]}},
        {"send_at": "2036-01-01T00:00:00Z", "not_before": "2036-01-01T00:00:00Z"},
    ],
)  # fmt: skip
async def test_a_notification_says_one_thing_once(world: World, changes: dict[str, Any]) -> None:
    body = {"to": [{"user_id": "a"}], "template": {"key": "todo"}, "data": {}, **changes}
    answer = await world.call("POST", "/v1/notifications", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid"), answer.text


@pytest.mark.usefixtures("wechat")
async def test_a_step_may_say_another_template_with_the_same_data(world: World) -> None:
    await _put(world, _with(mappings=[]), "card")
    await _put(world)
    step = {"channel": "wechat_mp", "template": "todo", "account": "acc_1"}
    route = {"steps": [step]}
    body = {"to": [{"user_id": "a"}], "template": {"key": "card"}, "data": DATA, "route": route}
    accepted = await world.post("/v1/notifications", body)
    shown = (await world.get(accepted["links"]["self"]))["route"]["steps"][0]
    assert (shown["template"], shown["account"]) == ("todo", "acc_1")
    long: dict[str, Any] = {**body, "data": {**DATA, "title": "很" * 21}}
    refused = (await world.call("POST", "/v1/notifications", json=long)).json()
    assert refused["code"] == "template.field_invalid"
    step["template"] = "nope"
    unknown = (await world.call("POST", "/v1/notifications", json=body)).json()
    assert (unknown["code"], unknown["errors"][0]["pointer"]) == (
        "template_unknown",
        "/route/steps/0/template",
    )
    card = {"to": [{"user_id": "a"}], "content": {"title": "t", "data": {"title": "x"}}, "route": route}
    step["template"] = "todo"
    own = (await world.call("POST", "/v1/notifications", json=card)).json()
    assert own["errors"][0]["pointer"] == "/content/data/who/name"


async def test_what_was_accepted_is_sent_in_the_version_it_was_accepted_with(world: World) -> None:
    sender = world.hub.engine.channels.get("wechat_mp")
    assert isinstance(sender, ScriptedChannel)
    world.hub.engine.channels = Registry([ScriptedChannel("ws"), TemplatedChannel()])
    await _put(world)
    route = {"steps": [{"channel": "wechat_mp"}]}
    body = {
        "to": [{"user_id": "a"}],
        "template": {"key": "todo", "locale": "en"},
        "data": DATA,
        "route": route,
    }
    await world.post("/v1/notifications", body)
    await _put(world, _with(mappings=[]))
    async with asyncio.timeout(5):
        while not (found := (await world.get("/v1/deliveries"))["data"]):
            await asyncio.sleep(0.01)
    await world.hub.engine.dispatcher.run([DeliveryId(found[0]["id"])])
    told = sender.calls[0][0].notification
    assert told is not None
    assert told.template == TemplatePin("todo", 1, "en")
    assert json.loads(told.data or "") == DATA
    assert (told.policy.hops[0].channel, sender.calls[0][0].recipient.user_id) == ("wechat_mp", "a")


@pytest.mark.usefixtures("wechat")
async def test_a_version_can_be_named_and_must_exist(world: World) -> None:
    await _put(world)
    await _put(world, _with(mappings=[]))
    people = [{"user_id": "a"}]
    for version, status in ((1, 202), (2, 202), (3, 422)):
        body = {"to": people, "template": {"key": "todo", "version": version}, "data": DATA}
        answer = await world.call("POST", "/v1/notifications", json=body)
        assert answer.status_code == status, answer.text
