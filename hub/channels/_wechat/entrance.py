"""Puts together what WeChat and browsers call, and the desk that answers the API."""

from __future__ import annotations

from dataclasses import dataclass

from hub.channels._wechat.consents import Consents
from hub.channels._wechat.desk import DeskLines, WeChatDesk
from hub.channels._wechat.followers import Followers, Lookups
from hub.channels._wechat.intake import Intake
from hub.channels._wechat.invitations import WECHAT_OPEN
from hub.channels._wechat.memory import CallbackMemory, Memory
from hub.channels._wechat.oauth import OauthReturn
from hub.channels._wechat.receipts import Receipts, Settling
from hub.channels._wechat.routes import CallbackDoor
from hub.core.books import WeChatBooks
from hub.core.later import Later
from hub.core.ports import Clock, DeliveryStore


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the entrance stands on. `public_url` is where WeChat and people's browsers reach this hub, `open_url` where
    WeChat's own pages are."""

    books: WeChatBooks
    lines: DeskLines
    dispatcher: Settling
    deliveries: DeliveryStore
    memory: Memory
    later: Later
    clock: Clock
    public_url: str
    open_url: str = WECHAT_OPEN


@dataclass(frozen=True, slots=True)
class Entrance:
    """`door` is for routes.callback_router, `desk` for the API."""

    door: CallbackDoor
    desk: WeChatDesk
    lookups: Lookups


def wechat_entrance(around: Surroundings) -> Entrance:
    """One a process."""
    books = around.books
    lookups = Lookups(lines=around.lines, bindings=books.bindings, later=around.later)
    receipts = Receipts(
        dispatcher=around.dispatcher,
        deliveries=around.deliveries,
        grants=books.grants,
        bindings=books.bindings,
    )
    followers = Followers(bindings=books.bindings, memory=around.memory, lookups=lookups, clock=around.clock)
    intake = Intake(receipts=receipts, consents=Consents(books.grants, books.templates), followers=followers)
    oauth = OauthReturn(
        bindings=books.bindings,
        lines=around.lines,
        lookups=lookups,
        memory=around.memory,
        clock=around.clock,
    )
    door = CallbackDoor(
        accounts=books.accounts,
        memory=CallbackMemory(around.memory),
        intake=intake,
        oauth=oauth,
        clock=around.clock,
    )
    desk = WeChatDesk(
        lines=around.lines,
        bindings=books.bindings,
        grants=books.grants,
        templates=books.templates,
        lookups=lookups,
        clock=around.clock,
        public_url=around.public_url,
        open_url=around.open_url,
    )
    return Entrance(door, desk, lookups)
