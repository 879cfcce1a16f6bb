"""What is known of some groups, and where the nodes must agree with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select

from hub.core.conversation import Role
from hub.core.errors import NotFound
from hub.core.message import HistoryPage, Message, UserKey
from hub.core.records import MemberRecord
from hub.store.tables import metadata
from tests.integration.group_ops import Sent
from tests.integration.groups_of_test import At, Nodes
from tests.support.chat_model import GONE, Group, Said
from tests.support.client_model import Device
from tests.support.mortal import Node

OWN = {"notice", "recall", "edit", "reaction", "pin"}
"""What the hub itself says."""
_CATCH_UP = 15


class Ledger:
    """The model, and how it is compared with what is there."""

    def __init__(self, nodes: Nodes, limit: int) -> None:
        self.nodes = nodes
        self.limit = limit
        self.groups: list[Group] = []
        self.devices: list[Device] = nodes.devices
        self.sent: dict[str, Sent] = {}
        self.edits: dict[str, tuple[Said, int]] = {}
        """What a message said after an edit, and the number of the edit."""
        self.news = 0
        """Things done since everything was looked at."""

    def at(self, place: int) -> At:
        """A node by its place."""
        return At(self.nodes.alive[place % len(self.nodes.alive)], self.nodes.town, self.nodes)

    async def note(self, group: Group, *, sure: bool = False) -> list[Said]:
        """Take into the model what has come into the log."""
        messages = {message.seq: message for message in await self.at(0).log(group.id)}
        for seq, said in group.log.items():
            assert messages[seq].id == said.id, f"{said} is not there any more"
        new = [self._said(group, messages[seq], sure) for seq in sorted(messages.keys() - group.log.keys())]
        for key, sent in self.sent.items():
            if sent.accepted is not None and self.groups[sent.group] is group:
                kept = group.log.get(sent.accepted.seq)
                assert kept is not None, f"{key} was acknowledged and is not there"
                assert kept.id == sent.accepted.message
        return new

    def _said(self, group: Group, message: Message, sure: bool) -> Said:
        users: frozenset[str] = frozenset()
        event = None
        sent = self.sent.get(message.client_msg_id or "")
        if message.control:
            assert message.kind in OWN, message
            body = json.loads(message.body)
            users = frozenset(body.get("users") or ())
            event = body.get("event")
        else:
            assert sent is not None, f"nobody has said {message}"
            assert self.groups[sent.group] is group
            assert sent.user == message.sender
            assert all(said.id != message.id for said in group.log.values())
        text = None if sent is None else sent.text
        said = Said(
            message.id,
            message.seq,
            message.sender,
            message.kind,
            message.control,
            text,
            sure,
            texts=[] if text is None else [text],
            users=users,
            event=event,
        )
        group.log[message.seq] = said
        return said

    async def agree_on_members(self, group: Group) -> None:
        """Members, roles and read marks are as the model has them."""
        self._compare_members(group, await self.at(0).members(group.id))

    def _compare_members(self, group: Group, members: Mapping[UserKey, MemberRecord]) -> None:
        assert {user: record.role for user, record in members.items()} == group.roles
        assert {user: record.read_seq for user, record in members.items()} == group.read
        assert {user: record.joined_seq for user, record in members.items()} == {
            user: group.periods[user][-1].joined for user in group.roles
        }
        if members:
            assert [r.role for r in members.values()].count(Role.OWNER) == 1

    # Checks

    async def check(self) -> None:
        """Once everything has been mended and everybody has looked, all promises hold."""
        self.news = 0
        await self.heal()
        for group in self.groups:
            await self.note(group)
            await self.agree_on_members(group)
        for number, device in enumerate(self.devices):
            await self._catch_up(device, self.at(number))
        for number, group in enumerate(self.groups):
            await self._check_views(group, self.at(number))
            for device in self.devices:
                self._check_device(group, device)
        await self._check_published()
        await self._check_recalled()

    async def heal(self) -> None:
        """Redis is there, everybody hears, and whoever sweeps has swept."""
        for node in self.nodes.alive:
            node.deaf = False
            node.redis_away(False)
        for node in self.nodes.alive:
            async with asyncio.timeout(_CATCH_UP):
                await node.own(self._swept(node))

    async def _swept(self, node: Node) -> None:
        while not node.hub.link.available:  # it looks again at its next call
            await asyncio.sleep(0.005)
        await node.hub.engine.publisher.idle()
        await node.hub.engine.publisher.flush_marks()
        await node.hub.sweep(limit=100)

    async def _catch_up(self, device: Device, at: At) -> None:
        try:
            await self._follow(device, at)
        except TimeoutError:
            head = await at.node.own(at.node.hub.engine.head(device.user))
            tops = {id_: chat.top for id_, chat in device.chats.items()}
            news = {group.id: group.top for group in self.groups}
            message = f"{device.name} at {device.cursor} of {head} does not get on: {tops}, {news}"
            raise AssertionError(message) from None

    async def _follow(self, device: Device, at: At) -> None:
        async with asyncio.timeout(_CATCH_UP):
            await device.look(at)
            while True:
                await device.sync(at, limit=50)
                head = await at.node.own(at.node.hub.engine.head(device.user))
                if device.cursor >= head:
                    break
                await asyncio.sleep(0.01)
                await at.node.own(at.node.hub.engine.close_gaps())
            await device.refresh(at, limit=50)
            for group in self.groups:  # a gap may have ended the page: close it, and pull on
                newest = max((said.seq for said in group.visible(device.user)), default=0)
                while group.id in await at.rooms(device.user) and device.chat(group.id).top < newest:
                    await asyncio.sleep(0.01)
                    await at.node.own(at.node.hub.engine.close_gaps())
                    await device.pull(at, group.id, limit=50)

    def orderly(self) -> None:
        """At any time: every conversation in order, nothing twice."""
        for device in self.devices:
            for chat in device.chats.values():
                assert all(one < two for one, two in zip(chat.order, chat.order[1:], strict=False)), (
                    f"{device.name}: {chat.order}"
                )

    def _check_device(self, group: Group, device: Device) -> None:
        name = self.nodes.town.users[device.user]
        chat = device.chat(group.id)
        for id_, seen in chat.seen.items():
            said = group.log.get(seen.seq)
            assert said is not None, f"{device.name} has {seen}, which is not there"
            assert said.id == id_
            assert group.allowed(device.user, name, said), f"{device.name} has {said}, {group.periods}"
        has = {seen.seq for seen in chat.seen.values()}
        missing = {s.seq for s in group.log.values() if s.event in GONE and name in s.users} - has
        assert not missing, f"{device.name} was not told that it was over: {sorted(missing)}"
        missing = group.owed(device.user) - has
        assert not missing, (
            f"{device.name} lacks {sorted(missing)} of {group.id}: {group.periods[device.user]}"
        )
        queued = {seen.seq for seen in chat.seen.values() if seen.queued}
        missing = group.referenced(device.user) - queued
        assert not missing, f"{device.name} had to pull {sorted(missing)}: {group.periods[device.user]}"
        if device.user in group.roles:
            for said in group.visible(device.user):
                self._same(device.name, said, *_shown(chat.seen[said.id]))

    def _same(self, who: str, said: Said, kind: str, body: str) -> None:
        if said.recalled:
            assert kind == "recalled", (who, said, kind)
            assert not any(text in body for text in said.texts), (who, said, body)
        elif said.text is not None:
            assert json.loads(body) == {"text": said.text}, (who, said, body)

    async def _check_views(self, group: Group, at: At) -> None:
        for user in self.nodes.town.users:
            page = await self._history(at, group, user)
            if user not in group.roles:
                assert page is None, f"{user} reads {group.id}"
                continue
            assert page is not None
            visible = group.visible(user)
            shown = [message.seq for message in page.messages]
            assert shown == [said.seq for said in visible], (user, page, group.periods[user])
            for said, message in zip(visible, page.messages, strict=True):
                self._same("history", said, message.kind, message.body)
            view = await at.view(group.id, user)
            assert view.mine is not None
            assert view.mine.unread == group.unread(user), (user, view, group.read[user], group.log)
            last = next((said for said in reversed(visible) if not said.control), None)
            assert (view.last and view.last.id) == (last and last.id)
        if self.nodes.town.users.keys() - group.roles.keys():
            outsider = next(iter(self.nodes.town.users.keys() - group.roles.keys()))
            try:
                await at.view(group.id, outsider)
            except NotFound:
                return
            raise AssertionError("who is no member sees it")

    async def _history(self, at: At, group: Group, user: UserKey) -> HistoryPage | None:
        async with asyncio.timeout(_CATCH_UP):
            while True:
                page = await at.history(user, group.id, 0, 1_000)
                if page is None or page.gap is None:
                    return page
                await asyncio.sleep(0.01)
                await at.node.own(at.node.hub.engine.close_gaps())

    async def _check_published(self) -> None:
        t = metadata.tables["publish_batch"]
        query = select(func.count()).select_from(t).where(t.c.published.is_(False))
        async with asyncio.timeout(_CATCH_UP):
            while True:
                for node in self.nodes.alive:
                    await node.own(self._swept(node))
                node = self.nodes.alive[0]
                ((left,),) = await node.own(node.hub.store.database.rows(query))
                if not left:
                    return
                await asyncio.sleep(0.005)

    async def _check_recalled(self) -> None:
        """What was taken back is nowhere in the database."""
        gone = {text for group in self.groups for s in group.log.values() if s.recalled for text in s.texts}
        node = self.nodes.alive[0]
        for table in metadata.sorted_tables if gone else ():
            mine = select(table)
            if "app_id" in table.c:
                mine = mine.where(table.c.app_id == self.nodes.town.app)
            rows = await node.own(node.hub.store.database.rows(mine))
            found = [(text, row) for row in rows for text in gone if text in repr(row)]
            assert not found, (table.name, found)


def _shown(seen: Any) -> tuple[str, str]:
    return seen.kind, seen.body
