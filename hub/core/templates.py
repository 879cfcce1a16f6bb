"""Hub templates: what a kind of notification says, in each language and on each channel, in numbered versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from hub.core.accounts import AccountId
from hub.core.message import AppId
from hub.core.records import PageRequest, Slice


class Overflow(StrEnum):
    """What happens to a value that is too long for a provider's field."""

    REFUSE = "refuse"
    ELLIPSIS = "ellipsis"


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """How one field of a provider's template is filled. `value` is text with placeholders, such as
    `{{ applicant }}` or `{{ submitted_at | datetime }}` (see core.rendering)."""

    value: str
    overflow: Overflow = Overflow.REFUSE


@dataclass(frozen=True, slots=True)
class ChannelMapping:
    """How a hub template is said on one channel. `account` None holds for every account of the channel.

    `page` is what a tap opens: a mini program's path, or (with a scheme) a web address; placeholders as in fields.
    """

    channel: str
    template: str
    """The provider's template id."""
    fields: Mapping[str, FieldMapping]
    account: AccountId | None = None
    page: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class LocaleText:
    """The card in the app: title and text with placeholders."""

    title: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """Never changes once made. A notification pins the version that it was accepted with."""

    app: AppId
    key: str
    version: int
    texts: Mapping[str, LocaleText]
    """By locale, such as `zh-CN` and `en`."""
    default_locale: str
    mappings: tuple[ChannelMapping, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """Name (dotted for a value inside an object) -> type (core.template_data.VariableType). A notification must give
    every one."""
    created_at: datetime | None = None
    created_by: str = ""


class TemplateBook(Protocol):
    """Templates in SQL. A version is immutable and may be cached for ever; `latest` may be a few seconds old."""

    async def version(self, app: AppId, key: str, version: int) -> TemplateVersion | None:
        """That version."""
        ...

    async def latest(self, app: AppId, key: str) -> TemplateVersion | None:
        """The newest version that is not archived."""
        ...

    async def versions(self, app: AppId, key: str, page: PageRequest) -> Slice[TemplateVersion]:
        """All versions, newest first, archived or not."""
        ...

    async def keys(self, app: AppId, page: PageRequest) -> Slice[TemplateVersion]:
        """The newest version of each template that is not archived, by key."""
        ...

    async def publish(self, version: TemplateVersion, *, actor: str) -> TemplateVersion:
        """Store it under the next number (`version.version` is ignored). The same content as the newest version makes
        no new one, and brings an archived template back. Of several at once each gets a number of its own."""
        ...

    async def archive(self, app: AppId, key: str, *, actor: str) -> None:
        """New notifications can no longer name it; accepted ones keep their versions. Raises NotFound."""
        ...
