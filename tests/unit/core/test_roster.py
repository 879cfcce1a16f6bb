"""Who a draft goes to, while conversations change and are forgotten between two waits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import cast

import pytest

from hub.core.conversation import Conversation, ConversationKind, Fanout, Membership, Role, Speech
from hub.core.errors import NotFound
from hub.core.groups import GroupStore
from hub.core.message import AppId, ConversationId, Draft, MessageId, ToConversation, UserKey
from hub.core.roster import Resolved, Roster
from hub.store.memory import MemoryStore

APP = AppId("app_1")
ANN, BOB, EVE = UserKey(1), UserKey(2), UserKey(3)
CROWD, GROUP, THREAD = map(ConversationId, ("cnv_crowd", "cnv_group", "cnv_thread"))


class WatchedStore(MemoryStore):
    """The memory store; `meanwhile` happens in every wait for an answer, after the store has been looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] = lambda: None
        self.put_conversation(
            _conversation(CROWD, Fanout.READ), memberships={ANN: Membership(Role.MEMBER, 0, 0)}
        )
        self.put_conversation(_conversation(GROUP, Fanout.WRITE, ANN, BOB))

    async def conversations(self, ids: Collection[ConversationId]) -> Mapping[ConversationId, Conversation]:
        """The answer is as old as the question."""
        found = await super().conversations(ids)
        self.meanwhile()
        return found

    async def membership(self, conversation: ConversationId, user: UserKey) -> Membership | None:
        """The answer is as old as the question."""
        found = await super().membership(conversation, user)
        self.meanwhile()
        return found


def _conversation(id_: ConversationId, fanout: Fanout, *members: UserKey) -> Conversation:
    return Conversation(id_, APP, ConversationKind.GROUP, fanout, 1, members)


def draft(to: ConversationId, sender: UserKey = ANN) -> Draft:
    return Draft(
        id=MessageId(f"msg_{to}_{sender}"),
        app=APP,
        sender=sender,
        sender_id=f"u{sender}",
        to=ToConversation(to),
        kind="text",
        body="{}",
        created_at=datetime.now(UTC),
    )


@pytest.mark.parametrize("known", [(), (GROUP,), (CROWD,), (CROWD, GROUP)])
async def test_what_is_forgotten_while_somebody_is_waited_for_is_no_refusal(
    known: tuple[ConversationId, ...],
) -> None:
    store = WatchedStore()
    roster = Roster(store)
    await roster.resolve([draft(conversation) for conversation in known])
    roster._speakers.clear()
    store.meanwhile = lambda: roster.forget([CROWD, GROUP])
    answers = await roster.resolve([draft(CROWD), draft(GROUP)])
    assert [isinstance(answer, Resolved) for answer in answers] == [True, True]


async def test_nor_is_what_did_not_fit_into_the_cache() -> None:
    roster = Roster(WatchedStore(), capacity=1)
    answers = await roster.resolve([draft(CROWD), draft(GROUP), draft(GROUP, BOB)])
    assert all(isinstance(answer, Resolved) for answer in answers)


async def test_who_came_after_the_cached_snapshot_is_not_refused() -> None:
    store = WatchedStore()
    roster = Roster(store)
    (refused,) = await roster.resolve([draft(GROUP, EVE)])
    assert isinstance(refused, NotFound)
    store.put_conversation(_conversation(GROUP, Fanout.WRITE, ANN, BOB, EVE))
    store.meanwhile = lambda: roster.forget([GROUP])
    (answer,) = await roster.resolve([draft(GROUP, EVE)])
    assert isinstance(answer, Resolved)
    assert answer.recipients == (ANN, BOB, EVE)


class OpenDoor:
    """Threads that anybody joins by speaking."""

    def __init__(self, store: WatchedStore) -> None:
        self._store = store

    async def join_open(self, app: AppId, conversation: ConversationId, users: Collection[UserKey]) -> None:
        """They are members from now on."""
        assert (app, conversation) == (APP, THREAD)
        members = dict.fromkeys(users, Membership(Role.MEMBER, 0, 0))
        self._store.put_conversation(_open_thread(2), memberships=members)


def _open_thread(version: int) -> Conversation:
    return Conversation(THREAD, APP, ConversationKind.THREAD, Fanout.READ, version, speech=Speech(open=True))


async def test_who_speaks_first_in_a_busy_open_thread_comes_in_whatever_others_change_meanwhile() -> None:
    store = WatchedStore()
    store.put_conversation(_open_thread(1), memberships={})
    roster = Roster(store, groups=cast("GroupStore", OpenDoor(store)))
    store.meanwhile = lambda: roster.forget([THREAD])
    (answer,) = await roster.resolve([draft(THREAD, EVE)])
    assert isinstance(answer, Resolved)


async def test_snapshots_are_bounded_by_their_members_too() -> None:
    store = WatchedStore()
    roster = Roster(store, members=10)
    groups = [ConversationId(f"cnv_{number}") for number in range(9)]
    for group in groups:
        store.put_conversation(_conversation(group, Fanout.WRITE, *map(UserKey, range(4))))
        (answer,) = await roster.resolve([draft(group)])
        assert isinstance(answer, Resolved)
        assert len(roster.recipients_hint(draft(group))) == 4, "the newest is kept"
        roster.forget([groups[0]])
    assert [group for group in groups if roster.recipients_hint(draft(group))] == groups[-2:]
    roster.forget(groups)
    assert roster._held == 0
