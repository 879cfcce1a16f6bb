"""`/v1/audit`: who changed what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from hub.api.answers import listed, loads, page_of
from hub.api.deps import Hub, by_key
from hub.api.route import HubRoute
from hub.api.schemas import After, Limit, Listing
from hub.api.schemas_config import AuditShown
from hub.core.identity import ApiCaller
from hub.core.records import AuditRecord
from hub.core.scopes import Scope

router = APIRouter(prefix="/v1/audit", tags=["audit"], route_class=HubRoute)


@router.get("", operation_id="listAudit", response_model=Listing[AuditShown])
async def list_audit(
    request: Request,
    hub: Hub,
    caller: Annotated[ApiCaller, by_key(Scope.AUDIT_READ)],
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """List who did what to your app's configuration, newest first."""
    return listed(request, await hub.directory.audit(caller.app, page_of(limit, after)), _audit)


def _audit(record: AuditRecord) -> AuditShown:
    return AuditShown(
        id=record.id,
        at=record.at,
        actor=record.actor,
        action=record.action,
        target=record.target,
        detail=loads(record.detail),
    )
