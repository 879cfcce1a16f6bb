"""Messages through both channels to the sandbox's phones: what is sent, from where, to whom, and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hub.core.accounts import Account, AccountId, AccountSecrets, BindingState
from hub.core.errors import Unavailable
from hub.core.message import TemplatePin
from hub.core.outcome import Accepted, Reason, Rejected, Retry
from hub.core.policy import Hop
from hub.core.templates import ChannelMapping
from hub.sandbox.demo import OFFICIAL_APPID, PROGRAM_APPID
from tests.sandbox.post import (
    MAPPINGS,
    MEETING_MAPPING,
    OFFICIAL,
    PROGRAM,
    TODO_FIELDS,
    Post,
    each,
    envelope,
    one,
)
from tests.sandbox.rig import MEETING, MP_TODO, TODO


async def messages(post: Post) -> list[dict[str, Any]]:
    found = await post.control("control", "GET", "/messages")
    return list(found["messages"] if isinstance(found, dict) else found)


async def test_a_template_message_arrives_as_it_was_worded(post: Post) -> None:
    openid = await post.follower()
    worker = await post.worker()
    outcome = await one(worker.mp, envelope())
    assert isinstance(outcome, Accepted)
    (card,) = await messages(post)
    assert outcome.provider_id == f"{OFFICIAL_APPID}:{card['msgid']}"
    assert card["openid"] == openid
    assert dict(card["lines"])["审批事项"] == "差旅报销"
    assert dict(card["lines"])["申请时间"] == "2026年3月1日 09:12"
    assert dict(card["lines"])["金额"] == "¥1200.00"
    assert card["link"] == {"kind": "url", "target": "https://oa.example/t/7"} | {
        name: value for name, value in card["link"].items() if name not in {"kind", "target"}
    }


async def test_a_subscribe_message_opens_its_page_and_uses_its_grant(post: Post) -> None:
    key = await post.subscriber()
    worker = await post.worker()
    assert isinstance(await one(worker.mini, envelope(channel="miniprogram")), Accepted)
    (card,) = await messages(post)
    assert (card["api"], card["link"]["target"]) == ("subscribe/send", "pages/task/detail?id=7")
    balance = await post.balance(key)
    assert (balance.remaining, balance.reserved) == (0, 0)


async def test_a_subscribe_notification_goes_by_bizsend_to_who_does_not_follow(post: Post) -> None:
    await post.subscriber(template=MEETING, account=OFFICIAL)
    await post.bind("alice", OFFICIAL, BindingState.UNFOLLOWED)
    pin = await post.publish(MEETING_MAPPING, key="meeting")
    outcome = await one((await post.worker()).mp, envelope(pin=pin))
    assert isinstance(outcome, Accepted)
    assert (await post.ledger())["messages"]["by_api"] == {"subscribe/bizsend": 1}


async def test_a_page_without_a_scheme_opens_the_accounts_mini_program(post: Post) -> None:
    await post.follower()
    pin = await post.publish(
        replace(MAPPINGS[0], page="pages/task/detail?id={{ id }}", url="https://x.example")
    )
    assert isinstance(await one((await post.worker()).mp, envelope(pin=pin)), Accepted)
    (card,) = await messages(post)
    assert (card["link"]["kind"], card["link"]["appid"]) == ("miniprogram", PROGRAM_APPID)


async def test_a_batch_is_answered_in_its_order(post: Post) -> None:
    await post.follower("alice")
    await post.bind("bob", OFFICIAL, BindingState.UNFOLLOWED)
    outcomes = await each(
        (await post.worker()).mp,
        [
            envelope("carol"),
            envelope("alice"),
            envelope("bob"),
            envelope("alice", pin=None),
            envelope("alice"),
        ],
    )
    assert [type(outcome) for outcome in outcomes] == [Rejected, Accepted, Rejected, Rejected, Accepted]
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Rejected)]
    assert reasons == [Reason.NOT_BOUND, Reason.UNSUBSCRIBED, Reason.TEMPLATE_INVALID]
    assert (await post.ledger())["messages"]["accepted"] == 2


async def test_an_address_that_rests_is_not_written_to(post: Post) -> None:
    worker = await post.worker()
    expected = {
        BindingState.UNFOLLOWED: Reason.UNSUBSCRIBED,
        BindingState.INVALID: Reason.NO_ADDRESS,
        BindingState.BLOCKED: Reason.USER_BLOCK,
    }
    for state, reason in expected.items():
        await post.bind("alice", OFFICIAL, state)
        outcome = await one(worker.mp, envelope())
        assert isinstance(outcome, Rejected)
        assert outcome.reason is reason
    assert "/cgi-bin/message/template/send" not in (await post.ledger())["calls"]


async def test_without_an_account_or_mapping_there_is_no_way(post: Post) -> None:
    worker = await post.worker()
    await post.follower()
    nowhere = await one(worker.mp, envelope(hop=Hop("wechat_mp", account="acc_none")))
    assert isinstance(nowhere, Rejected)
    assert nowhere.reason is Reason.NO_ADDRESS
    unmapped = await one(worker.mp, envelope(pin=await post.publish(MAPPINGS[1], key="other")))
    assert isinstance(unmapped, Rejected)
    assert (unmapped.reason, unmapped.code) == (Reason.TEMPLATE_INVALID, "wx.template.unmapped")
    unknown = await one(worker.mp, envelope(pin=TemplatePin("todo", 99)))
    assert isinstance(unknown, Rejected)
    assert unknown.reason is Reason.TEMPLATE_INVALID


async def test_an_account_of_another_app_or_channel_is_none(post: Post) -> None:
    worker = await post.worker()
    await post.follower()
    official = await post.books.accounts.account(OFFICIAL)
    assert official is not None
    foreign = replace(official, id=AccountId("acc_foreign"), app=type(official.app)("app_other"))
    await post.books.accounts.put_account(foreign, AccountSecrets("x"), actor="test")
    for account in ("acc_foreign", PROGRAM):
        outcome = await one(worker.mp, envelope(hop=Hop("wechat_mp", account=account)))
        assert isinstance(outcome, Rejected)
        assert outcome.reason is Reason.NO_ADDRESS


async def test_a_disabled_account_sends_nothing(post: Post) -> None:
    worker = await post.worker()
    await post.follower()
    official = await post.books.accounts.account(OFFICIAL)
    assert official is not None
    await post.books.accounts.put_account(replace(official, enabled=False), None, actor="test")
    outcome = await one(worker.mp, envelope())
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.NO_ADDRESS


async def test_the_first_account_at_which_the_person_is_known_is_taken(post: Post) -> None:
    """Another official account, older than the demo one, where nobody is bound."""
    official = await post.books.accounts.account(OFFICIAL)
    assert official is not None
    older: Account = replace(
        official,
        id=AccountId("acc_a_older"),
        external_id="wx0000000000000000",
        created_at=official.created_at.replace(year=2020),
    )
    await post.books.accounts.put_account(older, AccountSecrets("x"), actor="test")
    await post.follower()
    worker = await post.worker()
    assert isinstance(await one(worker.mp, envelope()), Accepted)
    named = await one(worker.mp, envelope(hop=Hop("wechat_mp", account="acc_a_older")))
    assert isinstance(named, Rejected)
    assert named.reason is Reason.NOT_BOUND


async def test_a_mapping_of_one_account_is_for_that_account_only(post: Post) -> None:
    await post.follower()
    worker = await post.worker()
    own = ChannelMapping("wechat_mp", TODO, TODO_FIELDS, account=OFFICIAL)
    wrong = replace(own, template="nothing", account=None)
    assert isinstance(await one(worker.mp, envelope(pin=await post.publish(wrong, own))), Accepted)
    elsewhere = await one(
        worker.mp, envelope(pin=await post.publish(replace(own, account=AccountId("acc_x"))))
    )
    assert isinstance(elsewhere, Rejected)
    assert elsewhere.reason is Reason.NO_ADDRESS


async def test_a_hop_may_name_another_template(post: Post) -> None:
    await post.follower()
    await post.publish(replace(MAPPINGS[0], url="https://short.example", page=""), key="short")
    hop = Hop("wechat_mp", template="short")
    assert isinstance(await one((await post.worker()).mp, envelope(hop=hop)), Accepted)
    (card,) = await messages(post)
    assert card["link"]["target"] == "https://short.example"


async def test_a_message_for_several_says_how_many(post: Post) -> None:
    await post.follower()
    fields = TODO_FIELDS | {"thing1": replace(TODO_FIELDS["thing1"], value="{{ digest_count }} 条待办")}
    pin = await post.publish(replace(MAPPINGS[0], fields=fields))
    outcome = await one((await post.worker()).mp, replace(envelope(pin=pin), digest_of=5))
    assert isinstance(outcome, Accepted)
    (card,) = await messages(post)
    assert dict(card["lines"])["审批事项"] == "5 条待办"


async def test_a_store_that_is_away_is_a_retry_that_was_no_try(post: Post) -> None:
    await post.follower()
    worker = await post.worker()

    async def away(*_: Any) -> Any:
        raise Unavailable("store_unavailable", "away")

    post.books.bindings.addresses = away  # type: ignore[method-assign,assignment]
    outcome = await one(worker.mp, envelope())
    assert isinstance(outcome, Retry)
    assert not outcome.tried


async def test_a_mini_program_message_names_state_and_language(post: Post) -> None:
    await post.subscriber(times=2)
    program = await post.books.accounts.account(PROGRAM)
    assert program is not None
    trial = replace(program, options=replace(program.options, mini_state="trial"))
    await post.books.accounts.put_account(trial, None, actor="test")
    pin = await post.publish(replace(MAPPINGS[1], page="/pages/unreleased"))
    worker = await post.worker()
    sent = envelope(channel="miniprogram", pin=pin)
    assert isinstance(await one(worker.mini, sent), Accepted)
    (card,) = await messages(post)
    assert card["link"]["state"] == "trial"
    assert MP_TODO
