"""Schemas of accounts at WeChat: what is set, what is shown (never a secret), and their templates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import Path, Query
from pydantic import Field, StringConstraints

from hub.api.schemas import Line, Shown, Strict, example
from hub.core.accounts import (
    Account,
    AccountHealth,
    AccountSecrets,
    GrantSource,
    ProviderTemplate,
    Quota,
)
from hub.core.field_guide import TemplateField

ChannelName: TypeAlias = Literal["wechat_mp", "miniprogram"]
MiniState: TypeAlias = Literal["developer", "trial", "formal"]
AccountText: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_-]+$"),
    Field(description="The hub's id of an account.", examples=["acc_0195a1"]),
]
AccountPath: TypeAlias = Annotated[AccountText, Path()]
AccountQuery: TypeAlias = Annotated[AccountText, Query(description="At which account.")]
Appid: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^wx[0-9a-f]{16}$"),
    Field(description="`wx` and 16 characters of 0-9 and a-f.", examples=["wx0123456789abcdef"]),
]
_SECRET_SCHEMA: dict[str, Any] = {"format": "password", "writeOnly": True}
Secret: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,128}$"),
    Field(description="The AppSecret. Kept encrypted and never shown.", json_schema_extra=_SECRET_SCHEMA),
]
CallbackToken: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9]{3,32}$"),
    Field(
        description="The Token of the message push settings: 3 to 32 letters and digits.",
        json_schema_extra=_SECRET_SCHEMA,
    ),
]
AesKey: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9]{43}$"),
    Field(
        description="The EncodingAESKey of the message push settings: 43 letters and digits.",
        json_schema_extra=_SECRET_SCHEMA,
    ),
]
AccountName: TypeAlias = Annotated[Line, StringConstraints(min_length=1, max_length=128)]

_OPTIONS = {
    "original_id": "gh_0123456789ab",
    "family": "open-1",
    "per_second": 50.0,
    "grants_from": "events",
    "mini_state": "formal",
    "jump_appid": "",
}
_CALLBACK = {"token": "Tk9Xq3", "aes_key": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"}
_ACCOUNT = {
    "id": "acc_0195a1",
    "channel": "wechat_mp",
    "name": "通知助手",
    "appid": "wx0123456789abcdef",
    "enabled": True,
    "options": _OPTIONS,
    "has_secret": True,
    "has_callback_token": True,
    "aes_keys": 1,
    "callback_path": "/callbacks/wechat/acc_0195a1",
    "created_at": "2026-03-01T01:12:00Z",
}
_HEALTH = {
    "ok": False,
    "circuit": "open",
    "open_until": "2026-03-01T01:14:00Z",
    "detail": "invalid ip 192.0.2.7, not in whitelist",
    "code": "40164",
}
_QUOTA = {"call": "/cgi-bin/message/template/send", "limit": 100_000, "used": 1_204, "remaining": 98_796}
_FIELD = {
    "name": "thing1",
    "type": "thing",
    "limit": 20,
    "rule": "text in one line",
    "example": "差旅报销",
    "values": [],
}
_TEMPLATE = {
    "id": "Wx7d-0Zb",
    "kind": "one_time",
    "title": "审批结果通知",
    "content": "事项：{{thing1.DATA}}",
    "example": "事项：差旅报销",
    "fields": [_FIELD],
    "gone": False,
    "synced_at": "2026-03-01T01:12:00Z",
}


class AccountOptionsBody(Strict):
    """What is no secret. In a change, a field left out stays as it is."""

    model_config = example(_OPTIONS)

    original_id: Annotated[
        str, Field(pattern=r"^(gh_[A-Za-z0-9]{1,32})?$", description="The 原始ID, `gh_…`.")
    ] = ""
    family: Annotated[
        Line,
        StringConstraints(max_length=64),
        Field(
            description="Accounts of your app under one Open Platform account share union ids; name it here."
        ),
    ] = ""
    per_second: Annotated[
        float | None, Field(gt=0, le=1_000, description="The pace of sends; null takes the hub's own.")
    ] = None
    grants_from: GrantSource = Field(
        GrantSource.EVENTS,
        description="Where the hub learns of subscriptions: WeChat's events, or your client's reports. Never both.",
    )
    mini_state: Annotated[MiniState, Field(description="Which version of the mini program opens.")] = "formal"
    jump_appid: Annotated[
        str,
        Field(
            pattern=r"^(wx[0-9a-f]{16})?$",
            description="The mini program that an official account's messages open.",
        ),
    ] = ""


class CallbackNew(Strict):
    """What WeChat's pushes are signed and encrypted with."""

    model_config = example(_CALLBACK)

    token: CallbackToken
    aes_key: AesKey | None = Field(None, description="Left out: pushes come in plain text.")


class CallbackPatch(Strict):
    """A new `aes_key` comes first; the one before still opens what is under way, until `forget_previous`."""

    model_config = example({"aes_key": _CALLBACK["aes_key"]})

    token: CallbackToken | None = None
    aes_key: AesKey | None = None
    forget_previous: bool = False


class AccountNew(Strict):
    """An account to send from."""

    model_config = example(
        {
            "channel": "wechat_mp",
            "name": "通知助手",
            "appid": "wx0123456789abcdef",
            "secret": "0123456789abcdef0123456789abcdef",
            "callback": _CALLBACK,
            "options": {"family": "open-1"},
        }
    )

    channel: ChannelName
    name: AccountName
    appid: Appid
    secret: Secret
    callback: CallbackNew | None = None
    options: AccountOptionsBody = AccountOptionsBody()


class AccountPatch(Strict):
    """A field left out stays as it is."""

    model_config = example({"secret": "fedcba9876543210fedcba9876543210", "enabled": True})

    name: AccountName | None = None
    enabled: bool | None = None
    secret: Secret | None = None
    callback: CallbackPatch | None = None
    options: AccountOptionsBody | None = None


class AccountOptionsShown(Shown):
    """See the request."""

    original_id: str
    family: str
    per_second: float | None
    grants_from: GrantSource
    mini_state: str
    jump_appid: str


class AccountShown(Shown):
    """An account. Its secrets are not shown: only whether they are there."""

    model_config = example(_ACCOUNT, title="Account")

    id: str
    channel: str
    name: str
    appid: str
    enabled: bool
    options: AccountOptionsShown
    has_secret: bool
    has_callback_token: bool
    aes_keys: int = Field(description="Two during a rotation.")
    callback_path: str = Field(
        description="Under the hub's public address: the URL of WeChat's message push."
    )
    created_at: datetime


class AccountList(Shown):
    """The accounts of your app, oldest first: all of them, at most 50."""

    model_config = example({"data": [_ACCOUNT]}, title="AccountList")

    data: list[AccountShown]


class AccountHealthShown(Shown):
    """`circuit` is closed (calls go out), open (they wait until `open_until`) or probing."""

    model_config = example(_HEALTH, title="AccountHealth")

    ok: bool
    circuit: str
    open_until: datetime | None
    detail: str = Field(description="WeChat's own words, and what to do.")
    code: str


class QuotaShown(Shown):
    """WeChat's daily count of one of its calls."""

    model_config = example(_QUOTA, title="Quota")

    call: str
    limit: int
    used: int
    remaining: int


class QuotaList(Shown):
    """What may still be sent today."""

    model_config = example({"data": [_QUOTA]}, title="QuotaList")

    data: list[QuotaShown]


class TemplateFieldShown(Shown):
    """A field of a template. `limit` is in characters, null where nobody knows it."""

    model_config = example(_FIELD, title="ProviderTemplateField")

    name: str
    type: str
    limit: int | None
    rule: str
    example: str
    values: list[str] = Field(description="All that the field takes, where the template has a list.")


class ProviderTemplateShown(Shown):
    """A template as WeChat has it. `gone`: the last synchronisation no longer found it."""

    model_config = example(_TEMPLATE, title="ProviderTemplate")

    id: str
    kind: str
    title: str
    content: str
    example: str
    fields: list[TemplateFieldShown]
    gone: bool
    synced_at: datetime | None


class ProviderTemplateList(Shown):
    """All templates of an account, by title."""

    model_config = example({"data": [_TEMPLATE]}, title="ProviderTemplateList")

    data: list[ProviderTemplateShown]


def account_shown(account: Account, secrets: AccountSecrets) -> AccountShown:
    """An account as answers show it."""
    options = account.options
    return AccountShown(
        id=account.id,
        channel=account.channel,
        name=account.name,
        appid=account.external_id,
        enabled=account.enabled,
        options=AccountOptionsShown(
            original_id=options.original_id,
            family=options.family,
            per_second=options.per_second,
            grants_from=options.grants_from,
            mini_state=options.mini_state,
            jump_appid=options.jump_appid,
        ),
        has_secret=bool(secrets.secret),
        has_callback_token=bool(secrets.callback_token),
        aes_keys=len(secrets.aes_keys),
        callback_path=f"/callbacks/wechat/{account.id}",
        created_at=account.created_at,
    )


def health_shown(health: AccountHealth) -> AccountHealthShown:
    """How an account does, as answers show it."""
    return AccountHealthShown(
        ok=health.ok,
        circuit=health.circuit,
        open_until=health.open_until,
        detail=health.detail,
        code=health.code,
    )


def quota_shown(quota: Quota) -> QuotaShown:
    """A count as answers show it."""
    return QuotaShown(call=quota.call, limit=quota.limit, used=quota.used, remaining=quota.remaining)


def template_shown(template: ProviderTemplate, fields: Sequence[TemplateField]) -> ProviderTemplateShown:
    """A template as answers show it."""
    return ProviderTemplateShown(
        id=template.id,
        kind=template.kind.value,
        title=template.title,
        content=template.content,
        example=template.example,
        fields=[
            TemplateFieldShown(
                name=field.name,
                type=field.type,
                limit=field.limit,
                rule=field.rule,
                example=field.example,
                values=list(field.values),
            )
            for field in fields
        ],
        gone=template.gone,
        synced_at=template.synced_at,
    )
