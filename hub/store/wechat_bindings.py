"""Who is who at which account, in SQL. Never remembered: the next message must find what was learnt just now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.accounts import (
    AccountId,
    AccountOptions,
    Binding,
    BindingState,
    Sighting,
    Ticket,
    TicketKind,
)
from hub.core.books import BINDINGS_SHOWN, Proven, check_sighting, seen, union_of, united
from hub.core.message import AppId, UserKey
from hub.store.directory_base import insert_ignore
from hub.store.secrets import digest
from hub.store.sql_bulk import Listing
from hub.store.wechat_accounts import options_of
from hub.store.wechat_base import ACCOUNT, BINDING, TICKET, Ground, delete_slowly, no_account, settled

_MICROSECOND = timedelta(microseconds=1)
_CHUNK = 500
Key = tuple[AccountId, str]


class SqlBindings:
    """`BindingBook`."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def addresses(
        self, accounts: Collection[AccountId], users: Collection[UserKey]
    ) -> Mapping[tuple[AccountId, UserKey], Binding]:
        """See the port."""
        if not accounts or not users:
            return {}
        listing = Listing(self._ground.database.dialect, id=int)
        query = (
            select(BINDING)
            .where(BINDING.c.account_id.in_(sorted(accounts)), BINDING.c.user_id.in_(listing.select))
            .order_by(BINDING.c.proved_at, BINDING.c.address)
        )
        rows = await self._ground.database.rows(query, listing.of(sorted(set(users))))
        # Of several of one user, the one proved last comes last and stays.
        return {(AccountId(row.account_id), UserKey(row.user_id)): binding_of(row) for row in rows}

    async def bindings_of(self, app: AppId, user: UserKey) -> Sequence[Binding]:
        """See the port."""
        query = (
            select(BINDING)
            .select_from(BINDING.join(ACCOUNT, ACCOUNT.c.id == BINDING.c.account_id))
            .where(BINDING.c.user_id == user, ACCOUNT.c.app_id == app)
            .order_by(BINDING.c.updated_at.desc(), BINDING.c.account_id.desc(), BINDING.c.address.desc())
            .limit(BINDINGS_SHOWN)
        )
        return [binding_of(row) for row in await self._ground.database.rows(query)]

    async def binding(self, account: AccountId, address: str) -> Binding | None:
        """See the port."""
        query = select(BINDING).where(BINDING.c.account_id == account, BINDING.c.address == address)
        rows = await self._ground.database.rows(query)
        return binding_of(rows[0]) if rows else None

    async def note(self, sightings: Sequence[Sighting]) -> Sequence[Binding]:
        """See the port."""
        for sighting in sightings:
            check_sighting(sighting)
        if not sightings:
            return []
        now = self._ground.clock()
        return await settled(self._ground.database, lambda c: note_sightings(c, sightings, now))

    async def unbind(self, account: AccountId, user: UserKey) -> bool:
        """See the port."""
        now = self._ground.clock()
        return await self._ground.database.write(lambda c: forget_user(c, account, user, now))

    async def issue_ticket(self, ticket: Ticket) -> None:
        """See the port."""
        row = {
            "hash": digest(ticket.token),
            "kind": ticket.kind.value,
            "account_id": ticket.account,
            "user_id": ticket.user,
            "return_to": ticket.return_to,
            "expires_at": ticket.expires_at,
        }

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(insert(TICKET).values(row))

        await self._ground.database.write(work)

    async def redeem_ticket(self, token: str, kind: TicketKind, *, now: datetime) -> Ticket | None:
        """See the port."""
        mine = (TICKET.c.hash == digest(token), TICKET.c.kind == kind.value)
        # Anybody may bring any token: what is not there must not cost a transaction that writes.
        if not await self._ground.database.rows(select(TICKET.c.hash).where(*mine)):
            return None

        async def work(connection: AsyncConnection) -> Row[Any] | None:
            row = (await connection.execute(select(TICKET).where(*mine))).one_or_none()
            # Of two who bring it at once, one removes it.
            taken = row is not None and (await connection.execute(delete(TICKET).where(*mine))).rowcount == 1
            return row if taken else None

        row = await self._ground.database.write(work)
        if row is None or row.expires_at <= now:
            return None
        account, user = AccountId(row.account_id), UserKey(row.user_id)
        return Ticket(token, kind, account, user, row.expires_at, row.return_to)

    async def forget_tickets(self, before: datetime) -> int:
        """See the port."""
        old = [TICKET.c.expires_at < before]
        return await delete_slowly(self._ground.database, TICKET, TICKET.c.hash, old)


def binding_of(row: Row[Any]) -> Binding:
    """A row as a value."""
    return Binding(
        account=AccountId(row.account_id),
        address=row.address,
        user=None if row.user_id is None else UserKey(row.user_id),
        union_id=row.union_id,
        state=BindingState(row.state),
        source=row.source,
        updated_at=row.updated_at,
    )


async def forget_user(connection: AsyncConnection, account: AccountId, user: UserKey, now: datetime) -> bool:
    """Unbind in an open transaction; whether there was anything."""
    gone = await connection.execute(
        update(BINDING)
        .where(BINDING.c.account_id == account, BINDING.c.user_id == user)
        .values(user_id=None, proved_at=now, updated_at=now)
    )
    return gone.rowcount > 0


async def note_sightings(
    connection: AsyncConnection, sightings: Sequence[Sighting], now: datetime
) -> Sequence[Binding]:
    """Write down what was learnt in an open transaction: what BindingBook.note promises."""
    relatives = await _relatives(connection, sightings)
    own = list(dict.fromkeys((sighting.account, sighting.address) for sighting in sightings))
    first = {(sighting.account, sighting.address): sighting for sighting in reversed(sightings)}
    before = await _locked(connection, [first[key] for key in sorted(own)], now)
    after = dict(before)
    for place, sighting in enumerate(sightings):
        key = (sighting.account, sighting.address)
        after[key] = seen(after[key], sighting, at=now + place * _MICROSECOND)
    after |= await _followed(connection, after, relatives, now)
    changed = [key for key, known in after.items() if before.get(key) != known]
    await _write(connection, [after[key] for key in sorted(changed)])
    others = [after[key].binding for key in changed if key not in before]
    return [after[sighting.account, sighting.address].binding for sighting in sightings] + others


class _Relatives:
    """The accounts of the apps concerned, and which of them share union ids."""

    def __init__(self, rows: Iterable[Row[Any]]) -> None:
        self.options: dict[AccountId, AccountOptions] = {}
        self._families: dict[tuple[AppId, str], list[AccountId]] = {}
        self._app: dict[AccountId, AppId] = {}
        for row in rows:
            account, options = AccountId(row.id), options_of(row.options)
            self.options[account] = options
            self._app[account] = AppId(row.app_id)
            if options.family:
                self._families.setdefault((self._app[account], options.family), []).append(account)

    def of(self, account: AccountId) -> Sequence[AccountId]:
        """Those that share union ids with it, itself included; none where it stands alone."""
        return self._families.get((self._app[account], self.options[account].family), [])


async def _relatives(connection: AsyncConnection, sightings: Sequence[Sighting]) -> _Relatives:
    """Raises NotFound for an account that is not there."""
    accounts = {sighting.account for sighting in sightings}
    apps = select(ACCOUNT.c.app_id).where(ACCOUNT.c.id.in_(sorted(accounts)))
    query = select(ACCOUNT.c.id, ACCOUNT.c.app_id, ACCOUNT.c.options).where(ACCOUNT.c.app_id.in_(apps))
    relatives = _Relatives(await connection.execute(query.order_by(ACCOUNT.c.id)))
    if accounts - relatives.options.keys():
        raise no_account()
    telling = {s.account for s in sightings if s.user is not None or s.union_id is not None}
    families = {account: relatives.of(account) for account in telling}
    heads = sorted({family[0] for family in families.values() if family})
    if heads:
        # One at a time for a family: of two who learn the two ends of one union id, the second sees the first.
        await connection.execute(select(ACCOUNT.c.id).where(ACCOUNT.c.id.in_(heads)).order_by(ACCOUNT.c.id)
                                 .with_for_update(key_share=True))  # fmt: skip
    return relatives


async def _locked(
    connection: AsyncConnection, sightings: Sequence[Sighting], now: datetime
) -> dict[Key, Proven]:
    """What is known of these addresses until the transaction ends; new ones are made. In one order for all."""
    known: dict[Key, Proven] = {}
    for start in range(0, len(sightings), _CHUNK):
        some = sightings[start : start + _CHUNK]
        keys = [(sighting.account, sighting.address) for sighting in some]
        known |= await _read(connection, keys)
        missing = [s for s in some if (s.account, s.address) not in known]
        if missing:
            await connection.execute(insert_ignore(connection, BINDING, [_made(s, now) for s in missing]))
            known |= await _read(connection, [(s.account, s.address) for s in missing])
    return known


async def _read(connection: AsyncConnection, keys: Sequence[Key]) -> dict[Key, Proven]:
    query = (
        select(BINDING)
        .where(tuple_(BINDING.c.account_id, BINDING.c.address).in_(keys))
        .order_by(BINDING.c.account_id, BINDING.c.address)
        .with_for_update()
    )
    return {(AccountId(r.account_id), r.address): _proven(r) for r in await connection.execute(query)}


def _made(sighting: Sighting, now: datetime) -> dict[str, Any]:
    return {
        "account_id": sighting.account,
        "address": sighting.address,
        "state": BindingState.ACTIVE.value,
        "source": sighting.source,
        "updated_at": now,
    }


def _proven(row: Row[Any]) -> Proven:
    return Proven(binding_of(row), row.proved_at)


async def _followed(
    connection: AsyncConnection, after: Mapping[Key, Proven], relatives: _Relatives, now: datetime
) -> dict[Key, Proven]:
    """What changes through the union ids of these addresses."""
    changed: dict[Key, Proven] = {}
    unions = {
        (tuple(relatives.of(account)), union[1])
        for (account, _), known in after.items()
        if (union := union_of(known.binding, relatives.options[account])) is not None
    }
    for family in sorted({family for family, _ in unions}):
        wanted = sorted(union for accounts, union in unions if accounts == family)
        groups: dict[str, list[Proven]] = {}
        for known in await _related(connection, after, family, wanted):
            groups.setdefault(known.binding.union_id or "", []).append(known)
        for group in groups.values():
            for known in united(group, at=now):
                changed[known.binding.account, known.binding.address] = known
    return changed


async def _related(
    connection: AsyncConnection,
    after: Mapping[Key, Proven],
    family: Sequence[AccountId],
    wanted: Sequence[str],
) -> Sequence[Proven]:
    """All addresses with these union ids at these accounts, as they are after the sightings."""
    found = {
        key: known for key, known in after.items() if key[0] in family and known.binding.union_id in wanted
    }
    for start in range(0, len(wanted), _CHUNK):
        query = (
            select(BINDING)
            .where(BINDING.c.union_id.in_(wanted[start : start + _CHUNK]), BINDING.c.account_id.in_(family))
            .order_by(BINDING.c.account_id, BINDING.c.address)
            .with_for_update()
        )
        rows = {(AccountId(r.account_id), r.address): r for r in await connection.execute(query)}
        found |= {key: _proven(row) for key, row in rows.items() if key not in after}
    return list(found.values())


async def _write(connection: AsyncConnection, changed: Sequence[Proven]) -> None:
    if not changed:
        return
    statement = (
        update(BINDING)
        .where(
            BINDING.c.account_id == bindparam("its_account"), BINDING.c.address == bindparam("its_address")
        )
        .values(
            {
                name: bindparam(f"its_{name}")
                for name in ("user_id", "union_id", "state", "source", "proved_at", "updated_at")
            }
        )
    )
    rows = [
        {
            "its_account": known.binding.account,
            "its_address": known.binding.address,
            "its_user_id": known.binding.user,
            "its_union_id": known.binding.union_id,
            "its_state": known.binding.state.value,
            "its_source": known.binding.source,
            "its_proved_at": known.proved_at,
            "its_updated_at": known.binding.updated_at,
        }
        for known in changed
    ]
    await connection.execute(statement, rows)
