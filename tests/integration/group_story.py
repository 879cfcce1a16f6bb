"""A history of groups on real nodes beside the history that was promised, and where the two must agree."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from itertools import count
from typing import Any

from hub.core.conversation import Role
from hub.core.errors import HubError, Unavailable
from hub.core.message import Accepted, UserKey
from hub.core.records import MemberRecord
from tests.integration.group_ledger import Ledger
from tests.integration.group_ops import RANKS, Before, Done, Op, Sent
from tests.integration.groups_of_test import At, Nodes
from tests.support.chat_model import GONE, Group, Said
from tests.support.mortal import Cut, Died, Node

CHANGES = {"add", "remove", "leave", "role", "silence", "hush", "dissolve"}
_PATIENCE = 5


class Story(Ledger):
    """What has happened so far. Each verb does something on the nodes, looks at the outcome and takes note of it."""

    def __init__(self, nodes: Nodes, limit: int) -> None:
        super().__init__(nodes, limit)
        self._numbers = count(1)

    # What is done

    async def found(self, owner: UserKey, others: Sequence[UserKey], place: int) -> None:
        """A new group."""
        group = Group(await self.at(place).found(owner, others))
        self.groups.append(group)
        await self.note(group)
        for user in (owner, *others):
            group.came(user, Role.OWNER if user == owner else Role.MEMBER, 0)
        group.fanout = (await self.at(place).view(group.id, None)).record.fanout.value
        await self.agree_on_members(group)

    async def act(
        self, number: int, ops: Sequence[Op], *, dying: tuple[int, Cut] | None = None
    ) -> list[Done]:
        """All of these at once. With `dying` that node dies where it is told to, and another takes its place."""
        number %= len(self.groups)
        group = self.groups[number]
        before = Before(group)
        doing = [asyncio.ensure_future(self._do(number, op)) for op in ops]
        if dying is not None:
            await self._die(self.nodes.alive[dying[0]], dying[1], doing)
        done = [await each for each in doing]
        if dying is not None:
            await self._replace(dying[0])
        await self.settle(group, before, done)
        return done

    async def say_again(self, client_msg_id: str, place: int) -> None:
        """The same once more, as after an answer that was lost."""
        sent = self.sent[client_msg_id]
        group = self.groups[sent.group]
        before = Before(group)
        op = Op("say", sent.user, place)
        answer = await self._caught(self.at(place).say(group.id, sent.user, client_msg_id, sent.text))
        if sent.accepted is not None:
            assert isinstance(answer, Accepted)
            assert (answer.message, answer.seq) == (sent.accepted.message, sent.accepted.seq)
            assert answer.duplicate
        elif isinstance(answer, Accepted):
            sent.accepted = answer
        await self.settle(group, before, [Done(op, answer, client_msg_id)], again=True)

    async def _do(self, number: int, op: Op) -> Done:
        group, at = self.groups[number], self.at(op.node)
        match op.what:
            case "say":
                n = next(self._numbers)
                key, text = f"c{n}", f"{self.nodes.town.app}-{n}-said"
                sent = self.sent[key] = Sent(number, op.user, text)
                answer = await self._said_until_answered(at, group, op.user, key, text)
                if isinstance(answer, Accepted):
                    sent.accepted = answer
                return Done(op, answer, key)
            case "add":
                answer = await self._caught(at.add(group.id, [op.user, *op.also], op.role, op.by))
            case "remove":
                answer = await self._caught(at.remove(group.id, op.user, op.by))
            case "leave":
                answer = await self._caught(at.leave(group.id, op.user))
            case "role":
                answer = await self._caught(at.role(group.id, op.user, op.role, op.by))
            case "silence":
                answer = await self._caught(at.silence(group.id, op.user, op.on))
            case "hush":
                answer = await self._caught(at.hush(group.id, op.on))
            case "dissolve":
                answer = await self._caught(at.dissolve(group.id))
            case "recall" | "edit" | "react" if op.message is not None:
                answer = await self._rework(group, at, op, op.message)
            case _:
                raise AssertionError(op)
        return Done(op, answer)

    async def _said_until_answered(self, at: At, group: Group, user: UserKey, key: str, text: str) -> Any:
        """As a client does that hears 503: the same again, under the same id."""
        answer: Any = None
        for _ in range(_PATIENCE):
            answer = await self._caught(at.say(group.id, user, key, text))
            if not isinstance(answer, Unavailable):
                return answer
        return answer

    async def _rework(self, group: Group, at: At, op: Op, message: str) -> Any:
        said = group.by_id(message)
        if op.what == "recall":
            return await self._caught(at.recall(message, op.user))
        if op.what == "react":
            return await self._caught(at.react(message, op.user, "👍", op.on))
        text = f"{self.nodes.town.app}-{next(self._numbers)}-edited"
        said.texts.append(text)
        answer = await self._caught(at.edit(message, op.user, text))
        if isinstance(answer, Accepted):
            self.edits[text] = (said, answer.seq)
        return answer

    async def _caught(self, work: Awaitable[Any]) -> Any:
        try:
            return await work
        except (HubError, Died) as error:
            return error

    async def _die(self, node: Node, cut: Cut, doing: Sequence[asyncio.Future[Done]]) -> None:
        node.cut(cut)
        reached = asyncio.ensure_future(node.cut_off.wait())
        finished = asyncio.ensure_future(asyncio.wait(doing))
        both: list[asyncio.Future[Any]] = [reached, finished]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        await node.die()
        reached.cancel()
        await finished

    async def _replace(self, place: int) -> None:
        for device in self.devices:
            if device.node == self.nodes.alive[place].name:
                await self.nodes.disconnect(device)
        await self.nodes.start(place)

    async def read(self, number: int, user: UserKey, seq: int, place: int) -> None:
        """Somebody has read so far."""
        group = self.groups[number]
        await self.at(place).read(group.id, user, seq)
        if user in group.roles:
            group.read[user] = max(group.read[user], min(seq, group.top))

    # What came of it

    async def settle(
        self, group: Group, before: Before, done: Sequence[Done], *, again: bool = False
    ) -> None:
        """Take the outcome into the model, and say where it is none that was promised."""
        self.news += 1
        at = self.at(0)
        members = await at.members(group.id)
        fanout = (await at.view(group.id, None)).record.fanout.value
        if members and len(members) > self.limit:
            assert fanout == "read"
        elif (
            members and len(members) * 2 < self.limit and len(done) == 1 and done[0].op.about and done[0].done
        ):
            assert fanout == "write"
        most = len(before.roles) + sum(len(each.op.about) for each in done if each.op.what == "add")
        sure = before.fanout == fanout == "write" and most <= self.limit
        new = await self.note(group, sure=sure)
        for each in done:
            for user in each.op.about:
                self._moved(group, before, user, members.get(user), each)
            self._changed(group, before, each, alone=len(done) == 1)
        self._inherited(group, members)
        group.fanout = fanout
        self._told(group, new)
        concerned = {user for each in done for user in each.op.about}
        for each in done:
            if each.op.what == "say":
                self._spoke(group, before, each, quiet=again or each.op.user in concerned)
        self._compare_members(group, members)

    def _moved(
        self, group: Group, before: Before, user: UserKey, record: MemberRecord | None, each: Done
    ) -> None:
        """One change of one user at a time: else nobody could say what should come of it."""
        was = user in before.roles
        now = was
        if each.unknown:
            now = record is not None
        elif each.done:
            now = each.op.what == "add" or (each.op.what == "role" and was)
        assert now == (record is not None), (each, was, record)
        if record is None:
            if was:
                group.went(user, before.top, group.top)
                (group.barred.add if each.op.what == "remove" else group.barred.discard)(user)
            return
        group.barred.discard(user)
        if not was:
            assert before.top <= record.joined_seq <= group.top, (each, before.top, record, group.top)
            group.came(user, record.role, record.joined_seq)
        if each.unknown:
            assert record.role in (group.roles[user], each.op.role)
            group.roles[user] = record.role
        elif each.done and each.op.what == "role" and each.op.role is Role.OWNER:
            for other, role in before.roles.items():
                if role is Role.OWNER and other in group.roles:
                    group.roles[other] = Role.ADMIN
            group.roles[user] = Role.OWNER
        elif each.done:
            group.roles[user] = each.op.role
        if group.roles[user] is Role.OWNER:
            group.silenced.discard(user)

    def _changed(self, group: Group, before: Before, each: Done, *, alone: bool) -> None:
        """What else a change does; and, where nothing else was going on, whether it was to be refused."""
        op = each.op
        if each.done:
            match op.what:
                case "silence":
                    (group.silenced.add if op.on else group.silenced.discard)(op.user)
                case "hush":
                    group.silent = op.on
                case "dissolve":
                    group.dissolved = True
                case "recall" if op.message is not None:
                    group.by_id(op.message).recalled = True
                case "edit" if op.message is not None:
                    said = group.by_id(op.message)
                    edits = [(seq, text) for text, (other, seq) in self.edits.items() if other is said]
                    said.text = max(edits)[1]
        if alone and not each.unknown and op.what in CHANGES:
            assert each.done == before.may(op), (each, before.roles)

    def _inherited(self, group: Group, members: Mapping[UserKey, MemberRecord]) -> None:
        """Where the owner has gone, one of those who are highest now owns the group; without anybody it is over."""
        if not group.roles:
            group.dissolved = True
        if not group.roles or Role.OWNER in group.roles.values():
            return
        heir = next(user for user, record in members.items() if record.role is Role.OWNER)
        best = min(RANKS.index(role) for role in group.roles.values())
        assert RANKS.index(group.roles[heir]) == best, (heir, group.roles)
        group.roles[heir] = Role.OWNER
        group.silenced.discard(heir)

    def _told(self, group: Group, new: Sequence[Said]) -> None:
        """Who has gone was certainly gone when the others heard of it."""
        for said in new:
            for user, periods in group.periods.items():
                if (
                    said.event in GONE
                    and self.nodes.town.users[user] in said.users
                    and user not in group.roles
                ):
                    last = periods[-1]
                    last.left_at_most = min(last.left_at_most or said.seq, said.seq)

    def _spoke(self, group: Group, before: Before, each: Done, *, quiet: bool) -> None:
        could, can = before.may_speak(each.op.user), group.may_speak(each.op.user)
        if each.unknown or quiet:
            return
        if could and can:
            assert isinstance(each.answer, Accepted), each
            assert each.answer.seq > before.top
        elif not could and not can:
            assert each.refused, each


__all__ = ["Op", "Story"]
