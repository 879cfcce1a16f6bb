"""What the fields of a provider's template take: for who fills them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hub.core.accounts import ProviderTemplate


@dataclass(frozen=True, slots=True)
class TemplateField:
    """`limit` is in characters, None where nobody knows it; `rule` says in words what fits; `values` is all that does,
    where the template has a list."""

    name: str
    type: str
    limit: int | None
    rule: str
    example: str
    values: tuple[str, ...] = ()


FieldGuide = Callable[[ProviderTemplate], Sequence[TemplateField]]
"""The fields of a template, in its order."""
