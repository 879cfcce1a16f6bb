"""What gateways must know of users and devices: implements core.ports.People on SQL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, case, delete, func, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind, Fanout
from hub.core.errors import NotFound, Refused
from hub.core.gathered import Gathered
from hub.core.identity import Device, EndUser, Platform, SocketPolicy
from hub.core.message import AppId, ConversationId, DeviceKey, SeqKey, UserKey
from hub.core.records import is_user_id
from hub.store.directory_base import APP, CONVERSATION, DEVICE, MEMBER, MESSAGE, USER, Basis, insert_ignore
from hub.store.directory_config import app_of
from hub.store.directory_contacts import blocked_by
from hub.store.directory_users import find_numbers
from hub.store.tokens import Tokens

log = logging.getLogger("hub.people")

_NOTE_EVERY = timedelta(minutes=1)
_MAX_DEVICES = 100
_MAX_NAME = 128
_CHUNK = 1_000


class _New(NamedTuple):
    """A device that nobody knew."""

    user: UserKey
    id: str
    platform: str
    name: str
    at: datetime


class _Note(NamedTuple):
    """That a device was used."""

    key: int
    platform: str
    name: str
    at: datetime


class SqlPeople:
    """Keys of users are remembered for good, everything else for seconds or not at all."""

    def __init__(self, basis: Basis, tokens: Tokens, *, sockets: SocketPolicy) -> None:
        """`sockets` is what applies where an app has set nothing."""
        self._basis = basis
        self._tokens = tokens
        self._sockets = sockets
        # Thousands may say hello at once: what each of them asks is asked for all.
        self._devices = Gathered(self._load_devices)
        self._new = Gathered(self._add)
        self._rooms = Gathered(self._load_rooms)
        self._noting: set[asyncio.Task[Any]] = set()
        self._notes = Gathered(self._note, most=500)

    async def authenticate(self, token: str) -> EndUser:
        """The user of a token. Refused codes: token_invalid, token_expired, token_revoked."""
        return await self._tokens.verify(token)

    async def device(self, user: EndUser, device_id: str, platform: Platform, name: str) -> Device:
        """The device, made if it is new; name and last use are noted (use by the minute). Raises Refused device_kicked
        where it was shown out after the user's token was issued."""
        if not 0 < len(device_id) <= _MAX_NAME or not device_id.isprintable():
            raise Refused("device_invalid", f"A device id has 1 to {_MAX_NAME} printable characters.")
        name = "".join(ch for ch in name if ch.isprintable())[:_MAX_NAME]
        now = self._basis.clock()
        row = await self._devices.get((user.key, device_id))
        if row is None:
            await self._new.get(_New(user.key, device_id, platform, name, now))
            row = await self._devices.get((user.key, device_id))
            if row is None:
                text = "The device was forgotten while it said hello."
                raise Refused("device_not_found", text)
        if user.was_shown_out(row.kicked_at):
            raise Refused("device_kicked", "This device was shown out after its token was issued.")
        if row.platform != platform or row.name != name:
            await self._notes.get(_Note(row.id, platform, name, now))
        elif row.last_seen_at is None or row.last_seen_at < now - _NOTE_EVERY:
            self._note_soon(_Note(row.id, platform, name, now))
        return Device(DeviceKey(row.id), device_id, platform, name, row.cursor)

    async def _load_devices(
        self, wanted: Sequence[tuple[UserKey, str]]
    ) -> Mapping[tuple[UserKey, str], Row[Any]]:
        users, names = sorted({user for user, _ in wanted}), sorted({name for _, name in wanted})
        query = select(DEVICE).where(DEVICE.c.user_id.in_(users), DEVICE.c.device_id.in_(names))
        rows = await self._basis.database.rows(query)
        return {(UserKey(row.user_id), row.device_id): row for row in rows}

    async def _add(self, wanted: Sequence[_New]) -> Mapping[_New, None]:
        # In one order, so that two nodes that add the same devices do not wait for each other.
        rows = [
            {
                "user_id": new.user,
                "device_id": new.id,
                "platform": new.platform,
                "name": new.name,
                "cursor": 0,
                "created_at": new.at,
                "last_seen_at": new.at,
            }
            for new in sorted(wanted)
        ]

        async def work(connection: AsyncConnection) -> None:
            await _make_room(connection, {new.user for new in wanted})
            await connection.execute(insert_ignore(connection, DEVICE, rows))

        await self._basis.database.write(work)
        return {}

    def _note_soon(self, note: _Note) -> None:
        """Nobody waits for it, and nothing is lost with it: it is noted again."""
        task = asyncio.ensure_future(self._notes.get(note))
        self._noting.add(task)
        task.add_done_callback(self._noted)

    def _noted(self, task: asyncio.Task[Any]) -> None:
        self._noting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("devices_not_noted", extra={"error": str(error)[:200]})

    async def _note(self, notes: Sequence[_Note]) -> Mapping[_Note, None]:
        statement = (
            update(DEVICE)
            .where(DEVICE.c.id == bindparam("key"))
            .values(platform=bindparam("on"), name=bindparam("called"), last_seen_at=bindparam("at"))
        )
        # In one order, so that two nodes that note the same devices do not wait for each other.
        rows = [{"key": n.key, "on": n.platform, "called": n.name, "at": n.at} for n in sorted(notes)]

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(statement, rows)

        await self._basis.database.write(work)
        return {}

    async def socket_policy(self, app: AppId) -> SocketPolicy:
        """The app's socket rules. May be a few seconds old."""
        return await self._basis.caches.sockets.get(app, lambda: self._socket_policy(app))

    async def _socket_policy(self, app: AppId) -> SocketPolicy:
        rows = await self._basis.database.rows(select(APP).where(APP.c.id == app))
        if not rows:
            raise NotFound("app_not_found", "There is no such app.")
        own = app_of(rows[0]).settings
        overflow = own.session_overflow
        return SocketPolicy(
            sessions_per_platform=own.sessions_per_platform or self._sockets.sessions_per_platform,
            replace_oldest=self._sockets.replace_oldest if overflow is None else overflow == "replace",
            compression=own.compression or self._sockets.compression,
        )

    async def user_key(self, app: AppId, user_id: str) -> UserKey | None:
        """The hub's number of a user, or None."""
        if not is_user_id(user_id):
            return None
        known = self._basis.caches.numbers.keys(app, [user_id])
        if not known:
            known = await self._basis.database.read(lambda c: find_numbers(c, app, [user_id]))
            self._basis.caches.numbers.learn(app, known)
        return known.get(user_id)

    async def user_ids(self, users: Collection[UserKey]) -> Mapping[UserKey, str]:
        """The product's ids of users."""
        known = self._basis.caches.numbers.ids(users)
        missing = sorted(set(users).difference(known))
        for start in range(0, len(missing), _CHUNK):
            query = select(USER.c.id, USER.c.user_id).where(USER.c.id.in_(missing[start : start + _CHUNK]))
            found = {UserKey(row.id): str(row.user_id) for row in await self._basis.database.rows(query)}
            self._basis.caches.numbers.learn_ids(found)
            known.update(found)
        return known

    async def acquainted(self, user: UserKey, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """Those of `user_ids` that share a direct or group conversation with `user` and have not blocked her, and the
        user's own id."""
        own, others = MEMBER.alias("own"), MEMBER.alias("others")
        shared = (
            select(others.c.user_id)
            .select_from(
                others.join(own, own.c.conversation_id == others.c.conversation_id).join(
                    CONVERSATION, CONVERSATION.c.id == own.c.conversation_id
                )
            )
            .where(
                own.c.user_id == user,
                others.c.user_id == USER.c.id,
                # In an open thread anybody may be beside anybody: that makes nobody acquainted.
                CONVERSATION.c.kind.in_([ConversationKind.DIRECT, ConversationKind.GROUP]),
            )
            .exists()
        )
        query = select(USER.c.user_id, USER.c.id).where(
            USER.c.app_id == app,
            USER.c.user_id.in_(sorted(filter(is_user_id, user_ids))),
            or_(USER.c.id == user, shared),
            ~blocked_by(user),
        )
        return {row.user_id: UserKey(row.id) for row in await self._basis.database.rows(query)}

    async def members(self, conversation: ConversationId, user: UserKey) -> Sequence[UserKey]:
        """See the port. Nothing here grows with the members of a read-diffused conversation."""
        # Readers of the inbox have rows too, and know nothing of each other.
        mine = (
            select(MEMBER.c.user_id, MEMBER.c.blocked, CONVERSATION.c.fanout)
            .select_from(MEMBER.join(CONVERSATION, CONVERSATION.c.id == MEMBER.c.conversation_id))
            .where(MEMBER.c.conversation_id == conversation, CONVERSATION.c.kind != ConversationKind.INBOX)
        )
        own = await self._basis.database.rows(mine.where(MEMBER.c.user_id == user))
        if not own:
            text = "There is no such conversation, or you are not in it."
            raise NotFound("conversation_not_found", text)
        if own[0].fanout == Fanout.READ:
            return [user]
        rows = await self._basis.database.rows(
            mine.order_by(MEMBER.c.user_id).limit(self._basis.fanout_limit)
        )
        # Of two of whom one has blocked the other neither hears what the other does at the moment.
        apart = any(row.blocked for row in rows)
        return [UserKey(row.user_id) for row in rows if not apart or row.user_id == user]

    async def read_diffused(self, user: UserKey) -> Mapping[ConversationId, int]:
        """See the port. A conversation that is write-diffused again counts up to its `read_until`."""
        return await self._rooms.get(user) or {}

    async def _load_rooms(self, users: Sequence[UserKey]) -> Mapping[UserKey, Mapping[ConversationId, int]]:
        newest = (
            select(MESSAGE.c.seq)
            .where(MESSAGE.c.conversation_id == CONVERSATION.c.id)
            .order_by(MESSAGE.c.seq.desc())
            .limit(1)
            .scalar_subquery()
        )
        diffused = CONVERSATION.c.fanout == Fanout.READ
        until = CONVERSATION.c.read_until
        unread = and_(until > MEMBER.c.read_seq, until > MEMBER.c.joined_seq)
        query = (
            select(
                MEMBER.c.user_id,
                CONVERSATION.c.id,
                case((diffused, newest), else_=until).label("newest"),
                MEMBER.c.read_seq,
                MEMBER.c.joined_seq,
            )
            .select_from(MEMBER.join(CONVERSATION, CONVERSATION.c.id == MEMBER.c.conversation_id))
            .where(MEMBER.c.user_id.in_(users), or_(diffused, unread))
        )
        found: dict[UserKey, dict[ConversationId, int]] = {}
        rows = await self._basis.database.rows(query)
        tops = await self._tops({ConversationId(row.id) for row in rows if row.newest is None})
        for row in rows:
            top = row.newest or tops.get(ConversationId(row.id), 0)
            unheard = top if top > max(row.read_seq, row.joined_seq) else 0
            found.setdefault(UserKey(row.user_id), {})[ConversationId(row.id)] = unheard
        return found

    async def _tops(self, conversations: Collection[ConversationId]) -> Mapping[ConversationId, int]:
        """The newest number of each, where messages are not in the database."""
        if self._basis.elsewhere is None or not conversations:
            return {}
        keys = {SeqKey.of_conversation(id_): id_ for id_ in conversations}
        return {keys[key]: head for key, head in (await self._basis.elsewhere.heads(list(keys))).items()}

    async def seen(self, users: Mapping[UserKey, datetime]) -> None:
        """When users were last online; only moves forward."""
        if not users:
            return
        statement = (
            update(USER)
            .where(
                USER.c.id == bindparam("key"),
                or_(USER.c.last_seen_at.is_(None), USER.c.last_seen_at < bindparam("at")),
            )
            .values(last_seen_at=bindparam("at"))
        )
        # In one order, so that two nodes that note the same users do not wait for each other.
        rows = [{"key": key, "at": at} for key, at in sorted(users.items())]

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(statement, rows)

        await self._basis.database.write(work)


async def _make_room(connection: AsyncConnection, users: Collection[UserKey]) -> None:
    """Past the bound of a user's devices the one that was not seen for longest gives way."""
    full = (
        select(DEVICE.c.user_id)
        .where(DEVICE.c.user_id.in_(users))
        .group_by(DEVICE.c.user_id)
        .having(func.count() >= _MAX_DEVICES)
    )
    for user in (await connection.execute(full)).scalars().all():
        query = (
            select(DEVICE.c.id)
            .where(DEVICE.c.user_id == user)
            .order_by(DEVICE.c.last_seen_at.desc(), DEVICE.c.id.desc())
        )
        kept = (await connection.execute(query)).scalars().all()
        await connection.execute(delete(DEVICE).where(DEVICE.c.id.in_(kept[_MAX_DEVICES - 1 :])))
