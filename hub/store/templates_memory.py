"""Hub templates in memory: for tests, examples and one process. Implements core.templates.TemplateBook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hub.core.errors import NotFound
from hub.core.message import AppId
from hub.core.ports import Clock
from hub.core.records import PageRequest, Slice
from hub.core.templates import TemplateVersion


def _content(version: TemplateVersion) -> TemplateVersion:
    return replace(version, version=0, created_at=None, created_by="")


class MemoryTemplates:
    """Everything in a dict; places in lists are indexes."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._versions: dict[tuple[AppId, str], list[TemplateVersion]] = {}
        self._archived: set[tuple[AppId, str]] = set()

    async def version(self, app: AppId, key: str, version: int) -> TemplateVersion | None:
        """That version."""
        known = self._versions.get((app, key), [])
        return known[version - 1] if 0 < version <= len(known) else None

    async def latest(self, app: AppId, key: str) -> TemplateVersion | None:
        """The newest version that is not archived."""
        known = self._versions.get((app, key))
        return known[-1] if known and (app, key) not in self._archived else None

    async def versions(self, app: AppId, key: str, page: PageRequest) -> Slice[TemplateVersion]:
        """All versions, newest first, archived or not."""
        return _slice(self._versions.get((app, key), [])[::-1], page)

    async def keys(self, app: AppId, page: PageRequest) -> Slice[TemplateVersion]:
        """The newest version of each template that is not archived, by key."""
        names = sorted(key for whose, key in self._versions if whose == app)
        found = [await self.latest(app, key) for key in names]
        return _slice([version for version in found if version is not None], page)

    async def publish(self, version: TemplateVersion, *, actor: str) -> TemplateVersion:
        """Store it under the next number, unless the newest says the same."""
        place = (version.app, version.key)
        known = self._versions.setdefault(place, [])
        self._archived.discard(place)
        if known and _content(known[-1]) == _content(version):
            return known[-1]
        made = replace(version, version=len(known) + 1, created_at=self._clock(), created_by=actor)
        known.append(made)
        return made

    async def archive(self, app: AppId, key: str, *, actor: str) -> None:  # noqa: ARG002
        """New notifications can no longer name it. Raises NotFound template_not_found."""
        if await self.latest(app, key) is None:
            raise NotFound("template_not_found", "There is no such template in your app.")
        self._archived.add((app, key))


def _slice(items: Sequence[TemplateVersion], page: PageRequest) -> Slice[TemplateVersion]:
    begin = int(page.after or 0)
    end = begin + page.limit
    return Slice(items[begin:end], str(end) if end < len(items) else None)
