"""The four books of accounts at providers on one database."""

from __future__ import annotations

from hub.core.books import WeChatBooks
from hub.core.ports import Clock, NewId
from hub.store.clock import utc_now
from hub.store.directory_cache import AccountCaches
from hub.store.ids import new_id as make_id
from hub.store.secrets import SecretBox
from hub.store.sql_engine import Database
from hub.store.wechat_accounts import SqlAccounts
from hub.store.wechat_base import Ground
from hub.store.wechat_bindings import SqlBindings
from hub.store.wechat_grants import SqlGrants
from hub.store.wechat_templates import SqlProviderTemplates


def wechat_books(
    database: Database,
    secrets: SecretBox,
    *,
    clock: Clock = utc_now,
    new_id: NewId = make_id,
    caches: AccountCaches | None = None,
) -> WeChatBooks:
    """Books on a database that is the caller's. `caches` are shared with who else writes accounts here."""
    ground = Ground(database, secrets, clock, new_id, caches or AccountCaches())
    return WeChatBooks(
        SqlAccounts(ground), SqlBindings(ground), SqlGrants(ground), SqlProviderTemplates(ground)
    )
