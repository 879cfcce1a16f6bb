"""The whole schema: importing this has seen every table. What compares or creates all of them asks here."""

from __future__ import annotations

from hub.store import (
    tables_approvals,
    tables_chat,
    tables_contacts,
    tables_groups,
    tables_lives,
    tables_media,
    tables_routing,
    tables_search,
    tables_templates,
    tables_webhooks,
    tables_wechat,
)
from hub.store.tables import metadata

__all__ = [
    "metadata",
    "tables_approvals",
    "tables_chat",
    "tables_contacts",
    "tables_groups",
    "tables_lives",
    "tables_media",
    "tables_routing",
    "tables_search",
    "tables_templates",
    "tables_webhooks",
    "tables_wechat",
]
