"""Changes to accounts and bindings in a transaction of the directory: with its claim, and noted in the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from sqlalchemy import select

from hub.core.accounts import Account, AccountId, AccountSecrets, Binding, Sighting
from hub.core.books import check_sighting
from hub.core.errors import NotFound
from hub.core.message import UserKey
from hub.store.directory_base import USER
from hub.store.directory_members import MemberWrites
from hub.store.wechat_accounts import account_detail, locked_account, write_account
from hub.store.wechat_base import ACCOUNT, no_account
from hub.store.wechat_bindings import forget_user, note_sightings


class AccountWrites(MemberWrites):
    """The part of a change that is about accounts at providers: core.books.AccountChange."""

    committed: list[Callable[[], None]]

    async def locked_account(self, account: AccountId) -> tuple[Account, AccountSecrets]:
        """See the port."""
        return await locked_account(self._connection, self._basis.secrets, self._app, account)

    async def put_account(self, account: Account, secrets: AccountSecrets | None) -> bool:
        """See the port."""
        new = await write_account(self._connection, self._basis.secrets, account, secrets)
        action = "account.create" if new else "account.change"
        await self._audit(action, account.id, dict(account_detail(account, secrets)))
        self.committed.append(lambda: self._basis.caches.provider.forget(account.id, account.app))
        return new

    async def note_sync(self, account: AccountId, templates: int) -> None:
        """See the port."""
        await self._audit("account.sync_templates", account, {"templates": templates})

    async def import_bindings(self, sightings: Sequence[Sighting]) -> Sequence[Binding]:
        """See the port."""
        for sighting in sightings:
            check_sighting(sighting)
        counts = Counter(sighting.account for sighting in sightings)
        await self._own(sorted(counts))
        written = await note_sightings(self._connection, sightings, self._now)
        for account, count in sorted(counts.items()):
            await self._audit("binding.import", account, {"count": count})
        return written

    async def unbind(self, account: AccountId, user: UserKey) -> None:
        """See the port."""
        await self._own([account])
        if not await forget_user(self._connection, account, user, self._now):
            raise NotFound("binding_not_found", "The user is not bound at this account.")
        user_id = await self._connection.scalar(select(USER.c.user_id).where(USER.c.id == user))
        await self._audit("binding.remove", account, {"user_id": user_id})

    async def _own(self, accounts: Sequence[AccountId]) -> None:
        query = select(ACCOUNT.c.id).where(ACCOUNT.c.id.in_(accounts), ACCOUNT.c.app_id == self._app)
        if len((await self._connection.execute(query)).all()) < len(accounts):
            raise no_account()
