"""Asking the business system whether a decision counts, for as long as it takes."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from hub.core.approvals_ports import ApprovalPorts
from hub.core.approvals_words import dumps, question
from hub.core.errors import HubError
from hub.core.message import AppId
from hub.core.task import IntentId, IntentState, StoredFollowUp, Task, TaskId
from hub.core.webhooks import BACKOFF_SECONDS, Endpoint, EndpointId, HookAnswer, WebhookEventId

log = logging.getLogger("hub.approvals")

Settle = Callable[[AppId, TaskId, IntentId, IntentState, str], Awaitable[None]]
QUESTION = "task.action"
_NAMES = frozenset({QUESTION, "task.*"})


def verdict_of(answer: HookAnswer) -> tuple[IntentState, str]:
    """What an answer means. 2xx is consent, unless its body says otherwise; everything else is no answer yet."""
    if not answer.ok:
        return IntentState.PENDING, answer.error or f"HTTP {answer.status}"
    try:
        body: Any = json.loads(answer.body) if answer.body.strip() else {}
    except ValueError:
        body = {}
    said = body if isinstance(body, dict) else {}
    reason = str(said.get("reason") or "")[:1_000]
    match said.get("result"):
        case "rejected":
            return IntentState.REJECTED_BY_BUSINESS, reason
        case "pending":
            return IntentState.PENDING, reason
        case _:
            return IntentState.APPLIED, reason


class Questions:
    """One question an intent, always under the same webhook id: the receiver can tell a repeat."""

    def __init__(self, ports: ApprovalPorts, settle: Settle) -> None:
        self._ports = ports
        self._settle = settle

    async def decider(self, app: AppId, callback: str | None) -> EndpointId | None:
        """Who decides: the task's own endpoint, else the oldest that subscribes to `task.action` by name. One that
        listens to everything is told, not asked."""
        if callback is not None:
            found = await self._ports.endpoints.endpoint(app, EndpointId(callback))
            return found.id if found is not None else EndpointId(callback)
        named = [one for one in await self._ports.endpoints.endpoints(app) if _decides(one)]
        return named[0].id if named else None

    async def ask(self, task: Task, one: StoredFollowUp) -> timedelta | None:
        """Ask once. None: settled, or given up after three days; then the business system has to say so by itself."""
        intent = next((i for i in task.intents if i.id == one.what.detail), None)
        if intent is None or intent.state.settled or task.state.final:
            return None
        verdict, reason = await self._verdict(task, intent.id, dumps(question(task, intent)))
        await self._settle(task.app, task.id, intent.id, verdict, reason)
        if verdict.settled:
            return None
        following = BACKOFF_SECONDS.get(one.tries + 2)
        if following is None:
            log.warning("question_given_up", extra={"task": task.id, "intent": intent.id})
            return None
        return timedelta(seconds=following)

    async def _verdict(self, task: Task, intent: IntentId, data: str) -> tuple[IntentState, str]:
        try:
            endpoint = await self.decider(task.app, task.content.callback)
            if endpoint is None:
                return IntentState.APPLIED, ""
            answer = await self._ports.asker.ask(
                task.app,
                endpoint,
                QUESTION,
                data,
                timeout=self._ports.limits.ask,
                id_=WebhookEventId(f"evt_{intent.removeprefix('act_')}"),
            )
        except HubError as error:
            return IntentState.PENDING, error.code
        return verdict_of(answer)


def _decides(endpoint: Endpoint) -> bool:
    return endpoint.disabled_at is None and not _NAMES.isdisjoint(endpoint.events)
