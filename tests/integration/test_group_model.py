"""Groups against a model of what is promised of them, on two nodes that die, while Redis forgets or is away.

That it can fail was tried: without the fence of versions, with joined_seq 0, without publishing again, with a tail that
is believed when it does not know, without a raised version, or without telling who was taken out, it fails within ten
histories; where a recall leaves the text in an earlier edit, within fifty.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hub.core.conversation import Role
from hub.core.message import SeqKey, UserKey
from hub.settings import Settings
from hub.store.migrate import upgrade
from tests.integration.group_story import Op, Story
from tests.integration.groups_of_test import SECRET, Nodes, settle_town
from tests.integration.queue_of_test import another_life, back
from tests.services import RedisServer
from tests.support.client_model import Device
from tests.support.mortal import Cut, Owners, hasten

T = TypeVar("T")
LIMIT = 4
PEOPLE = 7
MOST_GROUPS = 2
MOST_DEVICES = 10
GRACE = timedelta(milliseconds=10)
EXAMPLES = os.environ.get("HUB_TEST_EXAMPLES")
"""A deep run: so many on each database, for as long as it takes."""
_PHASES = [phase for phase in Phase if phase not in (Phase.shrink, Phase.explain)]
"""What depends on which of two writers was first shrinks badly; HUB_TEST_SHRINK=1 tries."""
if os.environ.get("HUB_TEST_SHRINK"):
    _PHASES = list(Phase)
people = st.integers(0, PEOPLE - 1)
groups = st.integers(-MOST_GROUPS, -1)
"""The newest: those before them have ended, mostly."""
places = st.integers(0, 1)
sayings = st.lists(st.tuples(people, places), min_size=1, max_size=4)
_towns = count(1)


class GroupMachine(RuleBasedStateMachine):
    """Rules do things on the nodes; the story compares."""

    settings_: ClassVar[Settings]
    redis: ClassVar[RedisServer]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.failed = False
        """Nothing more is looked at: what is first to be found is what is told."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self.loop.run_until_complete(asyncio.wait_for(work, 40))
        except BaseException:
            self.failed = True
            raise

    @initialize(
        owner=people, others=st.sets(people, max_size=LIMIT), more=st.sets(people, max_size=LIMIT + 2)
    )
    def open(self, owner: int, others: set[int], more: set[int]) -> None:
        self.redis.flush()
        self.run(self._open())
        self._found(owner, others, 0)
        self._found(owner, more, 1)

    async def _open(self) -> None:
        town = await settle_town(self.settings_, f"t{next(_towns)}", PEOPLE)
        self.nodes = Nodes(self.settings_, town, Owners(self.loop))
        self.users = sorted(town.users)
        self.stack.push_async_callback(self.nodes.close)
        for _ in range(2):
            await self.nodes.start()
        self.story = Story(self.nodes, LIMIT)
        for user in self.users:
            self.nodes.devices.append(Device(f"{town.users[user]}-phone", user))
        for number, device in enumerate(self.nodes.devices[: PEOPLE - 2]):
            await self.nodes.connect(device, self.nodes.alive[number % 2])

    def _found(self, owner: int, others: set[int], place: int) -> None:
        rest = [self.users[other] for other in sorted(others) if other != owner]
        self.run(self.story.found(self.users[owner], rest, place))

    def _act(self, group: int, ops: list[Op], dying: tuple[int, Cut] | None = None) -> None:
        self.run(self.story.act(group, ops, dying=dying))

    def _says(self, words: list[tuple[int, int]]) -> list[Op]:
        return [Op("say", self.users[who], place) for who, place in words]

    # People

    @rule(group=groups, words=sayings)
    def some_speak(self, group: int, words: list[tuple[int, int]]) -> None:
        self._act(group, self._says(words))

    @rule(group=groups, words=sayings)
    def members_speak(self, group: int, words: list[tuple[int, int]]) -> None:
        """Chance alone would often pick those who may not."""
        members = sorted(self.story.groups[group].roles)
        if members:
            ops = [Op("say", members[who % len(members)], place) for who, place in words]
            self._act(group, ops)

    def _changes(self, group: int, who: list[int], place: int) -> list[Op]:
        """Each comes if not there, and goes if there; the owner stays."""
        roles = self.story.groups[group].roles
        ops = []
        for user in (self.users[each] for each in dict.fromkeys(who)):
            if user not in roles:
                ops.append(Op("add", user, place))
            elif roles[user] is not Role.OWNER:
                ops.append(Op("leave" if user % 2 else "remove", user, place))
        return ops

    @rule(group=groups, who=st.lists(people, min_size=1, max_size=3), words=sayings, place=places)
    def some_come_and_go_while_others_speak(
        self, group: int, who: list[int], words: list[tuple[int, int]], place: int
    ) -> None:
        says, changes = self._says(words), self._changes(group, who, place)
        mixed = [op for pair in zip(says, changes, strict=False) for op in pair]
        self._act(group, mixed + [op for op in says + changes if op not in mixed])

    @rule(group=groups, who=people, place=places)
    def one_comes_or_goes(self, group: int, who: int, place: int) -> None:
        self._act(group, self._changes(group, [who], place))

    @rule(group=groups, words=sayings, place=places, leave=st.integers(0, 1))
    def a_crowd_comes_or_goes(self, group: int, words: list[tuple[int, int]], place: int, leave: int) -> None:
        """Over the threshold or back, while some speak."""
        story = self.story.groups[group]
        others = [user for user in self.users if story.roles.get(user) is not Role.OWNER]
        if len(story.roles) <= LIMIT:
            new = [user for user in others if user not in story.roles]
            ops = [Op("add", new[0], place, also=tuple(new[1:]))]
        else:
            going = [user for user in others if user in story.roles][leave:]
            ops = [Op("remove", user, place) for user in going]
        says = self._says(words)
        self._act(group, says[:1] + ops + says[1:])

    @rule(group=groups, who=people, role=st.sampled_from(list(Role)), place=places)
    def a_role_changes(self, group: int, who: int, role: Role, place: int) -> None:
        self._act(group, [Op("role", self.users[who], place, role)])

    @rule(
        group=groups,
        who=people,
        by=people,
        what=st.sampled_from(["add", "remove", "role"]),
        role=st.sampled_from([Role.MEMBER, Role.ADMIN, Role.OWNER]),
        place=places,
    )
    def somebody_tries_what_may_be_forbidden(
        self, group: int, who: int, by: int, what: str, role: Role, place: int
    ) -> None:
        roles = self.story.groups[group].roles
        user, doer = self.users[who], self.users[by]
        if what == "add" and (user in roles or role is Role.OWNER):
            role = Role.MEMBER
        if user != doer and not (what == "add" and user in roles):
            self._act(group, [Op(what, user, place, role, by=doer)])

    @rule(group=groups, what=st.sampled_from(["remove", "leave"]), place=places)
    def the_owner_goes(self, group: int, what: str, place: int) -> None:
        owners = [user for user, role in self.story.groups[group].roles.items() if role is Role.OWNER]
        for owner in owners:
            self._act(group, [Op(what, owner, place)])

    @rule(group=groups, who=people, on=st.booleans(), place=places, words=sayings)
    def a_member_is_silenced_or_not(
        self, group: int, who: int, on: bool, place: int, words: list[tuple[int, int]]
    ) -> None:
        user = self.users[who]
        self._act(group, [Op("silence", user, place, on=on)])
        self._act(group, [Op("say", user, 1 - place), *self._says(words)])

    @rule(group=groups, on=st.booleans(), place=places, words=sayings)
    def a_group_is_silenced_or_not(
        self, group: int, on: bool, place: int, words: list[tuple[int, int]]
    ) -> None:
        self._act(group, [*self._says(words), Op("hush", self.users[0], place, on=on)])
        self._act(group, self._says(words))

    @precondition(lambda self: len(self.story.groups) < 5)
    @rule(group=groups, place=places, owner=people, others=st.sets(people, max_size=LIMIT + 1))
    def a_group_ends_and_another_begins(self, group: int, place: int, owner: int, others: set[int]) -> None:
        """In its place: of those that are over, nothing more is asked."""
        self._act(group, [Op("say", self.users[owner], place), Op("dissolve", self.users[0], 1 - place)])
        self._act(group, self._says([(owner, place)]))
        self._found(owner, others, place)

    @rule(group=groups, who=people, share=st.floats(0, 1.2), place=places)
    def somebody_reads(self, group: int, who: int, share: float, place: int) -> None:
        seq = round(share * self.story.groups[group].top)
        self.run(self.story.read(group, self.users[who], seq, place))

    @precondition(lambda self: self.story.sent)
    @rule(data=st.data(), place=places)
    def a_message_is_sent_again(self, data: st.DataObject, place: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.story.sent)))
        self.run(self.story.say_again(key, place))

    @rule(
        group=groups,
        which=st.integers(0, 30),
        works=st.lists(st.sampled_from(["recall", "edit", "react"]), min_size=1, max_size=3),
        by=st.one_of(st.none(), people),
        on=st.booleans(),
    )
    def a_message_is_changed(
        self, group: int, which: int, works: list[str], by: int | None, on: bool
    ) -> None:
        """By its author, or by somebody; several at once."""
        log = self.story.groups[group].log.values()
        said = [s for s in log if not s.control and s.sender is not None and s.sender in self.users]
        if said:
            it = said[-1 - which % len(said)]
            user = it.sender if by is None or it.sender is None else self.users[by]
            assert user is not None
            self._act(group, [Op(what, user, n, message=it.id, on=on) for n, what in enumerate(works)])

    # Devices

    @rule(which=st.integers(0, MOST_DEVICES - 1), place=places)
    def a_device_comes_or_goes(self, which: int, place: int) -> None:
        device = self.nodes.devices[which % len(self.nodes.devices)]
        if device.node is None:
            self.run(self._connect(device, place))
        else:
            self.run(self.nodes.disconnect(device))

    async def _connect(self, device: Device, place: int) -> None:
        await self.nodes.connect(device, self.nodes.alive[place])
        at = self.story.at(place)
        await device.sync(at, limit=20)
        await device.refresh(at, limit=20)

    @precondition(lambda self: len(self.nodes.devices) < MOST_DEVICES)
    @rule(who=people, place=places)
    def somebody_has_a_new_device(self, who: int, place: int) -> None:
        device = Device(f"u{who}-new-{len(self.nodes.devices)}", self.users[who])
        self.nodes.devices.append(device)
        self.run(self._connect(device, place))

    @rule(
        which=st.integers(0, MOST_DEVICES - 1), place=places, limit=st.integers(1, 5), pages=st.integers(1, 3)
    )
    def a_device_syncs(self, which: int, place: int, limit: int, pages: int) -> None:
        device = self.nodes.devices[which % len(self.nodes.devices)]
        self.run(device.sync(self.story.at(place), limit=limit, pages=pages))

    @rule(place=places)
    def devices_look_at_what_they_got(self, place: int) -> None:
        for device in self.nodes.devices:
            if device.node is not None:
                self.run(device.look(self.story.at(place)))

    # Trouble

    @rule(
        group=groups,
        place=places,
        cut=st.sampled_from(list(Cut)),
        words=sayings,
        who=st.lists(people, max_size=2),
        again=st.booleans(),
    )
    def a_node_dies(
        self, group: int, place: int, cut: Cut, words: list[tuple[int, int]], who: list[int], again: bool
    ) -> None:
        ops = self._says(words) + self._changes(group, who, place)
        known = set(self.story.sent)
        self._act(group, ops, (place, cut))
        if again:
            for key in sorted(set(self.story.sent) - known):
                self.run(self.story.say_again(key, 1 - place))

    @rule(place=places)
    def a_node_turns_deaf_or_hears_again(self, place: int) -> None:
        node = self.nodes.alive[place]
        node.deaf = not node.deaf

    @rule()
    def redis_forgets_everything(self) -> None:
        self.redis.flush()

    @rule()
    def redis_restarts(self) -> None:
        another_life(self.redis)

    @rule(group=groups, words=sayings, who=st.lists(people, max_size=2), place=places)
    def redis_is_away_for_a_moment(
        self, group: int, words: list[tuple[int, int]], who: list[int], place: int
    ) -> None:
        for node in self.nodes.alive:
            node.redis_away(True)
        self._act(group, self._says(words) + self._changes(group, who, place))
        for node in self.nodes.alive:
            node.redis_away(False)
            self.run(back(node.hub.link))

    @rule(group=groups, some=st.integers(1, 2), place=places)
    def a_writer_dies_with_numbers_in_hand(self, group: int, some: int, place: int) -> None:
        story = self.story.groups[group]
        keys = [SeqKey.of_conversation(story.id), *(SeqKey.of_user(UserKey(user)) for user in story.roles)]
        node = self.nodes.alive[place]
        self.run(node.own(node.hub.engine.numbering.draw(dict.fromkeys(keys, some))))

    @precondition(lambda self: self.story.news)
    @rule()
    def everything_is_looked_at(self) -> None:
        self.run(self.story.check())

    @invariant()
    def every_device_has_everything_in_order_and_once(self) -> None:
        if hasattr(self, "story"):
            self.story.orderly()

    def teardown(self) -> None:
        try:
            if hasattr(self, "story") and not self.failed:
                self.run(self.story.check())
                self.story.orderly()
        finally:
            self.run(self.stack.aclose())
            self.run(asyncio.sleep(0))
            self.loop.close()


def model_settings(directory: Path, database_url: str, redis: RedisServer) -> Settings:
    """Short graces, a threshold that is crossed often, everything else as shipped."""
    return Settings.model_validate(
        {
            "data_dir": directory,
            "database_url": database_url,
            "redis_url": redis.url,
            "secret_key": SECRET,
            "fanout_limit": LIMIT,
            "gap_grace": GRACE,
            "republish_after": timedelta(milliseconds=1),
            "sqlite_synchronous": "NORMAL",
        }
    )


def play(examples: int, steps: int) -> None:
    """So many histories of so many steps."""
    run_state_machine_as_test(
        GroupMachine,
        settings=settings(
            max_examples=int(EXAMPLES) if EXAMPLES else examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            phases=_PHASES,
        ),
    )


@pytest.mark.timeout(3600 if EXAMPLES else 300)
def test_groups_keep_their_promises(
    redis_server: RedisServer, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasten(monkeypatch)
    GroupMachine.redis = redis_server
    GroupMachine.settings_ = model_settings(tmp_path, database_url, redis_server)
    upgrade(GroupMachine.settings_)
    play(15 if database_url.startswith("sqlite") else 3, 20)
