"""Pure: a policy and what is known of a notification -> the deliveries that should exist now."""

from __future__ import annotations

from collections.abc import Sequence

from hub.core.policy import Hop, Mode, Policy


def applies(hop: Hop, *, priority: str, category: str) -> bool:
    """Whether `only_if` lets this hop run at all."""
    if hop.only_priority and priority not in hop.only_priority:
        return False
    return not hop.only_category or category in hop.only_category


def speaks(hop: Hop, locale: str) -> bool:
    """Whether a hop is for people of this locale: `zh` covers `zh-CN`."""
    said = locale.lower()
    return not hop.only_locale or any(
        said == wanted.lower() or said.startswith(f"{wanted.lower()}-") for wanted in hop.only_locale
    )


def passed_over(policy: Policy, after: int, *, priority: str, category: str) -> Sequence[int]:
    """The hops that are left out on the way from `after` (-1 is the start) to the next one, or to the end: with their
    reason they belong to the story."""
    ahead = range(after + 1, len(policy.hops))
    if policy.mode is Mode.ALL and after >= 0:
        return []
    passed = []
    for index in ahead:
        if not applies(policy.hops[index], priority=priority, category=category):
            passed.append(index)
        elif policy.mode is Mode.CASCADE:
            break
    return passed


def first_hops(policy: Policy, *, priority: str, category: str) -> Sequence[int]:
    """The hops to start with: all that apply for ALL, the first that applies for CASCADE."""
    fitting = [
        index for index, hop in enumerate(policy.hops) if applies(hop, priority=priority, category=category)
    ]
    return fitting if policy.mode is Mode.ALL else fitting[:1]


def next_hop(policy: Policy, after: int, *, priority: str, category: str) -> int | None:
    """The hop whose turn it is when `after` has not sufficed; None at the end or where all ran at once."""
    if policy.mode is Mode.ALL:
        return None
    for index in range(after + 1, len(policy.hops)):
        if applies(policy.hops[index], priority=priority, category=category):
            return index
    return None
