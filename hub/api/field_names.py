"""All names that a request's fields may have: where a wrong one is refused, the nearest of these is offered."""

from __future__ import annotations

from typing import Final

from hub.api import (
    schemas_accounts,
    schemas_approvals,
    schemas_approvals_more,
    schemas_bindings,
    schemas_chat,
    schemas_config,
    schemas_control,
    schemas_messages,
    schemas_notify,
    schemas_people,
    schemas_routing,
    schemas_sending,
    schemas_templates,
    schemas_webhooks,
)
from hub.api.schemas import Strict


def _all(of: type[Strict]) -> set[str]:
    names = set(of.model_fields)
    for child in of.__subclasses__():
        names |= _all(child)
    return names


# Named, so that these modules' schemas exist when they are asked for.
SCHEMAS: Final = (
    schemas_approvals,
    schemas_approvals_more,
    schemas_accounts,
    schemas_bindings,
    schemas_chat,
    schemas_config,
    schemas_control,
    schemas_messages,
    schemas_notify,
    schemas_people,
    schemas_routing,
    schemas_sending,
    schemas_templates,
    schemas_webhooks,
)
FIELD_NAMES: Final = frozenset(_all(Strict))
