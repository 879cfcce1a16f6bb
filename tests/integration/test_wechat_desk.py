"""The desk at the sandbox: subscriptions and their ledger, templates, quotas, and how an account does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.core.accounts import Consent, GrantKey, GrantSource, TemplateKind
from hub.core.errors import Conflict, NotFound, Refused, Unavailable
from tests.integration.wechat_of_test import ALICE, BOB, OFFICIAL, PROGRAM, World, open_world
from tests.sandbox.rig import MP_PROGRESS, MP_RESULT, MP_TODO, TODO, Lab, open_lab
from tests.services import RedisServer

TITLE = "审批待处理通知"


@pytest.fixture(scope="module")
def running_lab() -> Iterator[Lab]:
    with open_lab() as lab:
        yield lab


@pytest.fixture(params=[GrantSource.EVENTS])
async def world(
    request: pytest.FixtureRequest, running_lab: Lab, redis_server: RedisServer, tmp_path: Path
) -> AsyncIterator[World]:
    running_lab.reset()
    redis_server.flush()
    async with open_world(running_lab, tmp_path, redis_server, grants_from=request.param) as opened:
        await opened.hear()
        await opened.acquaint()
        yield opened


by_client = pytest.mark.parametrize("world", [GrantSource.CLIENT], indirect=True)


async def answer(world: World, template: str, choice: str, **more: Any) -> None:
    """Alice answers the dialog in the mini program."""
    body = {"appid": world.program.external_id, "choices": {template: choice}, **more}
    await world.do(world.lab.control, "POST", "/people/alice/subscribe", body)
    await asyncio.to_thread(world.lab.advance, 1)


async def switch_off(world: World, template: str) -> None:
    body = {"appid": world.program.external_id, "template_id": template, "choice": "reject"}
    await world.do(world.lab.control, "POST", "/people/alice/settings", body)


async def balance(world: World, template: str = MP_TODO) -> tuple[int, int, bool]:
    world.mini.template = template
    return await world.grants(world.mini)


async def really(world: World, template: str = MP_TODO) -> int:
    """What the sandbox would still let through."""
    tie = await asyncio.to_thread(world.lab.tie, "alice", world.program.external_id)
    return int(tie["grants"].get(template, {}).get("remaining", 0))


# --- subscriptions, by events


async def test_each_yes_is_one_send_and_a_no_takes_none_back(world: World) -> None:
    await answer(world, MP_TODO, "accept")
    await answer(world, MP_TODO, "accept")
    await answer(world, MP_TODO, "reject")
    assert await balance(world) == (2, 0, False)
    assert await really(world) == 2


async def test_one_answer_may_speak_of_several_templates(world: World) -> None:
    choices = {MP_TODO: "accept", MP_RESULT: "reject"}
    body = {"appid": world.program.external_id, "choices": choices}
    await world.do(world.lab.control, "POST", "/people/alice/subscribe", body)
    assert await balance(world, MP_TODO) == (1, 0, False)
    assert await balance(world, MP_RESULT) == (0, 0, False)


async def test_an_event_that_comes_twice_counts_once(world: World) -> None:
    await asyncio.to_thread(world.lab.chaos, duplicate=1.0)
    await answer(world, MP_TODO, "accept")
    assert await balance(world) == (1, 0, False)


async def test_switching_off_leaves_nothing(world: World) -> None:
    await answer(world, MP_TODO, "accept")
    await switch_off(world, MP_TODO)
    assert await balance(world) == (0, 0, False)
    assert await really(world) == 0


async def test_a_lasting_subscription_has_no_count_and_ends(world: World) -> None:
    await world.entrance.desk.sync_templates(world.program)
    await answer(world, MP_PROGRESS, "accept")
    assert await balance(world, MP_PROGRESS) == (0, 0, True)
    await switch_off(world, MP_PROGRESS)
    assert await balance(world, MP_PROGRESS) == (0, 0, False)
    # WeChat remembers the refusal: asking again in the mini program changes nothing, and is told as a refusal.
    await answer(world, MP_PROGRESS, "accept")
    assert await balance(world, MP_PROGRESS) == (0, 0, False)


async def test_a_template_that_was_not_synchronised_is_counted(world: World) -> None:
    await answer(world, MP_PROGRESS, "accept")
    assert await balance(world, MP_PROGRESS) == (1, 0, False)


async def test_reports_of_clients_are_refused_where_events_count(world: World) -> None:
    with pytest.raises(Conflict, match="grants_from_events"):
        await world.entrance.desk.report_consents(world.program, ALICE, {MP_TODO: Consent.ACCEPT}, once="q1")


# --- subscriptions, by the client


async def bind(world: World) -> None:
    body = {"appid": world.program.external_id}
    code = (await world.do(world.lab.control, "POST", "/people/alice/login", body))["code"]
    await world.entrance.desk.bind_by_code(world.program, ALICE, code)


@by_client
async def test_a_report_counts_once_and_events_do_not_count_besides(world: World) -> None:
    await bind(world)
    await answer(world, MP_TODO, "accept")
    assert await balance(world) == (0, 0, False)
    said = {MP_TODO: Consent.ACCEPT, MP_RESULT: Consent.BAN, "T-other": Consent.FILTER}
    for _ in range(2):
        told = await world.entrance.desk.report_consents(world.program, ALICE, said, once="question-1")
        assert [(found.key.template, found.remaining) for found in told] == [(MP_TODO, 1)]
    await world.entrance.desk.report_consents(world.program, ALICE, said, once="question-2")
    assert await balance(world) == (2, 0, False)
    assert await balance(world, MP_RESULT) == (0, 0, False)


@by_client
async def test_a_refusal_counts_wherever_it_comes_from(world: World) -> None:
    await bind(world)
    await world.entrance.desk.sync_templates(world.program)
    said = {MP_TODO: Consent.ACCEPT, MP_PROGRESS: Consent.ACCEPT}
    await world.entrance.desk.report_consents(world.program, ALICE, said, once="1")
    assert await balance(world, MP_PROGRESS) == (0, 0, True)
    no = {MP_PROGRESS: Consent.REJECT}
    await world.entrance.desk.report_consents(world.program, ALICE, no, once="2")
    assert await balance(world, MP_PROGRESS) == (0, 0, False)
    await switch_off(world, MP_TODO)
    assert await balance(world, MP_TODO) == (0, 0, False)


@by_client
async def test_a_report_for_somebody_who_is_not_bound(world: World) -> None:
    with pytest.raises(NotFound, match="binding_not_found"):
        await world.entrance.desk.report_consents(world.program, BOB, {MP_TODO: Consent.ACCEPT}, once="1")
    many = {f"T{number}": Consent.ACCEPT for number in range(21)}
    with pytest.raises(Refused, match="request_invalid"):
        await world.entrance.desk.report_consents(world.program, ALICE, many, once="1")


@by_client
async def test_one_question_to_two_people_is_two_agreements(world: World) -> None:
    await bind(world)
    body = {"appid": world.program.external_id}
    code = (await world.do(world.lab.control, "POST", "/people/bob/login", body))["code"]
    await world.entrance.desk.bind_by_code(world.program, BOB, code)
    for user in (ALICE, BOB):
        yes = {MP_TODO: Consent.ACCEPT}
        await world.entrance.desk.report_consents(world.program, user, yes, once="same")
    assert (await world.grants(world.mini, ALICE), await world.grants(world.mini, BOB)) == (
        (1, 0, False),
        (1, 0, False),
    )


# --- templates


async def test_an_official_account_has_both_kinds_of_templates(world: World) -> None:
    found = {item.id: item for item in await world.entrance.desk.sync_templates(world.official)}
    assert found[TODO].kind is TemplateKind.MESSAGE
    assert found[TODO].fields == ("thing1", "thing2", "time3", "amount4", "const5")
    assert (found[TODO].title, found[TODO].gone) == (TITLE, False)
    kinds = {item.kind for item in found.values()}
    assert kinds == {TemplateKind.MESSAGE, TemplateKind.ONE_TIME, TemplateKind.LONG_TERM}
    assert all(item.account == OFFICIAL and item.synced_at is not None for item in found.values())


async def test_a_mini_program_has_subscribe_templates_with_enums(world: World) -> None:
    found = {item.title: item for item in await world.entrance.desk.sync_templates(world.program)}
    assert found["工单状态提醒"].enums == {"enum2": ("普通", "紧急")}
    assert found["办事进度提醒"].kind is TemplateKind.LONG_TERM
    assert {item.account for item in found.values()} == {PROGRAM}


async def test_an_account_without_subscribe_messages_is_synchronised_all_the_same(world: World) -> None:
    rule = {"effect": "errcode", "path": "/wxaapi/newtmpl/gettemplate", "errcode": 48001}
    await asyncio.to_thread(world.lab.chaos, rule)
    found = await world.entrance.desk.sync_templates(world.official)
    assert {item.kind for item in found} == {TemplateKind.MESSAGE}


@pytest.mark.parametrize(
    "path", ["/cgi-bin/template/get_all_private_template", "/wxaapi/newtmpl/gettemplate"]
)
async def test_templates_stay_where_wechat_does_not_answer(world: World, path: str) -> None:
    before = await world.entrance.desk.sync_templates(world.official)
    await asyncio.to_thread(world.lab.chaos, {"effect": "errcode", "path": path, "errcode": -1})
    with pytest.raises(Unavailable, match="provider_unavailable"):
        await world.entrance.desk.sync_templates(world.official)
    assert list(await world.books.templates.templates_of(OFFICIAL)) == list(before)


# --- quotas and health


async def test_quotas_tell_what_may_still_be_sent(world: World) -> None:
    await world.notify("wechat_mp")
    official = {found.call: found for found in await world.entrance.desk.quotas(world.official)}
    assert set(official) == {"/cgi-bin/message/template/send", "/cgi-bin/message/subscribe/bizsend"}
    spent = official["/cgi-bin/message/template/send"]
    assert (spent.limit, spent.used, spent.remaining) == (100_000, 1, 99_999)
    [program] = await world.entrance.desk.quotas(world.program)
    assert (program.call, program.used) == ("/cgi-bin/message/subscribe/send", 0)


async def test_a_call_that_wechat_does_not_count_is_left_out(world: World) -> None:
    rule = {"effect": "errcode", "path": "/cgi-bin/openapi/quota/get", "errcode": 76021, "times": 1}
    await asyncio.to_thread(world.lab.chaos, rule)
    assert len(await world.entrance.desk.quotas(world.official)) == 1
    await asyncio.to_thread(world.lab.chaos, rule | {"times": None})
    with pytest.raises(Refused, match="provider_refused"):
        await world.entrance.desk.quotas(world.official)


async def test_a_probe_asks_wechat_and_closes_the_circuits(world: World) -> None:
    desk = world.entrance.desk
    assert (await desk.health(world.official, probe=False)).circuit == "open"
    well = await desk.health(world.official, probe=True)
    assert (well.ok, well.circuit) == (True, "closed")
    assert world.lines.mended == [OFFICIAL]


async def test_a_probe_says_in_plain_words_what_is_wrong(world: World) -> None:
    path = f"/accounts/{world.official.external_id}"
    await asyncio.to_thread(world.lab.control, "PATCH", path, {"ip_whitelist": ["10.9.8.7"]})
    ill = await world.entrance.desk.health(world.official, probe=True)
    assert (ill.ok, ill.code) == (False, "40164")
    assert "whitelist" in ill.detail
    assert world.lines.mended == []


async def test_no_secret_is_in_what_the_desk_tells(world: World) -> None:
    path = f"/accounts/{world.official.external_id}"
    await asyncio.to_thread(world.lab.control, "PATCH", path, {"secret": "f" * 32})
    ill = await world.entrance.desk.health(world.official, probe=True)
    assert (ill.ok, ill.code) == (False, "40125")
    assert "f" * 32 not in repr(ill)
    with pytest.raises((Refused, Unavailable)) as caught:
        await world.entrance.desk.bind_by_code(world.program, ALICE, "made-up")
    assert "7c1b9e4d" not in str(caught.value).replace(world.program.external_id, "")


async def test_grants_of_one_address_are_not_those_of_another(world: World) -> None:
    await answer(world, MP_TODO, "accept")
    key = GrantKey(PROGRAM, world.mini.openids[BOB], MP_TODO)
    assert await world.books.grants.balances(key.account, key.address) == []
