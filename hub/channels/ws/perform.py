"""Doing what a live session asks for, and answering it."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, assert_never

from hub.channels.ws import codes
from hub.channels.ws.background import Background
from hub.channels.ws.catchup import Recovery
from hub.channels.ws.chat_requests import ChatFrame, ChatRequest
from hub.channels.ws.chatting import Chatting, ok_of
from hub.channels.ws.codes import ErrorCode
from hub.channels.ws.connection import Connection
from hub.channels.ws.frames import (
    Acted,
    Error,
    Pong,
    Rebase,
    Watching,
    encode_frame,
    error_frame,
    history_batch,
    named_presence,
    refused_of,
    sync_batch,
)
from hub.channels.ws.heads import Heads
from hub.channels.ws.listing import list_batch
from hub.channels.ws.neighbours import ActionsApi, EngineApi, ListApi, PresenceApi
from hub.channels.ws.node import Node
from hub.channels.ws.requests import Action, Conversations, History, Ping, Read, Send, Sync, Typing, Watch
from hub.channels.ws.seats import Seat
from hub.channels.ws.session import Request
from hub.core.errors import Forbidden, HubError, NotFound, QueueUnavailable, Unavailable
from hub.core.message import AppId, ConversationId, Draft, MessageId, Target, ToConversation, ToUser, UserKey
from hub.core.ports import Broker, People
from hub.core.scopes import UserScope
from hub.core.task import Person

log = logging.getLogger("hub.ws.perform")

_ANSWER_BYTES: Final = 1_048_576
"""Bodies in one answer; a page that has more is cut and says so."""
_KNOWN_USERS: Final = 20_000
_TYPING_EVERY: Final = 1.0

Work = Callable[[], Coroutine[Any, Any, None]]


class Performer:
    """One for all connections of a node. Every answer is bounded, and so is what waits to be written."""

    def __init__(
        self,
        *,
        engine: EngineApi,
        actions: ActionsApi | None,
        chat: Chatting | None,
        lists: ListApi | None,
        people: People,
        presence: PresenceApi,
        broker: Broker,
        node: Node,
        heads: Heads,
        recovery: Recovery,
        background: Background,
        hard_bytes: int,
    ) -> None:
        self._engine = engine
        self._actions = actions
        self._chat = chat
        self._lists = lists
        self._people = people
        self._presence = presence
        self._broker = broker
        self._node = node
        self._heads = heads
        self._recovery = recovery
        self._background = background
        self._hard_bytes = hard_bytes
        self._users: OrderedDict[tuple[AppId, str], UserKey] = OrderedDict()
        self._lanes: dict[Connection, deque[Send]] = {}
        self._typed: dict[Connection, float] = {}

    def perform(self, link: Connection, seat: Seat, request: Request) -> None:
        """Start it; the answer is written when it is there. Sends are submitted in the order of their coming."""
        if (
            isinstance(request, Send | Typing | Action | ChatRequest)
            and UserScope.WRITE not in seat.user.scopes
        ):
            self._start(link, getattr(request, "id", None), self._refuse_writing)
            return
        match request:
            case Send():
                self._send(link, seat, request)
            case Sync():
                self._start(link, request.id, partial(self._sync, link, seat, request))
            case History():
                self._start(link, request.id, partial(self._history, link, seat, request))
            case Conversations():
                self._start(link, request.id, partial(self._list, link, seat, request))
            case Read():
                conversation = ConversationId(request.conversation)
                self._start(link, None, partial(self._engine.read, seat.user, conversation, request.seq))
            case Typing():
                self._start(link, None, partial(self._typing, link, seat, request))
            case Watch():
                self._start(link, request.id, partial(self._watch, link, seat, request))
            case Action():
                self._start(link, request.id, partial(self._act, link, seat, request))
            case ChatRequest():
                self._start(link, request.id, partial(self._change, link, seat, request))
            case Ping():
                self._heads.ask(seat.user.key, partial(self._pong, link, request.id))
            case _:
                assert_never(request)

    def forget(self, link: Connection) -> None:
        """The connection is gone."""
        self._typed.pop(link, None)

    def answer(self, link: Connection, payload: bytes) -> None:
        """Write an answer; who asks more than it reads is sent away."""
        link.send(payload)
        if link.backlog > self._hard_bytes:
            link.bye(codes.SLOW_CONSUMER)
            link.abort()

    def _start(self, link: Connection, request: str | int | None, work: Work) -> None:
        self._background.start(self._guarded(link, request, work), name="ws-request")

    async def _guarded(self, link: Connection, request: str | int | None, work: Work) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001  (it is answered, and logged where it is a bug)
            self._failed(link, request, error)
        finally:
            link.session.done()

    def _failed(self, link: Connection, request: str | int | None, error: Exception) -> None:
        match error:
            case HubError():
                payload = error_frame(request, error)
            case QueueUnavailable():
                payload = error_frame(request, _away())
            case _:
                log.error("request_failed", exc_info=error)
                failed = Error(ErrorCode.INTERNAL, "the hub failed on this request", True, request)
                payload = encode_frame(failed)
        self.answer(link, payload)

    # send

    def _send(self, link: Connection, seat: Seat, request: Send) -> None:
        lane = self._lanes.get(link)
        if lane is not None:
            lane.append(request)
            return
        target = self._known_target(seat, request)
        if target is not None and not _to_prepare(request):
            draft = self._draft(seat, request, target)
            self._start(link, request.id, partial(self._submit, link, request, draft))
            return
        self._lanes[link] = deque([request])
        self._background.start(self._resolve(link, seat), name="ws-resolve")

    def _known_target(self, seat: Seat, request: Send) -> Target | None:
        if request.to.conversation is not None:
            return ToConversation(ConversationId(request.to.conversation))
        key = self._users.get((seat.user.app, request.to.user or ""))
        return None if key is None else ToUser(key)

    async def _resolve(self, link: Connection, seat: Seat) -> None:
        """While one send waits for its recipient, for what it answers or for whom it mentions to be looked up, later
        ones of this connection wait behind it."""
        lane = self._lanes[link]
        try:
            while lane:
                request = lane.popleft()
                draft = await self._ready(seat, request)
                self._start(link, request.id, partial(self._submit, link, request, draft))
        finally:
            del self._lanes[link]

    async def _ready(self, seat: Seat, request: Send) -> Draft | HubError:
        target = self._known_target(seat, request) or await self._look_up(seat, request)
        if isinstance(target, HubError):
            return target
        draft = self._draft(seat, request, target)
        if self._chat is None or not _to_prepare(request):
            return draft
        try:
            return await self._chat.prepare(draft)
        except HubError as error:
            return error
        except Exception:
            log.exception("preparing_failed")
            return _away()

    async def _look_up(self, seat: Seat, request: Send) -> Target | HubError:
        name = request.to.user or ""
        try:
            key = await self._people.user_key(seat.user.app, name)
        except HubError as error:
            return error
        except Exception:
            log.exception("lookup_failed")
            return _away()
        if key is None:
            return NotFound(ErrorCode.USER_NOT_FOUND, f"no user {name!r} in this app")
        self._users[(seat.user.app, name)] = key
        while len(self._users) > _KNOWN_USERS:
            self._users.popitem(last=False)
        return ToUser(key)

    def _draft(self, seat: Seat, request: Send, target: Target) -> Draft:
        return Draft(
            id=MessageId(self._engine.new_id("msg")),
            app=seat.user.app,
            sender=seat.user.key,
            sender_id=seat.user.id,
            to=target,
            kind=request.kind,
            body=bytes(request.body).decode(),
            created_at=self._engine.clock(),
            client_msg_id=request.client_msg_id,
            mentions=request.mentions,
            reply_to=None if request.reply_to is None else MessageId(request.reply_to),
        )

    async def _submit(self, link: Connection, request: Send, draft: Draft | HubError) -> None:
        if isinstance(draft, HubError):
            raise draft
        done = await self._engine.submit(draft)
        self.answer(link, encode_frame(ok_of(request.id, done)))

    async def _change(self, link: Connection, seat: Seat, request: ChatFrame) -> None:
        if self._chat is None:
            raise Forbidden(ErrorCode.NOT_SUPPORTED, "This hub changes no messages.")
        self.answer(link, encode_frame(await self._chat.answer(seat.user, request)))

    async def _act(self, link: Connection, seat: Seat, request: Action) -> None:
        if self._actions is None:
            raise Forbidden(ErrorCode.NOT_SUPPORTED, "This hub has no approvals.")
        done = await self._actions.act_on_message(
            seat.user.app,
            MessageId(request.message),
            Person(seat.user.key, seat.user.id),
            request.action,
            comment=request.data.comment,
            client_action_id=request.data.client_action_id,
            acted_from=seat.device.platform.value,
        )
        acted = Acted(
            id=request.id,
            task=done.task.id,
            intent=done.intent.id,
            action=done.intent.action,
            state=done.intent.state.value,
            reason=done.intent.reason,
            task_state=done.task.state.value,
            duplicate=done.repeated,
        )
        self.answer(link, encode_frame(acted))

    async def _refuse_writing(self) -> None:
        raise Forbidden(ErrorCode.SCOPE_MISSING, f"This token was not given the scope `{UserScope.WRITE}`.")

    # reading

    async def _sync(self, link: Connection, seat: Seat, request: Sync) -> None:
        page = await self._engine.sync(seat.user.key, after=request.after, limit=request.limit)
        if page.rebase:
            if link.session.hint:
                link.session.rebase(page.next)
            self.answer(link, encode_frame(Rebase(page.next, request.id)))
            return
        self.answer(link, sync_batch(request.id, page, most_bytes=_ANSWER_BYTES))
        if link.session.pulled(page.next, more=page.more):
            self._recovery.soon(link)

    async def _history(self, link: Connection, seat: Seat, request: History) -> None:
        page = await self._engine.history(
            ConversationId(request.conversation),
            reader=seat.user.key,
            after=request.after,
            before=request.before,
            limit=request.limit,
        )
        payload = history_batch(
            request.id,
            request.conversation,
            page,
            newest_first=request.after is None,
            most_bytes=_ANSWER_BYTES,
        )
        self.answer(link, payload)

    async def _list(self, link: Connection, seat: Seat, request: Conversations) -> None:
        if self._lists is None:
            raise Forbidden(ErrorCode.NOT_SUPPORTED, "This hub lists no conversations.")
        batch = await list_batch(self._lists, seat.user, request, most_bytes=_ANSWER_BYTES)
        self.answer(link, encode_frame(batch))

    def _pong(self, link: Connection, request: str | int, head: int | Exception) -> None:
        link.session.done()
        if isinstance(head, Exception):
            self._failed(link, request, head)
            return
        self.answer(link, encode_frame(Pong(request, head)))
        link.session.heard_head(head)
        if link.session.behind:
            self._recovery.soon(link)

    # other people

    async def _typing(self, link: Connection, seat: Seat, request: Typing) -> None:
        now = time.monotonic()
        if now - self._typed.get(link, -_TYPING_EVERY) < _TYPING_EVERY or link.closed:
            return
        self._typed[link] = now
        conversation = ConversationId(request.conversation)
        others = [m for m in await self._people.members(conversation, seat.user.key) if m != seat.user.key]
        if others:
            frame = {"type": "typing", "conversation": conversation, "user": seat.user.id}
            await self._broker.signal(others, frame)

    async def _watch(self, link: Connection, seat: Seat, request: Watch) -> None:
        names = await self._people.acquainted(seat.user.key, seat.user.app, request.users)
        if link.closed:
            return
        first, last = self._node.watchers.replace(link, {key: name for name, key in names.items()})
        if last:
            await self._presence.unwatch(last)
        if first:
            await self._presence.watch(first)
        known = await self._presence.online(list(names.values())) if names else {}
        presence = named_presence(names, known)
        self.answer(link, encode_frame(Watching(request.id, presence, refused_of(request.users, names))))


def _to_prepare(request: Send) -> bool:
    return bool(request.mentions) or request.reply_to is not None


def _away() -> Unavailable:
    return Unavailable(ErrorCode.UNAVAILABLE, "A part of the hub is away. Try again shortly.")
