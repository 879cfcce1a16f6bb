"""What gateways must know of users and devices: implements core.ports.People on SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.conversation import ConversationKind, Fanout
from hub.core.errors import NotFound, Refused
from hub.core.identity import Device, EndUser, Platform, SocketPolicy
from hub.core.message import AppId, ConversationId, DeviceKey, UserKey
from hub.core.records import is_user_id
from hub.store.directory_base import APP, CONVERSATION, DEVICE, MEMBER, USER, Basis, insert_ignore
from hub.store.directory_config import app_of
from hub.store.directory_users import find_numbers
from hub.store.tokens import Tokens

_NOTE_EVERY = timedelta(minutes=1)
_MAX_DEVICES = 100
_MAX_NAME = 128
_CHUNK = 1_000


class SqlPeople:
    """Keys of users are remembered for good, everything else for seconds or not at all."""

    def __init__(self, basis: Basis, tokens: Tokens, *, sockets: SocketPolicy) -> None:
        """`sockets` is what applies where an app has set nothing."""
        self._basis = basis
        self._tokens = tokens
        self._sockets = sockets

    async def authenticate(self, token: str) -> EndUser:
        """The user of a token. Refused codes: token_invalid, token_expired, token_revoked."""
        return await self._tokens.verify(token)

    async def device(self, user: EndUser, device_id: str, platform: Platform, name: str) -> Device:
        """The device, made if it is new; name and last use are noted (use by the minute)."""
        if not 0 < len(device_id) <= _MAX_NAME or not device_id.isprintable():
            raise Refused("device_invalid", f"A device id has 1 to {_MAX_NAME} printable characters.")
        name = "".join(ch for ch in name if ch.isprintable())[:_MAX_NAME]
        now = self._basis.clock()
        mine = (DEVICE.c.user_id == user.key, DEVICE.c.device_id == device_id)
        rows = await self._basis.database.rows(select(DEVICE).where(*mine))
        if not rows:
            await self._basis.database.write(
                lambda connection: _add_device(connection, user.key, device_id, platform, name, now)
            )
            rows = await self._basis.database.rows(select(DEVICE).where(*mine))
        row = rows[0]
        changed = row.platform != platform or row.name != name
        if changed or row.last_seen_at is None or row.last_seen_at < now - _NOTE_EVERY:

            async def note(connection: AsyncConnection) -> None:
                values = {"platform": platform, "name": name, "last_seen_at": now}
                await connection.execute(update(DEVICE).where(*mine).values(values))

            await self._basis.database.write(note)
        return Device(DeviceKey(row.id), device_id, platform, name, row.cursor)

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
        """Those of `user_ids` that share a direct or group conversation with `user`, and the user's own id."""
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
                CONVERSATION.c.kind != ConversationKind.INBOX,
            )
            .exists()
        )
        query = select(USER.c.user_id, USER.c.id).where(
            USER.c.app_id == app,
            USER.c.user_id.in_(sorted(filter(is_user_id, user_ids))),
            or_(USER.c.id == user, shared),
        )
        return {row.user_id: UserKey(row.id) for row in await self._basis.database.rows(query)}

    async def members(self, conversation: ConversationId, user: UserKey) -> Sequence[UserKey]:
        """The members, if `user` is one of them (else errors.NotFound); at most the fan-out limit."""
        # Readers of the inbox have rows too, and know nothing of each other.
        mine = (
            select(MEMBER.c.user_id)
            .select_from(MEMBER.join(CONVERSATION, CONVERSATION.c.id == MEMBER.c.conversation_id))
            .where(MEMBER.c.conversation_id == conversation, CONVERSATION.c.kind != ConversationKind.INBOX)
        )
        if not await self._basis.database.rows(mine.where(MEMBER.c.user_id == user)):
            text = "There is no such conversation, or you are not in it."
            raise NotFound("conversation_not_found", text)
        rows = await self._basis.database.rows(
            mine.order_by(MEMBER.c.user_id).limit(self._basis.fanout_limit)
        )
        return [UserKey(row.user_id) for row in rows]

    async def read_diffused(self, user: UserKey) -> Collection[ConversationId]:
        """The conversations of this user that have no entries in queues."""
        query = (
            select(CONVERSATION.c.id)
            .select_from(MEMBER.join(CONVERSATION, CONVERSATION.c.id == MEMBER.c.conversation_id))
            .where(MEMBER.c.user_id == user, CONVERSATION.c.fanout == Fanout.READ)
        )
        return [ConversationId(row.id) for row in await self._basis.database.rows(query)]

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


async def _add_device(
    connection: AsyncConnection, user: UserKey, device_id: str, platform: str, name: str, now: datetime
) -> None:
    """A new device; past the bound the one that was not seen for longest gives way."""
    query = (
        select(DEVICE.c.id)
        .where(DEVICE.c.user_id == user)
        .order_by(DEVICE.c.last_seen_at.desc(), DEVICE.c.id.desc())
    )
    kept = (await connection.execute(query)).scalars().all()
    surplus = kept[_MAX_DEVICES - 1 :]
    if surplus:
        await connection.execute(delete(DEVICE).where(DEVICE.c.id.in_(surplus)))
    row = {
        "user_id": user,
        "device_id": device_id,
        "platform": platform,
        "name": name,
        "cursor": 0,
        "created_at": now,
        "last_seen_at": now,
    }
    await connection.execute(insert_ignore(connection, DEVICE, [row]))
