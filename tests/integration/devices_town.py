"""Users of a hub of two nodes who talk, change things, come and go, at random and all at once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import httpx2

from tests.integration.devices_of_test import SocketDevice
from tests.support.cluster import Cluster

ME: Final = "安娜"
OTHERS: Final = ["bob", "cat", "dan", "eve", "fay"]
BIG: Final = "big"
_REFUSALS: Final = {403, 404, 409, 410}


class Town:
    """The hub, its users, and what they do. `said` are messages that somebody may change."""

    def __init__(self, hub: Cluster, dice: random.Random) -> None:
        self.hub, self.dice = hub, dice
        self.tokens: dict[str, str] = {}
        self.rooms: dict[str, str] = {}
        self.directs: dict[str, str] = {}
        self.said: list[tuple[str, str, str, int]] = []
        """Room, sender, message, seq."""
        self.told: list[str] = []
        self.http = httpx2.AsyncClient(timeout=20)
        self.devices: list[SocketDevice] = []
        self.done: Counter[str] = Counter()
        self._number = 0

    async def begin(self) -> None:
        """Users, three groups, of which one is read-diffused."""
        for user in (ME, *OTHERS):
            made = await asyncio.to_thread(
                self.hub.request, "POST", f"{self.hub.url('a')}/v1/tokens", {"user": user}
            )
            self.tokens[user] = made["token"]
        for name, users in (("one", ["bob", ME, "cat"]), ("two", ["cat", "dan", ME]), (BIG, [*OTHERS, ME])):
            members = [{"user_id": u, "role": "owner" if n == 0 else "member"} for n, u in enumerate(users)]
            made = await self.key("POST", "/v1/conversations", {"title": name, "members": members})
            self.rooms[name] = made["id"]
        for user in ("bob", "dan"):
            made = await self.as_("POST", user, "/v1/messages", {"to": {"user": ME}, "body": "你好"})
            self.directs[user] = made["conversation"]

    async def key(self, method: str, path: str, body: object = None) -> Any:
        """With the API key, on either node."""
        return await asyncio.to_thread(self.hub.request, method, f"{self._base()}{path}", body)

    async def as_(self, method: str, user: str, path: str, body: object = None) -> Any:
        """As a user, on either node. None where it was refused."""
        headers = {"Authorization": f"Bearer {self.tokens[user]}"}
        answer = await self.http.request(method, f"{self._base()}{path}", json=body, headers=headers)
        if answer.status_code in _REFUSALS:
            return None
        if answer.status_code == 503:  # two writers of one file met, or a batch was in the way
            return await self.as_(method, user, path, body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def _base(self) -> str:
        return self.hub.url(self.dice.choice("ab"))

    def place(self) -> str:
        """A conversation of hers."""
        return self.dice.choice([*self.rooms.values(), *self.rooms.values(), *self.directs.values()])

    def speaker(self, place: str) -> str:
        """Somebody else who may be in it."""
        known = {id_: user for user, id_ in self.directs.items()}
        return known.get(place) or self.dice.choice(OTHERS)

    # what others do

    async def say(self) -> None:
        place = self.place()
        user = self.speaker(place)
        mentions = self.dice.choice([[], [], [ME], ["@all"], [ME, "bob"]])
        self._number += 1
        body = {"to": {"conversation": place}, "body": {"text": f"{self._number} 句"}}
        if place not in self.directs.values():
            body["mentions"] = mentions  # type: ignore[assignment]
        made = await self.as_("POST", user, "/v1/messages", body)
        if made is not None:
            self.said.append((place, user, made["id"], made["seq"]))

    async def edit(self, *, own: bool = False) -> None:
        one = self._pick(own=own)
        if one is not None:
            mentions = [ME] if self.dice.random() < 0.5 else []
            body = {"body": {"text": f"neu {self.dice.random()}"}, "mentions": mentions}
            await self.as_("PATCH", one[1], f"/v1/messages/{one[2]}", body)

    async def recall(self, *, own: bool = False) -> None:
        one = self._pick(own=own)
        if one is not None:
            await self.as_("DELETE", one[1], f"/v1/messages/{one[2]}")

    async def react(self, *, own: bool = False) -> None:
        one = self._pick(own=None)
        if one is not None:
            user = ME if own else self.speaker(one[0])
            await self.as_(self.dice.choice(["PUT", "DELETE"]), user, f"/v1/messages/{one[2]}/reactions/👍")

    async def pin_message(self) -> None:
        one = self._pick(own=None)
        if one is not None:
            user = self.speaker(one[0])
            await self.as_(self.dice.choice(["PUT", "DELETE"]), user, f"/v1/messages/{one[2]}/pin")

    async def come_or_go(self) -> None:
        """She is taken out or let in again, or somebody else is."""
        room = self.rooms[self.dice.choice(["one", "two", "two"])]
        user = self.dice.choice([ME, ME, "eve"])
        if self.dice.random() < 0.5:
            await self.key("POST", f"/v1/conversations/{room}/members", {"members": [{"user_id": user}]})
        elif self.dice.random() < 0.5:
            await self.as_("POST", user, f"/v1/conversations/{room}/leave", {})
        else:
            owner = "bob" if room == self.rooms["one"] else "cat"
            await self.as_("DELETE", owner, f"/v1/conversations/{room}/members/{user}")

    async def manage(self) -> None:
        """Title, announcement, silence, role, a new group."""
        name = self.dice.choice(["one", "two", BIG])
        room = self.rooms[name]
        path = f"/v1/conversations/{room}"
        owner = {"one": "bob", "two": "cat", BIG: "bob"}[name]
        match self.dice.randrange(6):
            case 0:
                await self.as_("PATCH", owner, path, {"title": f"{name} {self.dice.random():.3f}"})
            case 1:
                text = self.dice.choice(["", "公告"])
                await self.as_("PUT", owner, f"{path}/announcement", {"text": text})
            case 2:
                until = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
                await self.as_("PUT", owner, f"{path}/members/{ME}/silence", {"until": until})
                await self.as_("DELETE", owner, f"{path}/members/{ME}/silence")
            case 3:
                await self.as_(self.dice.choice(["PUT", "DELETE"]), owner, f"{path}/silence")
            case 4:
                role = {"role": self.dice.choice(["admin", "member"])}
                await self.as_("PATCH", owner, f"{path}/members/{ME}", role)
            case _:
                members = [{"user_id": "eve", "role": "owner"}, {"user_id": ME}]
                await self.as_("POST", "eve", "/v1/conversations", {"title": "neu", "members": members})

    async def notify(self) -> None:
        """Something for her inbox, or it is taken back."""
        if self.told and self.dice.random() < 0.4:
            await self.key("POST", f"/v1/notifications/{self.told.pop()}/recall")
            return
        body = {"to": [{"user_id": ME}], "content": {"title": "审批"}}
        self.told.append((await self.key("POST", "/v1/notifications", body))["id"])

    # what she does, on one of her devices

    async def say_own(self) -> None:
        place = self.place()
        self._number += 1
        device = self._device()
        text = {"text": f"{self._number} 我"}
        if device is None:
            made = await self.as_("POST", ME, "/v1/messages", {"to": {"conversation": place}, "body": text})
        else:
            key = f"c{self._number}"
            frame = {"type": "send", "to": {"conversation": place}, "client_msg_id": key, "kind": "text"}
            made = await device.request({**frame, "body": text})
        if made is not None and made.get("type") != "error":
            self.said.append((place, ME, made.get("message") or made["id"], made["seq"]))

    async def read(self) -> None:
        place = self.place()
        seqs = [seq for where, _, _, seq in self.said if where == place]
        if not seqs:
            return
        seq = max(seqs) if self.dice.random() < 0.6 else self.dice.choice(seqs)
        device = self._device()
        if device is None:
            await self.as_("POST", ME, f"/v1/conversations/{place}/read", {"seq": seq})
        else:
            await device.say({"type": "read", "conversation": place, "seq": seq})

    async def read_inbox(self) -> None:
        """What she sees in it."""
        rows = (await self.as_("GET", ME, "/v1/conversations?limit=100"))["data"]
        for row in rows:
            if row["kind"] == "inbox" and row["last_message"] is not None:
                path = f"/v1/conversations/{row['id']}/read"
                await self.as_("POST", ME, path, {"seq": row["last_message"]["seq"]})

    async def hide(self) -> None:
        one = self._pick(own=None)
        if one is None:
            return
        device = self._device()
        if device is None:
            await self.as_("POST", ME, "/v1/messages/hide", {"messages": [one[2]]})
        else:
            await device.request({"type": "hide", "messages": [one[2]]})

    async def keep(self) -> None:
        """Her own state of a conversation."""
        changes: list[dict[str, Any]] = [
            {"pinned": True},
            {"pinned": False},
            {"muted": True},
            {"muted": False},
            {"draft": {"text": f"半句 {self.dice.random()}"}},
            {"draft": None},
            {"nickname": self.dice.choice(["", "小名"])},
            {"marked_unread": self.dice.random() < 0.5},
            {"cleared": True},
        ]
        change = self.dice.choice(changes)
        await self.as_("PATCH", ME, f"/v1/conversations/{self.place()}/me", change)

    def _device(self) -> SocketDevice | None:
        """One of the sockets that are open now, or (the poller) none."""
        live = [one for one in self.devices if one.allowed.is_set() and one._live.is_set()]
        return self.dice.choice([None, *live])

    def _pick(self, *, own: bool | None) -> tuple[str, str, str, int] | None:
        """One of the latest messages: her own, others', any."""
        some = [one for one in self.said[-25:] if own is None or (one[1] == ME) is own]
        return self.dice.choice(some) if some else None

    async def play(self, count: int) -> None:
        """So many of these, all at once."""
        verbs: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (12, self.say),
            (3, self.edit),
            (3, self.recall),
            (2, self.react),
            (1, self.pin_message),
            (3, self.come_or_go),
            (2, self.manage),
            (2, self.notify),
            (4, self.say_own),
            (4, self.read),
            (1, self.read_inbox),
            (2, self.hide),
            (4, self.keep),
            (1, partial(self.edit, own=True)),
            (2, partial(self.recall, own=True)),
            (1, partial(self.react, own=True)),
        ]
        chosen = self.dice.choices([verb for _, verb in verbs], [weight for weight, _ in verbs], k=count)
        for verb in chosen:
            self.done[getattr(verb, "__name__", "own")] += 1
        await asyncio.gather(*(verb() for verb in chosen))
