"""What Alembic runs for each command: its migrations over a connection that is handed to it, or over a new one."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from sqlalchemy import Connection
from sqlalchemy.types import TypeDecorator

from hub.settings import Settings
from hub.store.columns import UtcTime
from hub.store.migrate import with_connection
from hub.store.schema import metadata
from hub.store.tables_search import FTS, INDEX


def render_item(kind: str, item: Any, autogen_context: Any) -> str | Literal[False]:  # noqa: ARG001
    """Migrations name the database's own types, so that they stay what they are when the code changes."""
    if kind == "type" and isinstance(item, UtcTime):
        return "sa.BigInteger()"
    return False


def compare_type(
    migration_context: Any,  # noqa: ARG001
    inspected_column: Any,  # noqa: ARG001
    metadata_column: Any,  # noqa: ARG001
    inspected_type: Any,
    metadata_type: Any,
) -> bool | None:
    """A time is the number that it is kept as."""
    kept = metadata_type.impl_instance if isinstance(metadata_type, TypeDecorator) else metadata_type
    if isinstance(kept, sa.BigInteger):
        return not isinstance(inspected_type, sa.Integer)
    return None


def include_name(name: str | None, kind: str, parents: Any) -> bool:  # noqa: ARG001
    """All but the full-text index, which is another thing on every database."""
    return name is None or not (name == INDEX or (kind == "table" and name.startswith(FTS)))


def run(connection: Connection) -> None:
    """Run what was asked for."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_item=render_item,
        compare_type=compare_type,
        include_name=include_name,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is None:
    with_connection(Settings(), run)
else:
    run(given)
