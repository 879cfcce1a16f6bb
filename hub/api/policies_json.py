"""Routing policies between their JSON and the core's values, and the ones that every app starts with."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache

from hub.api.problems import Fault, Problem
from hub.api.schemas_routing import EVENT, OnlyIf, PolicyShown, RouteBody, StepBody
from hub.core.policy import Hop, Policy, QuietHours, Success, TimerClock
from hub.core.records import NamedPolicy

DEFAULT = "default"

_ENDED = ("read", "acted", f"{EVENT}approval.task.closed")
_BUILT_IN: Mapping[str, Policy] = {
    "default": Policy(),
    "chat": Policy(),
    "urgent": Policy(
        (
            Hop("ws", Success.READ, timedelta(minutes=1)),
            Hop("wechat_mp", Success.DELIVERED, timedelta(minutes=30)),
            Hop("miniprogram", Success.ACCEPTED),
        ),
        stop_on=_ENDED,
        quiet_hours=QuietHours.IGNORE,
    ),
    "approval": Policy(
        (
            Hop("ws", Success.READ, timedelta(minutes=5)),
            Hop("miniprogram", Success.ACCEPTED, timedelta(minutes=10)),
            Hop("wechat_mp", Success.DELIVERED, timedelta(minutes=30)),
        ),
        stop_on=_ENDED,
        clock=TimerClock.WORKING_HOURS,
    ),
}


@cache
def built_in(channels: frozenset[str]) -> Mapping[str, NamedPolicy]:
    """The policies of a fresh app. Steps of channels that this hub does not have are left out, and the last step
    waits for nothing, since nothing would come after it."""
    found: dict[str, NamedPolicy] = {}
    for name, policy in _BUILT_IN.items():
        here = [hop for hop in policy.hops if hop.channel in channels] or [Hop("ws")]
        last = here[-1]
        here[-1] = Hop(last.channel, Success.DELIVERED if len(here) == 1 else last.success)
        found[name] = NamedPolicy(name, replace(policy, hops=tuple(here)))
    return found


def policy_of(route: RouteBody, channels: Collection[str], *, where: str = "") -> Policy:
    """The value of a policy. Raises Problem channel_unknown with the nearest name; `where` leads to the policy."""
    blind = [
        Fault(
            f"{where}/steps/{index}/when",
            "presence_unknown",
            f"Nobody knows who is online on {step.channel!r}.",
        )
        for index, step in enumerate(route.steps)
        if step.when is not None and step.channel != "ws"
    ]
    if blind:
        raise Problem("request_invalid", blind[0].detail, errors=blind)
    faults = [
        unknown_channel(f"{where}/steps/{index}/channel", step.channel, channels)
        for index, step in enumerate(route.steps)
        if step.channel not in channels
    ]
    if faults:
        raise Problem("channel_unknown", faults[0].detail, errors=faults)
    return Policy(
        hops=tuple(map(_hop_of, route.steps)),
        mode=route.mode,
        stop_on=tuple(dict.fromkeys(route.stop_on)),
        on_unknown=route.on_unknown,
        clock=route.clock,
        quiet_hours=route.quiet_hours,
        digest=route.digest,
    )


def unknown_channel(pointer: str, name: str, channels: Collection[str]) -> Fault:
    """The fault of a channel that this hub does not have, with the nearest one."""
    near = difflib.get_close_matches(name, sorted(channels), n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(channels))}."
    return Fault(pointer, "channel_unknown", f"This hub has no channel {name!r}. {hint}")


def _hop_of(step: StepBody) -> Hop:
    only = step.only_if or OnlyIf()
    return Hop(
        channel=step.channel,
        success=step.success,
        wait=step.wait,
        only_priority=tuple(only.priority or ()),
        only_category=tuple(only.category or ()),
        only_locale=tuple(only.locale or ()),
        template=step.template,
        account=step.account,
    )


def _step_of(hop: Hop) -> StepBody:
    only = None
    if hop.only_priority or hop.only_category or hop.only_locale:
        only = OnlyIf.model_construct(
            priority=list(hop.only_priority) or None,
            category=list(hop.only_category) or None,
            locale=list(hop.only_locale) or None,
        )
    return StepBody.model_construct(
        channel=hop.channel,
        when=None,
        success=hop.success,
        wait=hop.wait,
        only_if=only,
        template=hop.template,
        account=hop.account,
    )


def route_shown(policy: Policy, expires_in: timedelta | None = None) -> RouteBody:
    """A policy as answers show it: what could be sent back as it is."""
    return RouteBody.model_construct(
        mode=policy.mode,
        steps=[_step_of(hop) for hop in policy.hops],
        stop_on=list(policy.stop_on),
        expires_in=expires_in,
        on_unknown=policy.on_unknown,
        clock=policy.clock,
        quiet_hours=policy.quiet_hours,
        digest=policy.digest,
    )


def policy_shown(named: NamedPolicy, *, own: bool) -> PolicyShown:
    """A named policy as answers show it."""
    route = route_shown(named.policy, named.expires_in)
    return PolicyShown.model_construct(
        **{name: getattr(route, name) for name in RouteBody.model_fields},
        name=named.name,
        built_in=not own,
        updated_at=named.updated_at,
    )
