"""Tasks over REST: put, seen, decided once, pressed, handed on, taken back."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from hub.core.webhooks import HookAnswer
from tests.unit.api.harness import World

ID = "oa:inst-778:t2"
PATH = f"/v1/tasks/{ID}"


def body(version: int = 7, **more: Any) -> dict[str, Any]:
    return {
        "instance": {"id": "inst-778", "title": "差旅报销 ✈️", "applicant": "u_9", "version": version},
        "node": {"id": "n2", "name": "部门经理", "sign_mode": "any"},
        "assignees": ["u_1", "u_2"],
        "cc": ["u_77"],
        "version": version,
        "actions": ["approve", "reject", "transfer"],
        "link": {"web": "https://oa.example.com/tasks/2", "mp_path": "pages/task?id=t2"},
        "summary": [{"label": "金额", "value": "¥1,200.00", "type": "amount"}],
        **more,
    }


async def put(world: World, version: int = 7, path: str = PATH, **more: Any) -> Any:
    answer = await world.call("PUT", path, json=body(version, **more))
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def act(world: World, user: str, action: str = "approve", **more: Any) -> Any:
    return await world.call(
        "POST", f"{PATH}/actions", await world.token(user), json={"action_id": action, **more}
    )


async def queue(world: World, user: str) -> list[dict[str, Any]]:
    entries = (await world.get("/v1/queue", await world.token(user)))["data"]
    return [entry["message"] for entry in entries if entry["message"]]


async def cards(world: World, user: str) -> list[dict[str, Any]]:
    return [message["body"] for message in await queue(world, user) if message["kind"] == "card"]


async def asking(world: World, *answers: HookAnswer) -> str:
    """A business system that is asked, and answers so in turn."""
    made = await world.post("/v1/webhooks", {"url": "https://oa.example.com/hook", "events": ["task.action"]})
    world.hub.hooks.answers = list(answers)
    return str(made["id"])


async def test_a_task_put_is_in_the_queue_of_everybody_who_is_asked_or_told(world: World) -> None:
    answer = await world.call("PUT", PATH, json=body())
    task = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    assert (task["business_id"], task["state"], task["transferable"]) == (ID, "pending", True)
    (message,) = await queue(world, "u_1")
    assert message["body"]["title"] == "待审批：差旅报销 ✈️（部门经理）"
    assert [action["label"] for action in message["body"]["actions"]] == ["同意", "驳回"]
    assert message["body"]["data"]["task"] == task["id"]
    assert message["body"]["link"].startswith("http")
    (told,) = await queue(world, "u_77")
    assert told["body"]["title"].startswith("抄送")
    assert "actions" not in told["body"]
    for ref in (ID, quote(ID, safe=""), task["id"]):
        assert (await world.get(f"/v1/tasks/{ref}"))["id"] == task["id"]


async def test_late_and_repeated_versions_are_no_ops_and_if_match_guards(world: World) -> None:
    first = await put(world, 7)
    assert await put(world, 6, state="canceled") == first
    assert len(await queue(world, "u_1")) == 1
    stale = await world.call("PUT", PATH, json=body(8), headers={"If-Match": '"9"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    good = await world.call("PUT", PATH, json=body(8), headers={"If-Match": '"1"'})
    assert (good.status_code, good.headers["etag"], good.json()["version"]) == (200, '"2"', 8)


async def test_without_a_business_system_to_ask_the_first_decision_counts_and_the_second_hears_of_it(
    world: World,
) -> None:
    await put(world)
    won = await act(world, "u_1", comment="好", client_action_id="c1")
    assert won.status_code == 200, won.text
    assert (won.json()["action"]["state"], won.json()["task"]["state"]) == ("applied", "approved")
    lost = await act(world, "u_2", "reject")
    problem = lost.json()
    assert (lost.status_code, problem["code"]) == (409, "task_already_decided")
    assert (problem["decision"]["user_id"], problem["decision"]["action_id"]) == ("u_1", "approve")
    again = await act(world, "u_1", comment="好", client_action_id="c1")
    assert (again.status_code, again.json()["repeated"]) == (200, True)
    for user in ("u_1", "u_2", "u_77"):
        card = (await cards(world, user))[-1]
        assert (card["state"], card["decided_by"], card["action"]) == ("approved", "u_1", "approve")
        assert card["texts"] == {"zh-CN": "已由u_1同意", "en": "Approved by u_1"}
    parts = {one["user_id"]: one["state"] for one in won.json()["task"]["assignees"]}
    assert parts == {"u_1": "approved", "u_2": "done_by_other"}


async def test_the_business_system_is_asked_and_its_no_opens_the_task_again(world: World) -> None:
    await asking(world, HookAnswer(200, json.dumps({"result": "rejected", "reason": "预算不足"}).encode()))
    await put(world)
    refused = (await act(world, "u_1", comment="好")).json()
    assert refused["action"]["state"] == "rejected_by_business"
    assert refused["action"]["reason"] == "预算不足"
    assert (refused["task"]["state"], refused["task"]["processing"]) == ("pending", False)
    (asked,) = world.hub.hooks.asked
    said = json.loads(asked.data)
    assert (asked.type, said["task"], said["user_id"], said["comment"]) == ("task.action", ID, "u_1", "好")
    card = (await cards(world, "u_2"))[-1]
    assert (card["state"], card["processing"]) == ("pending", False)
    assert card["refused"] == {"user_id": "u_1", "action": "approve", "reason": "预算不足"}
    assert (await act(world, "u_2")).json()["action"]["state"] == "applied"


async def test_no_answer_is_pending_shown_as_processing_and_asked_again_under_the_same_id(
    world: World,
) -> None:
    await asking(world, HookAnswer(503), HookAnswer(None, error="timeout"), HookAnswer(204))
    await put(world)
    first = await act(world, "u_1")
    assert (first.status_code, first.json()["action"]["state"]) == (202, "pending")
    assert (await cards(world, "u_2"))[-1]["texts"]["zh-CN"] == "处理中"
    assert (await act(world, "u_2")).status_code == 409
    for passed in (5, 300):
        assert (await world.get(PATH))["processing"]
        world.clock.shift += timedelta(seconds=passed + 1)
        await world.hub.approvals.sweep(limit=100)
    task = await world.get(PATH)
    assert (task["state"], task["decision"]["user_id"]) == ("approved", "u_1")
    assert len(world.hub.hooks.asked) == 3
    assert len({asked.id for asked in world.hub.hooks.asked}) == 1


async def test_the_business_system_may_settle_a_pending_action_by_itself(world: World) -> None:
    await asking(world, HookAnswer(500))
    await put(world)
    action = (await act(world, "u_1")).json()["action"]["id"]
    path = f"{PATH}/actions/{action}/result"
    for _ in range(2):
        done = await world.post(path, {"result": "applied"})
        assert done["task"]["state"] == "approved"
    otherwise = await world.call("POST", path, json={"result": "rejected"})
    assert (otherwise.status_code, otherwise.json()["code"]) == (409, "action_settled")
    assert (await world.call("POST", f"{PATH}/actions/act_0/result", json={"result": "applied"})).json()[
        "code"
    ] == "action_not_found"


async def test_only_those_asked_act_and_only_those_concerned_see(world: World) -> None:
    await put(world)
    stranger = await world.token("u_5")
    for method, path, sent in (
        ("GET", PATH, None),
        ("GET", f"{PATH}/timeline", None),
        ("POST", f"{PATH}/actions", {"action_id": "approve"}),
        ("POST", f"{PATH}/remind", {}),
        ("POST", f"{PATH}/withdraw", {}),
        ("POST", f"{PATH}/transfer", {"to": "u_1"}),
    ):
        answer = await world.call(method, path, stranger, json=sent)
        assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found"), path
    for user in ("u_1", "u_77", "u_9"):
        assert (await world.get(PATH, await world.token(user)))["business_id"] == ID
    told = await world.call(
        "POST", f"{PATH}/actions", await world.token("u_77"), json={"action_id": "approve"}
    )
    assert told.status_code == 404
    other_app = await world.call("GET", PATH, world.their_key)
    assert other_app.status_code == 404
    read_only = await world.token("u_1", scopes=["read"])
    refused = await world.call("POST", f"{PATH}/actions", read_only, json={"action_id": "approve"})
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"action_id": "aprove"}, "action_unknown"),
        ({"action_id": "approve", "user_id": "u_2"}, "not_yourself"),
        ({"action_id": "approve", "client_action_id": "有"}, "request_invalid"),
        ({"action_id": "sign"}, "comment_required"),
    ],
)
async def test_actions_that_cannot_be_taken_so(world: World, sent: dict[str, Any], code: str) -> None:
    await put(world, actions=["approve", {"id": "sign", "effect": "approve", "requires": ["comment"]}])
    answer = await world.call("POST", f"{PATH}/actions", await world.token("u_1"), json=sent)
    assert answer.json()["code"] == code


async def test_a_business_key_acts_on_behalf_of_who_is_asked(world: World) -> None:
    await put(world)
    nobody = await world.call("POST", f"{PATH}/actions", json={"action_id": "approve"})
    assert nobody.json()["code"] == "actor_required"
    done = await world.post(f"{PATH}/actions", {"action_id": "reject", "user_id": "u_2"})
    assert (done["task"]["state"], done["action"]["user_id"]) == ("rejected", "u_2")


async def test_two_hundred_at_once_have_one_winner_whom_199_are_told(world: World) -> None:
    await asking(world, HookAnswer(500), HookAnswer(503))
    users = [f"u_{n}" for n in range(200)]
    await put(world, assignees=users, cc=[])
    tokens = await asyncio.gather(*(world.token(user) for user in users))
    answers = await asyncio.gather(
        *(world.call("POST", f"{PATH}/actions", token, json={"action_id": "approve"}) for token in tokens)
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [202, *[409] * 199]
    (winner,) = [a.json()["action"]["user_id"] for a in answers if a.status_code == 202]
    named = {a.json()["decision"]["user_id"] for a in answers if a.status_code == 409}
    assert named == {winner}
    for _ in range(2):
        world.clock.shift += timedelta(minutes=6)
        await world.hub.approvals.sweep(limit=100)
    task = await world.get(PATH)
    assert (task["state"], task["decision"]["user_id"]) == ("approved", winner)
    assert len(world.hub.hooks.asked) == 3, "twice in vain, once with effect"


async def test_reminders_climb_cool_down_and_say_what_was_sent(world: World) -> None:
    await put(world)
    token = await world.token("u_9")
    first = (await world.post(f"{PATH}/remind", {"comment": "请尽快"}, token))["data"]
    assert [(one["user_id"], one["sent"], one["level"]) for one in first] == [
        ("u_1", True, 1),
        ("u_2", True, 1),
    ]
    message = (await queue(world, "u_1"))[-1]
    assert message["body"]["title"].startswith("催办")
    assert message["body"]["text"].startswith("请尽快")
    soon = (await world.post(f"{PATH}/remind", {"to": ["u_1"]}, token))["data"]
    assert (soon[0]["sent"], soon[0]["reason"]) == (False, "cooldown")
    assert soon[0]["retry_at"] is not None
    world.clock.shift += timedelta(minutes=11)
    second = (await world.post(f"{PATH}/remind", {"to": ["u_1"]}, token))["data"]
    assert (second[0]["level"], second[0]["channels"]) == (2, ["ws", "wechat_mp"])
    deliveries = (await world.get("/v1/deliveries", params={"user": "u_1", "channel": "wechat_mp"}))["data"]
    assert len(deliveries) == 1, "climbed past the app at once"
    unknown = await world.call("POST", f"{PATH}/remind", json={"to": ["u_77"]})
    assert unknown.status_code == 404
    await act(world, "u_1")
    assert (await world.post(f"{PATH}/remind", {"to": ["u_2"]}))["data"][0]["reason"] == "not_asked"


async def test_everybody_together_may_press_one_person_only_so_often_in_a_day(world: World) -> None:
    await put(world, notify={"remind": {"daily_cap": 2, "cooldown": "PT1S"}}, assignees=["u_1"])
    sent = []
    for _ in range(3):
        world.clock.shift += timedelta(minutes=1)
        sent.append((await world.post(f"{PATH}/remind", {}))["data"][0]["reason"])
    assert sent == [None, None, "daily_cap"]


async def test_a_transfer_moves_the_card_and_the_old_holder_cannot_act(world: World) -> None:
    await put(world)
    await world.users("u_3")
    token = await world.token("u_1")
    moved = await world.post(f"{PATH}/transfer", {"to": "u_3", "comment": "出差"}, token)
    parts = {one["user_id"]: (one["state"], one["given_by"]) for one in moved["assignees"]}
    assert parts == {"u_1": ("transferred", None), "u_2": ("pending", None), "u_3": ("pending", "u_1")}
    assert (await queue(world, "u_3"))[0]["body"]["title"].startswith("转交给您审批")
    assert (await act(world, "u_1")).status_code == 409
    assert (await act(world, "u_3")).status_code == 200
    refused = await world.call("POST", f"{PATH}/transfer", json={"from": "u_2", "to": "u_4"})
    assert refused.status_code == 409
    story = (await world.get(f"{PATH}/timeline"))["data"]
    assert {"created", "transferred", "acted", "action_applied", "approved"} <= {
        one["event"] for one in story
    }


async def test_who_is_away_is_stood_in_for_and_the_story_says_so(world: World) -> None:
    away = {"delegate": {"to": "u_3", "from": "2020-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"}}
    await world.users("u_3")
    await world.call("PUT", "/v1/users/u_1", json={"preferences": away})
    await world.call(
        "PUT", "/v1/users/u_2", json={"preferences": {"delegate": {"to": "u_3", "until": "2020-01-01"}}}
    )
    task = await put(world)
    assert [(one["user_id"], one["given_by"]) for one in task["assignees"]] == [("u_3", "u_1"), ("u_2", None)]
    assert await queue(world, "u_1") == []
    story = (await world.get(f"{PATH}/timeline"))["data"]
    assert [one["detail"] for one in story if one["event"] == "delegated"] == [{"from": "u_1", "to": "u_3"}]


async def test_withdrawing_says_what_could_still_be_done_on_each_channel(world: World) -> None:
    await put(world, notify={"policy": "approval"})
    done = await world.post(f"{PATH}/withdraw", {"reason": "填错金额"}, await world.token("u_9"))
    assert done["task"]["state"] == "withdrawn"
    channels = {one["channel"]: one for one in done["channels"]}
    assert channels["ws"]["updated"] == 3
    assert (await cards(world, "u_1"))[-1]["texts"]["zh-CN"] == "已撤回"
    assert (await act(world, "u_1")).status_code == 409
    again = await world.call("POST", f"{PATH}/withdraw", await world.token("u_9"), json={})
    assert again.status_code == 200
    denied = await world.call("POST", f"{PATH}/withdraw", await world.token("u_1"), json={})
    assert denied.json()["code"] == "not_the_applicant"


async def test_a_task_that_is_over_can_be_neither_withdrawn_nor_opened_again(world: World) -> None:
    await put(world)
    await act(world, "u_1")
    late = await world.call("POST", f"{PATH}/withdraw", json={})
    assert (late.status_code, late.json()["decision"]["user_id"]) == (409, "u_1")
    again = await world.call("PUT", PATH, json=body(8))
    assert (again.status_code, again.json()["code"]) == (409, "task_closed")


async def test_reconciling_names_what_is_missing_stale_and_ahead(world: World) -> None:
    await put(world, 7)
    known = [{"id": ID, "version": 7}, {"id": "oa:x", "version": 1}]
    assert await world.post("/v1/tasks/check", {"tasks": known}) == {
        "missing": ["oa:x"],
        "stale": [],
        "ahead": [],
    }
    for version, where in ((8, "stale"), (6, "ahead")):
        found = await world.post("/v1/tasks/check", {"tasks": [{"id": ID, "version": version}]})
        assert found[where] == [ID]


async def test_a_snapshot_of_an_instance_cancels_what_it_does_not_name(world: World) -> None:
    await put(world, path="/v1/tasks/oa:t1")
    await put(world, path="/v1/tasks/oa:t2")
    snapshot = {"tasks": [{"id": "oa:t2", **body(8)}, {"id": "oa:t3", **body(8)}]}
    answer = await world.call("PUT", "/v1/instances/inst-778", json=snapshot)
    done = answer.json()
    assert (answer.status_code, done["canceled"]) == (200, ["oa:t1"])
    assert [(one["id"], one["task"]["version"]) for one in done["tasks"]] == [("oa:t2", 8), ("oa:t3", 8)]
    assert (await world.get("/v1/tasks/oa:t1"))["state"] == "canceled"


async def test_lists_by_assignee_and_of_ones_own(world: World) -> None:
    await put(world, path="/v1/tasks/oa:t1")
    await put(world, path="/v1/tasks/oa:t2", assignees=["u_2"])
    listed = await world.get("/v1/tasks", params={"assignee": "u_1", "state": "pending"})
    assert [one["business_id"] for one in listed["data"]] == ["oa:t1"]
    own = await world.get("/v1/me/tasks", await world.token("u_2"), params={"state": "pending"})
    assert [one["business_id"] for one in own["data"]] == ["oa:t2", "oa:t1"]
    told = await world.get("/v1/me/tasks", await world.token("u_77"), params={"cc": "true"})
    assert len(told["data"]) == 2


async def test_a_link_leads_where_the_business_system_says_and_is_noted(world: World) -> None:
    await put(world)
    made = await world.post(f"{PATH}/links", {"user_id": "u_1", "expires_in": "PT1H"})
    path = "/t/" + made["url"].rpartition("/")[2]
    web = await world.call("GET", f"{path}?from=wechat_mp", "")
    assert (web.status_code, web.headers["location"]) == (302, "https://oa.example.com/tasks/2")
    program = await world.call("GET", f"{path}?from=miniprogram", "")
    assert program.json()["mp_path"] == "pages/task?id=t2"
    story = (await world.get(f"{PATH}/timeline"))["data"]
    assert [(one["actor"], one["detail"]) for one in story if one["event"] == "opened"] == [
        ("u_1", {"acted_from": "wechat_mp"}),
        ("u_1", {"acted_from": "miniprogram"}),
    ]
    forged = path[:-1] + ("A" if path[-1] != "A" else "B")
    assert (await world.call("GET", forged, "")).json()["code"] == "link_invalid"
    world.clock.shift += timedelta(hours=2)
    assert (await world.call("GET", path, "")).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"link": {"web": "javascript:alert(1)"}},
        {"actions": ["approve", "approve"]},
        {"actions": ["transfer"]},
        {"assignees": []},
        {"version": -1},
        {"due_at": "2026-03-02T18:00:00+08:00", "due_in": "PT1H"},
        {"notify": {"policy": "no-such"}},
        {"notify": {"template": "no-such"}},
        {"notify": {"closed_template": "no-such"}},
    ],
)
async def test_tasks_that_cannot_be_put_so(world: World, wrong: dict[str, Any]) -> None:
    answer = await world.call("PUT", PATH, json=body(**wrong))
    assert answer.status_code == 422, answer.text
    assert (await world.call("GET", PATH)).status_code == 404


async def test_ids_that_are_the_hubs_own_are_refused(world: World) -> None:
    assert (await world.call("PUT", "/v1/tasks/tsk_1", json=body())).status_code == 422
