"""Schemas of hub templates."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from hub.api.schemas import FreeObject, Line, Locale, Shown, Strict, Text, UserId, example
from hub.core.template_data import VariableType
from hub.core.templates import Overflow

TEMPLATE: Final[dict[str, Any]] = {
    "texts": {
        "zh-CN": {"title": "待审批:{{ title }}", "text": "{{ applicant }} · {{ amount | amount }}"},
        "en": {"title": "To approve: {{ title }}", "text": "{{ applicant }} · {{ amount | amount }}"},
    },
    "default_locale": "zh-CN",
    "variables": {"title": "text", "applicant": "text", "amount": "amount", "submitted_at": "datetime"},
    "mappings": [
        {
            "channel": "wechat_mp",
            "template": "OPENTM_0195a1",
            "fields": {
                "thing1": {"value": "{{ title }}", "overflow": "ellipsis"},
                "name2": {"value": "{{ applicant }}", "overflow": "refuse"},
                "amount3": {"value": "{{ amount | plain_amount }}", "overflow": "refuse"},
                "time4": {"value": "{{ submitted_at | datetime }}", "overflow": "refuse"},
            },
            "account": None,
            "page": "",
            "url": "https://oa.example.com/tasks",
        }
    ],
}
_DATA: Final[dict[str, Any]] = {
    "title": "差旅报销",
    "applicant": "王某",
    "amount": "1200.00",
    "submitted_at": "2026-03-01T09:12:00+08:00",
}
_MADE: Final[dict[str, Any]] = {
    "key": "approval-todo",
    "version": 1,
    **TEMPLATE,
    "created_at": "2026-03-01T01:00:00Z",
    "created_by": "key_0195a0",
}

TemplateKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_.-]*$"),
    Field(description="The key of a template.", examples=["approval-todo"]),
]
ChannelName = Annotated[str, StringConstraints(min_length=1, max_length=32)]
AccountRef = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$"),
    Field(description="The id of an account at a provider.", examples=["wxa_0195a1"]),
]
VariableName = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,64}){0,7}$"
    ),
    AfterValidator(lambda name: _not_the_hubs(name)),
]
_Value = Annotated[Text, StringConstraints(max_length=2_000)]


def _not_the_hubs(name: str) -> str:
    if name.partition(".")[0] == "hub":
        message = "`hub` is what the hub itself knows; name the variable otherwise"
        raise ValueError(message)
    return name


class TextsBody(Strict):
    """The card in the app, in one language. Placeholders: `{{ name }}`, `{{ name | filter: argument }}`."""

    title: Annotated[Line, StringConstraints(min_length=1, max_length=500)]
    text: Annotated[Text, StringConstraints(max_length=10_000)] = ""


class FieldBody(Strict):
    """How one field of the provider's template is filled."""

    value: _Value
    overflow: Overflow = Field(
        Overflow.REFUSE, description="What happens to a value that is too long for the field."
    )


class MappingBody(Strict):
    """How the template is said on one channel."""

    channel: ChannelName
    template: Annotated[Line, StringConstraints(min_length=1, max_length=128)] = Field(
        description="The provider's template id."
    )
    fields: Annotated[
        dict[Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^\w+$")], FieldBody],
        Field(max_length=32),
    ]
    account: AccountRef | None = Field(None, description="Null: every account of the channel.")
    page: _Value = Field("", description="What a tap opens: a path in the mini program.")
    url: _Value = Field("", description="What a tap opens: a web address.")


class TemplateBody(Strict):
    """What a kind of notification says: in the app in each language, and on each channel."""

    model_config = example(TEMPLATE)

    texts: Annotated[dict[Locale, TextsBody], Field(min_length=1, max_length=20)]
    default_locale: Locale = Field(
        description="One of those in `texts`: for everybody whose language is not there."
    )
    variables: Annotated[dict[VariableName, VariableType], Field(max_length=64)] = Field(
        default_factory=dict,
        description="What a notification must give in `data`, and as what. Dots lead into objects.",
    )
    mappings: Annotated[list[MappingBody], Field(max_length=16)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.default_locale not in self.texts:
            message = "`default_locale` must be one of the locales in `texts`"
            raise ValueError(message)
        places = [(mapping.channel, mapping.account) for mapping in self.mappings]
        if len(set(places)) < len(places):
            message = "one mapping for each channel and account"
            raise ValueError(message)
        return self


class TemplateShown(Shown):
    """A version of a template. It never changes: publishing another makes the next."""

    model_config = example(_MADE, title="Template")

    key: str
    version: int
    texts: dict[str, TextsBody]
    default_locale: str
    variables: dict[str, VariableType]
    mappings: list[MappingBody]
    created_at: datetime | None
    created_by: str


class PreviewBody(Strict):
    """What the template would say."""

    model_config = example({"data": _DATA, "locale": "zh-CN"})

    data: FreeObject
    locale: Locale | None = Field(None, description="Null: every locale of the template.")
    user_id: UserId | None = Field(None, description="As this user would see it: their locale and time zone.")
    version: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] | None = Field(
        None, description="Null: the newest."
    )


class ContentFaultShown(Shown):
    """Why a channel could not say it."""

    field: str
    code: str
    detail: str
    fix: str


class CardShown(Shown):
    """The card in one language, or why there is none."""

    locale: str
    title: str | None
    text: str | None
    faults: list[ContentFaultShown]


class ChannelPreviewShown(Shown):
    """What the provider would be sent, without an address; null where it cannot be."""

    locale: str
    channel: str
    account: str | None
    template: str
    request: dict[str, Any] | None
    faults: list[ContentFaultShown]


class PreviewShown(Shown):
    """The card in each language, and the request to each provider."""

    model_config = example(
        {
            "key": "approval-todo",
            "version": 1,
            "cards": [
                {"locale": "zh-CN", "title": "待审批:差旅报销", "text": "王某 · ¥1,200.00", "faults": []}
            ],
            "channels": [
                {
                    "locale": "zh-CN",
                    "channel": "wechat_mp",
                    "account": None,
                    "template": "OPENTM_0195a1",
                    "request": {
                        "template_id": "OPENTM_0195a1",
                        "data": {"thing1": {"value": "差旅报销"}, "amount3": {"value": "¥1200.00"}},
                    },
                    "faults": [],
                }
            ],
        },
        title="TemplatePreview",
    )

    key: str
    version: int
    cards: list[CardShown]
    channels: list[ChannelPreviewShown]


class TestBody(Strict):
    """A real notification to one user, through one channel."""

    __test__ = False
    model_config = example({"user_id": "u_1024", "channel": "wechat_mp", "data": _DATA})

    user_id: UserId
    channel: ChannelName = "ws"
    data: FreeObject = Field(default_factory=dict)
    locale: Locale | None = None
    version: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] | None = None
