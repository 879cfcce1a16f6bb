"""`TaskPeople` over the directory and the user table."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import select

from hub.core.approvals_ports import Profile
from hub.core.directory import Directory
from hub.core.message import AppId, UserKey
from hub.store.directory_base import USER
from hub.store.sql_engine import Database


class SqlTaskPeople:
    """The product's users as approvals see them."""

    def __init__(self, database: Database, directory: Directory) -> None:
        self._database = database
        self.ensure = directory.ensure_users
        self._directory = directory

    async def known(self, app: AppId, user_ids: Collection[str]) -> Mapping[str, UserKey]:
        """See the port."""
        return await self._directory.user_keys(app, user_ids)

    async def profiles(self, users: Collection[UserKey]) -> Mapping[UserKey, Profile]:
        """See the port."""
        if not users:
            return {}
        wanted = (USER.c.id, USER.c.user_id, USER.c.name, USER.c.locale, USER.c.preferences)
        found = await self._database.rows(select(*wanted).where(USER.c.id.in_(list(users))))
        return {UserKey(row.id): Profile(row.user_id, row.name, row.locale, row.preferences) for row in found}
