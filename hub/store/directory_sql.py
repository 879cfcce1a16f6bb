"""The directory on SQL: implements core.directory.Directory, and opens it with the people and tokens beside it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from hub.core.books import WeChatBooks
from hub.core.directory import Change
from hub.core.identity import SocketPolicy
from hub.core.list_ports import ListedMessages
from hub.core.message import AppId, IdempotencyClaim
from hub.core.ports import Clock, NewId
from hub.core.records import MintedToken
from hub.core.search import MessageSearch
from hub.settings import Settings
from hub.store.directory_base import Basis
from hub.store.directory_cache import Caches
from hub.store.directory_change import ChangeContext
from hub.store.directory_config import ConfigReads
from hub.store.directory_contacts import ContactReads
from hub.store.directory_conversations import ConversationReads, conversation_of, message_of, people_of
from hub.store.directory_lists import Lists, Rows
from hub.store.directory_notifications import NotificationReads
from hub.store.directory_stories import StoryReads
from hub.store.directory_users import UserReads
from hub.store.elsewhere import MessagesElsewhere
from hub.store.groups import GroupReads, SqlGroups
from hub.store.people import SqlPeople
from hub.store.search_sql import NoSearch, SqlSearch
from hub.store.secrets import SecretBox
from hub.store.sql_engine import Database
from hub.store.sql_lists import SqlLists
from hub.store.tokens import Tokens
from hub.store.webhooks_sql import SqlWebhooks
from hub.store.wechat_books import wechat_books


class SqlDirectory(
    ConfigReads, UserReads, ContactReads, ConversationReads, GroupReads, NotificationReads, StoryReads
):
    """Each part answers its own questions; what they share is the basis."""

    def __init__(self, basis: Basis, tokens: Tokens) -> None:
        self._basis = basis
        self._tokens = tokens
        elsewhere = basis.elsewhere
        listed: ListedMessages = SqlLists(basis.database) if elsewhere is None else elsewhere.lists
        self.search: MessageSearch = (
            SqlSearch(basis.database, clock=basis.clock) if elsewhere is None else NoSearch()
        )
        self._lists = Lists(
            basis, listed, Rows(conversation_of, message_of, partial(people_of, basis.database))
        )

    def change(
        self, app: AppId, *, actor: str, claim: IdempotencyClaim | None = None
    ) -> AbstractAsyncContextManager[Change]:
        """A transaction, committed when the context ends without an error."""
        return ChangeContext(self._basis, app, actor, claim)

    async def mint(self, app: AppId, user_id: str, *, ttl: timedelta, scopes: Collection[str]) -> MintedToken:
        """A token for a user, who is made if new."""
        return await self._tokens.mint(app, user_id, ttl=ttl, scopes=scopes)


@dataclass(frozen=True, slots=True)
class DirectoryRooms:
    """The directory and what stands beside it, on one database and one memory."""

    directory: SqlDirectory
    people: SqlPeople
    tokens: Tokens
    webhooks: SqlWebhooks
    books: WeChatBooks
    groups: SqlGroups
    basis: Basis


def directory_rooms(
    database: Database,
    settings: Settings,
    *,
    clock: Clock,
    new_id: NewId,
    elsewhere: MessagesElsewhere | None = None,
) -> DirectoryRooms:
    """Raises ValueError where HUB_SECRET_KEY is missing or malformed. Opens nothing: the database is the caller's.
    `elsewhere` is asked for messages where they are not in it."""
    basis = Basis(
        database=database,
        caches=Caches(),
        secrets=SecretBox(settings.secret_key.get_secret_value()),
        clock=clock,
        new_id=new_id,
        fanout_limit=settings.fanout_limit,
        group_limit=settings.group_limit,
        elsewhere=elsewhere,
    )
    tokens = Tokens(basis)
    sockets = SocketPolicy(
        sessions_per_platform=settings.sessions_per_platform,
        replace_oldest=settings.session_overflow == "replace",
    )
    people = SqlPeople(basis, tokens, sockets=sockets)
    books = wechat_books(database, basis.secrets, clock=clock, new_id=new_id, caches=basis.caches.provider)
    directory = SqlDirectory(basis, tokens)
    return DirectoryRooms(directory, people, tokens, SqlWebhooks(basis), books, SqlGroups(basis), basis)
