"""Who was removed, by a hash of the name alone: what was issued to them before holds for nobody of the same name."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.core.message import AppId
from hub.store.tables import metadata
from hub.store.tables_lives import UserRemoval

REMOVAL = metadata.tables[str(UserRemoval.__tablename__)]


def name_hash(app: AppId, user_id: str) -> str:
    """What is kept of a name for good."""
    return hashlib.sha256(f"{app}\0{user_id}".encode()).hexdigest()


async def removed_at(
    connection: AsyncConnection, app: AppId, user_ids: Collection[str]
) -> Mapping[str, datetime]:
    """When users of these names were removed last; who never was is missing."""
    hashes = {name_hash(app, user_id): user_id for user_id in user_ids}
    newest = func.max(REMOVAL.c.created_at).label("at")
    query = select(REMOVAL.c.name_hash, newest).where(REMOVAL.c.name_hash.in_(list(hashes)))
    rows = await connection.execute(query.group_by(REMOVAL.c.name_hash))
    return {hashes[row.name_hash]: row.at for row in rows}
