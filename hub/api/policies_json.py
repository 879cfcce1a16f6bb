"""Routing policies between their JSON and the core's values, and the ones that every app starts with."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import cache

from hub.api.problems import Fault, Problem
from hub.api.schemas_routing import OnlyIf, PolicyShown, RouteBody, StepBody, StopOn
from hub.core.policy import Hop, Policy, Success
from hub.core.records import NamedPolicy

DEFAULT = "default"

_BUILT_IN: Mapping[str, tuple[Hop, ...]] = {
    "default": (Hop("ws"),),
    "chat": (Hop("ws"),),
    "urgent": (
        Hop("ws", Success.READ, timedelta(minutes=1)),
        Hop("wechat_mp", Success.DELIVERED, timedelta(minutes=10)),
        Hop("miniprogram", Success.ACCEPTED),
    ),
    "approval": (
        Hop("ws", Success.READ, timedelta(minutes=5)),
        Hop("miniprogram", Success.ACCEPTED, timedelta(minutes=10)),
        Hop("wechat_mp", Success.DELIVERED),
    ),
}


@cache
def built_in(channels: frozenset[str]) -> Mapping[str, NamedPolicy]:
    """The policies of a fresh app. Steps of channels that this hub does not have are left out, and the last step
    waits for nothing, since nothing would come after it."""
    found: dict[str, NamedPolicy] = {}
    for name, hops in _BUILT_IN.items():
        here = [hop for hop in hops if hop.channel in channels] or [Hop("ws")]
        last = here[-1]
        here[-1] = Hop(last.channel, Success.DELIVERED if len(here) == 1 else last.success)
        found[name] = NamedPolicy(name, Policy(tuple(here)))
    return found


def policy_of(route: RouteBody, channels: Collection[str], *, where: str = "") -> Policy:
    """The value of a policy. Raises Problem channel_unknown with the nearest name; `where` leads to the policy."""
    faults = [
        _unknown(f"{where}/steps/{index}/channel", step.channel, channels)
        for index, step in enumerate(route.steps)
        if step.channel not in channels
    ]
    if faults:
        raise Problem("channel_unknown", faults[0].detail, errors=faults)
    return Policy(
        hops=tuple(map(_hop_of, route.steps)),
        mode=route.mode,
        stop_on=tuple(dict.fromkeys(map(str, route.stop_on))),
        on_unknown=route.on_unknown,
    )


def _unknown(pointer: str, name: str, channels: Collection[str]) -> Fault:
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
    )


def _step_of(hop: Hop) -> StepBody:
    only = None
    if hop.only_priority or hop.only_category:
        only = OnlyIf(priority=list(hop.only_priority) or None, category=list(hop.only_category) or None)
    return StepBody.model_construct(channel=hop.channel, success=hop.success, wait=hop.wait, only_if=only)


def route_shown(policy: Policy, expires_in: timedelta | None = None) -> RouteBody:
    """A policy as answers show it: what could be sent back as it is."""
    return RouteBody.model_construct(
        mode=policy.mode,
        steps=[_step_of(hop) for hop in policy.hops],
        stop_on=[StopOn(word) for word in policy.stop_on if word in set(StopOn)],
        expires_in=expires_in,
        on_unknown=policy.on_unknown,
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
