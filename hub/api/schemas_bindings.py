"""Schemas of bindings (who is who at WeChat), of invitations to bind, and of what people allow to be sent."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from hub.api.schemas import Line, Shown, Strict, UserId, example
from hub.api.schemas_accounts import AccountText
from hub.core.accounts import Binding, Consent, GrantBalance, Invitation

Address: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128, pattern=r"^[!-~]+$"),
    Field(description="WeChat's id of a person at an account.", examples=["oGZUI0egBJY1zhBYw2KhdUfwVJJE"]),
]
UnionId: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128, pattern=r"^[!-~]+$"),
    Field(
        description="The same person's id in all accounts of a family.",
        examples=["oR5GjjgEhCMJFyzaVZdrxZ2zRRF4"],
    ),
]
TemplateText: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
OnceText: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$"),
    Field(
        description="Your client's own id of the question; a repeat changes nothing.", examples=["ask-0195a1"]
    ),
]

_OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
_UNIONID = "oR5GjjgEhCMJFyzaVZdrxZ2zRRF4"
_BINDING = {
    "account": "acc_0195a1",
    "user_id": "u_1024",
    "openid": _OPENID,
    "unionid": _UNIONID,
    "state": "active",
    "source": "qr",
    "updated_at": "2026-03-01T01:12:00Z",
}
_GRANT = {
    "template": "Wx7d-0Zb",
    "remaining": 2,
    "reserved": 1,
    "unlimited": False,
    "updated_at": "2026-03-01T01:12:00Z",
}


class BindingShown(Shown):
    """An address of a user at an account. `state`: active, unfollowed, blocked or invalid; what rests comes back when
    the person does. `source`: how the hub learnt of it."""

    model_config = example(_BINDING, title="Binding")

    account: str
    user_id: str | None
    openid: str
    unionid: str | None
    state: str
    source: str
    updated_at: datetime


class BindingList(Shown):
    """Bindings, newest first."""

    model_config = example({"data": [_BINDING]}, title="BindingList")

    data: list[BindingShown]


class BindingItem(Strict):
    """Who has which openid."""

    model_config = example({"user_id": "u_1024", "openid": _OPENID, "unionid": _UNIONID})

    user_id: UserId
    openid: Address
    unionid: UnionId | None = None


class BindingImport(Strict):
    """What you know already. Users who are not there yet are made."""

    model_config = example({"bindings": [{"user_id": "u_1024", "openid": _OPENID, "unionid": _UNIONID}]})

    bindings: Annotated[list[BindingItem], Field(min_length=1, max_length=1_000)]


class UserBindingItem(Strict):
    """The user's openid at one account."""

    model_config = example({"account": "acc_0195a1", "openid": _OPENID, "unionid": _UNIONID})

    account: AccountText
    openid: Address
    unionid: UnionId | None = None


class UserBindingImport(Strict):
    """What you know of one user."""

    model_config = example({"bindings": [{"account": "acc_0195a1", "openid": _OPENID}]})

    bindings: Annotated[list[UserBindingItem], Field(min_length=1, max_length=50)]


class Imported(Shown):
    """`written` are the bindings that were named, `linked` the others that were found through union ids."""

    model_config = example({"written": 998, "linked": 412}, title="Imported")

    written: int
    linked: int


class InvitationNew(Strict):
    """`page` opens inside of WeChat, `qr` is scanned with it: the person who does is bound to the user."""

    model_config = example({"account": "acc_0195a1", "by": "page", "return_to": "/profile"})

    account: AccountText
    by: Literal["page", "qr"]
    return_to: Annotated[
        Line,
        StringConstraints(max_length=1_024),
        Field(
            description="Where the browser goes afterwards (`page` only): a path at this hub, or an address of an "
            "origin in HUB_RETURN_ORIGINS. Empty: a page of the hub's own."
        ),
    ] = ""


class InvitationShown(Shown):
    """Show it to that person only: whoever comes first is bound. `picture` is the address of a QR code."""

    model_config = example(
        {
            "url": "https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx0123456789abcdef&state=…",
            "picture": "",
            "expires_at": "2026-03-01T01:22:00Z",
        },
        title="Invitation",
    )

    url: str
    picture: str
    expires_at: datetime


class LoginCode(Strict):
    """What `wx.login` gave the mini program; it can be used once, within five minutes."""

    model_config = example({"account": "acc_0195a1", "code": "0e1Kx30w3V2m5Z2Fqk0w3pQ8GM3Kx30X"})

    account: AccountText
    code: Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[!-~]+$")]


class ConsentsNew(Strict):
    """What `wx.requestSubscribeMessage` answered, by template id."""

    model_config = example({"account": "acc_0195a1", "answers": {"Wx7d-0Zb": "accept"}, "once": "ask-0195a1"})

    account: AccountText
    answers: Annotated[dict[TemplateText, Consent], Field(min_length=1, max_length=20)]
    once: OnceText


class GrantShown(Shown):
    """How many messages of a template you still allow. `reserved` are on their way; `unlimited` is a long-term
    subscription, which is not counted."""

    model_config = example(_GRANT, title="Grant")

    template: str
    remaining: int
    reserved: int
    unlimited: bool
    updated_at: datetime


class GrantList(Shown):
    """What you allow at one account, by template."""

    model_config = example({"data": [_GRANT]}, title="GrantList")

    data: list[GrantShown]


def binding_shown(binding: Binding, user_id: str | None) -> BindingShown:
    """A binding as answers show it."""
    return BindingShown(
        account=binding.account,
        user_id=user_id,
        openid=binding.address,
        unionid=binding.union_id,
        state=binding.state.value,
        source=binding.source,
        updated_at=binding.updated_at,
    )


def invitation_shown(invitation: Invitation) -> InvitationShown:
    """An invitation as answers show it."""
    return InvitationShown(url=invitation.url, picture=invitation.picture, expires_at=invitation.expires_at)


def grant_shown(balance: GrantBalance) -> GrantShown:
    """A balance as answers show it."""
    return GrantShown(
        template=balance.key.template,
        remaining=balance.remaining,
        reserved=balance.reserved,
        unlimited=balance.unlimited,
        updated_at=balance.updated_at,
    )
