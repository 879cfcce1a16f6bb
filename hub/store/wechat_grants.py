"""The ledger of subscriptions in SQL: each change is one transaction, and the grant's row is where rivals meet."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Row, case, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.accounts import AccountId, GrantBalance, GrantKey, Reservation
from hub.core.books import GRANTS_MOST, HOLDERS_SHOWN
from hub.core.delivery import DeliveryId
from hub.store.directory_base import insert_ignore
from hub.store.wechat_base import GRANT, HOLD, ONCE, Ground, delete_slowly, settled

_HELD: Final = "held"
_SPENT: Final = "spent"


class SqlGrants:
    """`GrantBook`."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def add(self, key: GrantKey, count: int, *, once: str) -> bool:
        """See the port."""
        if count < 1:
            raise ValueError(count)
        hash_, now = _hash(key, once), self._ground.clock()

        async def work(connection: AsyncConnection) -> bool:
            if (await connection.execute(select(ONCE.c.hash).where(ONCE.c.hash == hash_))).first():
                return False
            row = {"hash": hash_, "account_id": key.account, "created_at": now}
            await connection.execute(insert(ONCE).values(row))
            grown = GRANT.c.remaining + count
            most = case((grown > GRANTS_MOST, literal(GRANTS_MOST)), else_=grown)
            await _change(connection, key, now, remaining=most)
            return True

        return await settled(self._ground.database, work)

    async def set_unlimited(self, key: GrantKey, unlimited: bool) -> None:
        """See the port."""
        now = self._ground.clock()
        await settled(self._ground.database, lambda c: _change(c, key, now, unlimited=unlimited))

    async def clear(self, key: GrantKey) -> None:
        """See the port."""
        cleared = {"remaining": 0, "unlimited": False, "updated_at": self._ground.clock()}

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(
                update(GRANT).where(*_row(key)).values(epoch=GRANT.c.epoch + 1, **cleared)
            )

        await self._ground.database.write(work)

    async def reserve(self, key: GrantKey, delivery: DeliveryId, *, now: datetime) -> Reservation:
        """See the port."""
        changed = self._ground.clock()

        async def work(connection: AsyncConnection) -> Reservation:
            # The row's lock first, so that two tries of one delivery find each other's hold.
            query = select(GRANT.c.unlimited, GRANT.c.epoch).where(*_row(key)).with_for_update()
            row = (await connection.execute(query)).one_or_none()
            held = await connection.scalar(select(HOLD.c.state).where(HOLD.c.delivery_id == delivery))
            if held is not None:
                return Reservation.SPENT if held == _SPENT else Reservation.HELD
            if row is None or not (row.unlimited or await _take(connection, key, changed)):
                return Reservation.NONE_LEFT
            hold = {
                "delivery_id": delivery,
                "account_id": key.account,
                "address": key.address,
                "template_id": key.template,
                "state": _HELD,
                "epoch": row.epoch,
                "counted": not row.unlimited,
                "reserved_at": now,
            }
            await connection.execute(insert(HOLD).values(hold))
            return Reservation.MADE

        return await settled(self._ground.database, work)

    async def commit(self, delivery: DeliveryId) -> None:
        """See the port."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(
                update(HOLD).where(HOLD.c.delivery_id == delivery, HOLD.c.state == _HELD).values(state=_SPENT)
            )

        await self._ground.database.write(work)

    async def release(self, delivery: DeliveryId) -> None:
        """See the port."""
        now = self._ground.clock()
        mine = (HOLD.c.delivery_id == delivery, HOLD.c.state == _HELD)

        async def work(connection: AsyncConnection) -> None:
            hold = (await connection.execute(select(HOLD).where(*mine))).one_or_none()
            if hold is None:
                return
            # Of two who release it, or one who releases and one who commits, one finds it.
            gone = await connection.execute(delete(HOLD).where(*mine))
            if gone.rowcount and hold.counted:
                await _give_back(connection, hold, now)

        await self._ground.database.write(work)

    async def holders(self, key: GrantKey) -> Sequence[DeliveryId]:
        """See the port."""
        query = (
            select(HOLD.c.delivery_id)
            .where(*_hold(key), HOLD.c.state == _HELD)
            .order_by(HOLD.c.reserved_at, HOLD.c.delivery_id)
            .limit(HOLDERS_SHOWN)
        )
        return [DeliveryId(row.delivery_id) for row in await self._ground.database.rows(query)]

    async def noted(self, deliveries: Collection[DeliveryId]) -> Collection[DeliveryId]:
        """See the port."""
        if not deliveries:
            return []
        query = select(HOLD.c.delivery_id).where(
            HOLD.c.delivery_id.in_(sorted(deliveries)), HOLD.c.state.in_((_HELD, _SPENT))
        )
        return [DeliveryId(row.delivery_id) for row in await self._ground.database.rows(query)]

    async def stale(self, before: datetime, limit: int) -> Sequence[DeliveryId]:
        """See the port."""
        query = (
            select(HOLD.c.delivery_id)
            .where(HOLD.c.state == _HELD, HOLD.c.reserved_at < before)
            .order_by(HOLD.c.reserved_at, HOLD.c.delivery_id)
            .limit(limit)
        )
        return [DeliveryId(row.delivery_id) for row in await self._ground.database.rows(query)]

    async def balances(self, account: AccountId, address: str) -> Sequence[GrantBalance]:
        """See the port."""
        reserved = (
            select(func.count())
            .select_from(HOLD)
            .where(
                HOLD.c.account_id == GRANT.c.account_id,
                HOLD.c.address == GRANT.c.address,
                HOLD.c.template_id == GRANT.c.template_id,
                HOLD.c.state == _HELD,
            )
            .scalar_subquery()
        )
        query = (
            select(GRANT, reserved.label("reserved"))
            .where(GRANT.c.account_id == account, GRANT.c.address == address)
            .order_by(GRANT.c.template_id)
        )
        return [_balance(row) for row in await self._ground.database.rows(query)]

    async def forget(self, before: datetime) -> int:
        """See the port."""
        database = self._ground.database
        spent = [HOLD.c.state == _SPENT, HOLD.c.reserved_at < before]
        counted = await delete_slowly(database, ONCE, ONCE.c.hash, [ONCE.c.created_at < before])
        return counted + await delete_slowly(database, HOLD, HOLD.c.delivery_id, spent)


def _row(key: GrantKey) -> tuple[ColumnElement[bool], ...]:
    return (
        GRANT.c.account_id == key.account,
        GRANT.c.address == key.address,
        GRANT.c.template_id == key.template,
    )


def _hold(key: GrantKey) -> tuple[ColumnElement[bool], ...]:
    return (
        HOLD.c.account_id == key.account,
        HOLD.c.address == key.address,
        HOLD.c.template_id == key.template,
    )


async def _change(connection: AsyncConnection, key: GrantKey, now: datetime, **values: Any) -> None:
    """Change the row of a key; it is made if there is none."""
    statement = update(GRANT).where(*_row(key)).values(updated_at=now, **values)
    if (await connection.execute(statement)).rowcount:
        return
    made = {
        "account_id": key.account,
        "address": key.address,
        "template_id": key.template,
        "remaining": 0,
        "unlimited": False,
        "epoch": 0,
        "updated_at": now,
    }
    await connection.execute(insert_ignore(connection, GRANT, [made]))
    await connection.execute(statement)


async def _take(connection: AsyncConnection, key: GrantKey, now: datetime) -> bool:
    """One less of what remains; the condition is in the statement, so that nothing can make it negative."""
    taken = await connection.execute(
        update(GRANT)
        .where(*_row(key), GRANT.c.remaining > 0)
        .values(remaining=GRANT.c.remaining - 1, updated_at=now)
    )
    return taken.rowcount == 1


async def _give_back(connection: AsyncConnection, hold: Row[Any], now: datetime) -> None:
    """One more of what remains, save where the provider has said since that nothing does."""
    key = GrantKey(AccountId(hold.account_id), hold.address, hold.template_id)
    await connection.execute(
        update(GRANT)
        .where(*_row(key), GRANT.c.epoch == hold.epoch, GRANT.c.remaining < GRANTS_MOST)
        .values(remaining=GRANT.c.remaining + 1, updated_at=now)
    )


def _balance(row: Row[Any]) -> GrantBalance:
    key = GrantKey(AccountId(row.account_id), row.address, row.template_id)
    return GrantBalance(key, row.remaining, row.reserved, row.unlimited, row.updated_at)


def _hash(key: GrantKey, once: str) -> str:
    """What is kept of an agreement. JSON, so that no part runs into the next."""
    text = msgspec.json.encode([key.account, key.address, key.template, once])
    return hashlib.sha256(text).hexdigest()
