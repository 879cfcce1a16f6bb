"""A scripted channel that speaks through its provider's templates, with the rules of two kinds of fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hub.core.channel import ContentFault
from hub.core.errors import Refused
from hub.core.identity import Recipient
from hub.core.message import AppId
from hub.core.rendering import RenderFault, render_fields, speaking
from hub.core.templates import ChannelMapping, Overflow, TemplateVersion
from tests.fakes.channel import ScriptedChannel

LIMIT = 20


class TemplatedChannel(ScriptedChannel):
    """The provider has one template, `tmpl-1`, with the fields `thing1` (at most 20 characters) and `time2`."""

    def __init__(self, name: str = "wechat_mp") -> None:
        super().__init__(name)
        self.checked: list[Recipient] = []

    async def check_mapping(self, app: AppId, mapping: ChannelMapping) -> Sequence[ContentFault]:  # noqa: ARG002
        """Exactly the fields of the template."""
        if mapping.template != "tmpl-1":
            return [ContentFault("", "template_gone", f"There is no template {mapping.template!r}.")]
        wanted = {"thing1", "time2"}
        missing = [ContentFault(n, "wx.missing", f"{n} is not filled.") for n in wanted - set(mapping.fields)]
        extra = [ContentFault(n, "wx.unexpected", f"No field {n}.") for n in set(mapping.fields) - wanted]
        return [*missing, *extra]

    async def check_content(
        self,
        app: AppId,  # noqa: ARG002
        template: TemplateVersion,
        data: Mapping[str, object],
        recipient: Recipient,
        account: str | None = None,  # noqa: ARG002
    ) -> Sequence[ContentFault]:
        """Whether every field can be filled and is short enough."""
        self.checked.append(recipient)
        mapping = next(m for m in template.mappings if m.channel == self.name)
        texts = render_fields(mapping.fields, data, speaking(recipient, template))
        if isinstance(texts, tuple):
            return [ContentFault(fault.field, fault.code, fault.detail) for fault in texts]
        return [
            ContentFault(
                name, "wx.thing.too_long", f"{LIMIT} at most, got {len(text)}", "set overflow=ellipsis"
            )
            for name, text in texts.items()
            if len(text) > LIMIT and mapping.fields[name].overflow is Overflow.REFUSE
        ]

    async def preview(
        self,
        app: AppId,  # noqa: ARG002
        template: TemplateVersion,
        data: Mapping[str, object],
        recipient: Recipient,
        account: str | None = None,  # noqa: ARG002
    ) -> Mapping[str, object]:
        """As it would be sent; refused for the title `away`."""
        if data.get("title") == "away":
            raise Refused("template.field_invalid", "There is no account to send from.")
        mapping = next(m for m in template.mappings if m.channel == self.name)
        texts = render_fields(mapping.fields, data, speaking(recipient, template))
        assert not isinstance(texts, tuple | RenderFault)
        fields = {name: {"value": text[:LIMIT]} for name, text in texts.items()}
        return {"template_id": mapping.template, "data": fields}
