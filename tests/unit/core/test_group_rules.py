"""Who may do what in a group, for every actor, verb, target and setting."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.conversation import Conversation, ConversationKind, Fanout, Membership, Role, Speech, fanout_of
from hub.core.errors import NotFound
from hub.core.group_rules import BUSINESS, GroupRules, Invite, Standing, Verb, higher, may, speech_refusal
from hub.core.message import AppId, ConversationId, Draft, MessageId, ToConversation, UserKey

ORDER: list[Standing] = [None, Role.READONLY, Role.MEMBER, Role.ADMIN, Role.OWNER, BUSINESS]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ALICE = UserKey(1)
actors = st.sampled_from(ORDER)
targets = st.sampled_from([None, *Role])
verbs = st.sampled_from(Verb)
kinds = st.sampled_from([ConversationKind.GROUP, ConversationKind.THREAD])
rules = st.builds(
    GroupRules, kind=kinds, invite=st.sampled_from(Invite), open=st.booleans(), dissolved=st.booleans()
)
ON_LOWER = (Verb.KICK, Verb.SILENCE, Verb.ROLE, Verb.RECALL)


def test_the_order_names_every_standing() -> None:
    assert {type(one) for one in ORDER} == {type(None), Role, type(BUSINESS)}
    assert len(get_args(Standing)) == 3
    assert set(Role) < set(ORDER)


@given(actors, verbs, targets, rules)
def test_who_is_above_may_what_who_is_below_may(
    actor: Standing, verb: Verb, target: Role | None, given_rules: GroupRules
) -> None:
    if verb in (Verb.LEAVE, Verb.JOIN) or may(actor, verb, target, given_rules) is not None:
        return
    for above in ORDER[ORDER.index(actor) :]:
        assert may(above, verb, target, given_rules) is None


@given(actors, st.sampled_from(ON_LOWER), targets, rules)
def test_nobody_acts_on_who_is_not_below_them(
    actor: Standing, verb: Verb, target: Role | None, given_rules: GroupRules
) -> None:
    if target is not None and ORDER.index(actor) <= ORDER.index(target):
        assert may(actor, verb, target, given_rules) is not None


@given(verbs, targets, rules)
def test_who_is_not_in_it_is_told_that_there_is_none(
    verb: Verb, target: Role | None, given_rules: GroupRules
) -> None:
    refusal = may(None, verb, target, given_rules)
    if verb is Verb.JOIN and given_rules.open:
        assert (refusal is None) is not given_rules.dissolved
    else:
        assert isinstance(refusal, NotFound)
        assert refusal.code == "conversation_not_found"


@given(actors, verbs, targets, rules)
def test_of_a_dissolved_group_members_can_only_go(
    actor: Standing, verb: Verb, target: Role | None, given_rules: GroupRules
) -> None:
    over = replace(given_rules, dissolved=True)
    if actor is not None:
        assert (may(actor, verb, target, over) is None) is (verb is Verb.LEAVE)


@given(verbs, targets, rules)
def test_a_read_only_member_can_only_go(verb: Verb, target: Role | None, given_rules: GroupRules) -> None:
    if verb not in (Verb.LEAVE, Verb.JOIN):
        assert may(Role.READONLY, verb, target, given_rules) is not None


@given(rules)
def test_the_owner_leaves_last_only(given_rules: GroupRules) -> None:
    going = replace(given_rules, dissolved=False)
    refusal = may(Role.OWNER, Verb.LEAVE, Role.MEMBER, going)
    assert refusal is not None
    assert refusal.code == "owner_must_transfer"
    assert may(Role.OWNER, Verb.LEAVE, None, going) is None
    assert may(Role.ADMIN, Verb.LEAVE, Role.MEMBER, going) is None


@pytest.mark.parametrize(
    ("actor", "role", "invite", "allowed"),
    [
        (Role.MEMBER, Role.MEMBER, Invite.MEMBERS, True),
        (Role.MEMBER, Role.MEMBER, Invite.ADMINS, False),
        (Role.MEMBER, Role.ADMIN, Invite.MEMBERS, False),
        (Role.ADMIN, Role.ADMIN, Invite.ADMINS, False),
        (Role.ADMIN, Role.READONLY, Invite.ADMINS, True),
        (Role.OWNER, Role.ADMIN, Invite.ADMINS, True),
        (Role.OWNER, Role.OWNER, Invite.ADMINS, False),
        (BUSINESS, Role.OWNER, Invite.ADMINS, True),
    ],
)
def test_who_brings_in_whom(actor: Standing, role: Role, invite: Invite, allowed: bool) -> None:
    assert (may(actor, Verb.INVITE, role, GroupRules(invite=invite)) is None) is allowed


@pytest.mark.parametrize("kind", [ConversationKind.DIRECT, ConversationKind.INBOX])
def test_only_groups_and_threads_are_changed(kind: ConversationKind) -> None:
    for verb in set(Verb) - {Verb.PIN}:
        refusal = may(BUSINESS, verb, Role.MEMBER, GroupRules(kind=kind))
        assert refusal is not None
        assert refusal.code == "not_a_group"
    assert (may(Role.MEMBER, Verb.PIN, None, GroupRules(kind=kind)) is None) is (
        kind is ConversationKind.DIRECT
    )


def test_the_higher_role() -> None:
    assert higher(Role.MEMBER, Role.ADMIN) is Role.ADMIN
    assert higher(Role.OWNER, Role.READONLY) is Role.OWNER


@given(st.integers(0, 60), st.integers(2, 20), st.sampled_from(Fanout))
def test_the_fan_out_changes_above_the_limit_and_below_half_of_it(
    members: int, limit: int, now: Fanout
) -> None:
    then = fanout_of(now, members, limit)
    assert fanout_of(then, members, limit) is then
    if members > limit:
        assert then is Fanout.READ
    elif members * 2 < limit:
        assert then is Fanout.WRITE
    else:
        assert then is now


def a_draft(*, kind: str = "text", control: bool = False, as_member: bool = True) -> Draft:
    return Draft(
        id=MessageId("msg_1"),
        app=AppId("app"),
        sender=ALICE,
        sender_id="alice",
        to=ToConversation(ConversationId("cnv_1")),
        kind=kind,
        body="{}",
        created_at=NOW,
        as_member=as_member,
        control=control,
    )


def in_a_group(role: Role, speech: Speech, fanout: Fanout) -> tuple[Conversation, Membership]:
    """The same standing, as a write-diffused conversation and as a membership tell of it."""
    leading = role in (Role.OWNER, Role.ADMIN) and speech.silenced
    whole = replace(speech, leaders=frozenset([ALICE] if leading else []))
    told = whole if fanout is Fanout.WRITE else replace(whole, leaders=frozenset(), silenced_until={})
    conversation = Conversation(
        id=ConversationId("cnv_1"),
        app=AppId("app"),
        kind=ConversationKind.GROUP,
        fanout=fanout,
        version=1,
        members=(ALICE,) if fanout is Fanout.WRITE else (),
        readonly=frozenset([ALICE] if role is Role.READONLY and fanout is Fanout.WRITE else []),
        speech=told,
    )
    return conversation, Membership(role, 0, 0, silenced_until=speech.silenced_until.get(ALICE))


@pytest.mark.parametrize("fanout", Fanout)
@pytest.mark.parametrize(
    ("role", "speech", "code"),
    [
        (Role.MEMBER, Speech(), None),
        (Role.READONLY, Speech(), "read_only"),
        (Role.MEMBER, Speech(silenced=True), "group_silenced"),
        (Role.ADMIN, Speech(silenced=True), None),
        (Role.OWNER, Speech(silenced=True), None),
        (Role.MEMBER, Speech(silenced_until={ALICE: NOW + timedelta(seconds=1)}), "member_silenced"),
        (Role.ADMIN, Speech(silenced_until={ALICE: NOW + timedelta(seconds=1)}), "member_silenced"),
        (Role.MEMBER, Speech(silenced_until={ALICE: NOW}), None),
        (Role.OWNER, Speech(dissolved=True), "conversation_dissolved"),
    ],
)
def test_who_speaks_is_the_same_however_messages_are_diffused(
    fanout: Fanout, role: Role, speech: Speech, code: str | None
) -> None:
    conversation, membership = in_a_group(role, speech, fanout)
    refusal = speech_refusal(a_draft(), conversation, membership)
    assert (refusal.code if refusal else None) == code


@pytest.mark.parametrize("fanout", Fanout)
def test_silence_says_when_it_ends(fanout: Fanout) -> None:
    until = NOW + timedelta(hours=1)
    conversation, membership = in_a_group(Role.MEMBER, Speech(silenced_until={ALICE: until}), fanout)
    refusal = speech_refusal(a_draft(), conversation, membership)
    assert refusal is not None
    assert until.isoformat() in refusal.detail


def test_a_business_system_speaks_unless_the_group_is_over() -> None:
    conversation, _ = in_a_group(Role.MEMBER, Speech(silenced=True), Fanout.WRITE)
    assert speech_refusal(a_draft(as_member=False), conversation, None) is None
    over, _ = in_a_group(Role.MEMBER, Speech(dissolved=True), Fanout.WRITE)
    refusal = speech_refusal(a_draft(as_member=False), over, None)
    assert refusal is not None
    assert refusal.code == "conversation_dissolved"


def test_notices_pass_everything_and_a_recall_passes_silence() -> None:
    over, _ = in_a_group(Role.MEMBER, Speech(dissolved=True), Fanout.WRITE)
    assert speech_refusal(a_draft(kind="notice", control=True, as_member=False), over, None) is None
    silent, membership = in_a_group(Role.MEMBER, Speech(silenced=True), Fanout.WRITE)
    assert speech_refusal(a_draft(kind="recall", control=True), silent, membership) is None
    refusal = speech_refusal(a_draft(kind="recall"), silent, membership)
    assert refusal is not None
