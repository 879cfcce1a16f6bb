"""What the sandbox remembers. Plain values, so that all of it can be written to one JSON file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class AccountKind(StrEnum):
    """What an appid stands for."""

    OFFICIAL = "official"
    """A service account (服务号): template messages, bizsend, menus, followers."""
    MINIPROGRAM = "miniprogram"
    """A mini program (小程序): subscribe messages, wx.login."""


class CallbackMode(StrEnum):
    """How a callback's body is written."""

    PLAIN = "plain"
    COMPATIBLE = "compatible"
    AES = "aes"


class CallbackFormat(StrEnum):
    """XML for everybody; JSON only mini programs can choose."""

    XML = "xml"
    JSON = "json"


class MessageStatus(StrEnum):
    """What became of a message after errcode 0."""

    ACCEPTED = "accepted"
    DELIVERED = "success"
    BLOCKED = "failed:user block"
    FAILED = "failed: system failed"


@dataclass(slots=True)
class Callback:
    """Where an account's events go."""

    url: str
    token: str
    encoding_aes_key: str = ""
    mode: CallbackMode = CallbackMode.PLAIN
    format: CallbackFormat = CallbackFormat.XML
    numbers_as_strings: bool = False
    """JSON pushes are seen with "CreateTime":"1620973045" as well as with numbers."""
    json_wrapper: bool = False
    """JSON pushes are seen with the items inside SubscribeMsg...Event as well as in a bare List."""


@dataclass(slots=True)
class Template:
    """A template of an account."""

    template_id: str
    title: str
    content: str
    example: str = ""
    kind: int = 0
    """0: template message; 2: one-time subscription; 3: long-term subscription."""
    industry: bool = False
    """From the old industry library: untyped keyword1, first and remark, silently shortened."""
    enums: dict[str, list[str]] = field(default_factory=dict)
    tid: str = ""
    restricted: bool = False
    """43116 for a template message."""
    banned: bool = False
    """43107 for a subscription."""


@dataclass(slots=True)
class Account:
    """An official account or a mini program."""

    appid: str
    secret: str
    kind: AccountKind
    name: str
    original_id: str
    open_platform: str = ""
    """Accounts with the same one see the same unionid; empty: none is given."""
    verified: bool = True
    api_banned: bool = False
    subscribe_banned: bool = False
    token_fault: int = 0
    """The token endpoints answer this code: 40243, 50004, 50007, 89503, 89506, 89507."""
    ip_whitelist: list[str] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)
    """Appids of mini programs that cards of this account may open."""
    pages: list[str] = field(default_factory=list)
    """Pages of the released version; empty: any."""
    oauth_domains: list[str] = field(default_factory=list)
    callback: Callback | None = None
    templates: dict[str, Template] = field(default_factory=dict)
    industries: list[str] = field(default_factory=list)
    daily_limits: dict[str, int] = field(default_factory=dict)
    minute_limits: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Person:
    """Somebody with a phone."""

    person_id: str
    name: str
    high_risk: bool = False
    """wx.login answers 40226."""


@dataclass(slots=True)
class Grant:
    """What a person said to a subscription template."""

    accepted: int = 0
    spent: int = 0
    remaining: int = 0
    long_term: bool = False
    always: str = ""
    """accept or reject: the dialog is not shown again."""


@dataclass(slots=True)
class Window:
    """Customer-service messages allowed after something the person did."""

    reason: str
    until: float
    left: int


@dataclass(slots=True)
class Tie:
    """What one person is to one account: the openid."""

    openid: str
    appid: str
    person_id: str
    following: bool = False
    followed_at: float = 0.0
    subscribe_scene: str = ""
    qr_scene: int = 0
    qr_scene_str: str = ""
    blacklisted: bool = False
    blocks_messages: bool = False
    """Template messages are accepted and then end as failed:user block."""
    refused: list[str] = field(default_factory=list)
    """Template messages switched off one by one in the account's settings."""
    grants: dict[str, Grant] = field(default_factory=dict)
    scenes: dict[str, str] = field(default_factory=dict)
    """Old one-time subscription: scene to template; a second confirmation does not add up."""
    windows: list[Window] = field(default_factory=list)
    session_key: str = ""


@dataclass(slots=True)
class Token:
    """An access_token of an account."""

    token: str
    appid: str
    kind: str
    issued_at: float
    expires_at: float
    revoked_at: float | None = None


@dataclass(slots=True)
class Code:
    """A login or OAuth code, good once."""

    code: str
    appid: str
    openid: str
    purpose: str
    expires_at: float
    scope: str = ""
    snapshot: bool = False
    used: bool = False


@dataclass(slots=True)
class UserToken:
    """An OAuth token of a person; another thing than the account's."""

    access_token: str
    refresh_token: str
    appid: str
    openid: str
    scope: str
    expires_at: float
    refresh_until: float
    snapshot: bool = False


@dataclass(slots=True)
class QrCode:
    """A QR code with a scene."""

    ticket: str
    appid: str
    url: str
    scene: str
    numeric: bool
    expires_at: float | None


@dataclass(slots=True)
class Message:
    """Something an account sent, as it was sent and as it is shown."""

    msgid: int
    api: str
    appid: str
    openid: str
    person_id: str
    title: str
    lines: list[list[str]]
    link: dict[str, str]
    request: dict[str, Any]
    sent_at: float
    template_id: str = ""
    client_msg_id: str = ""
    status: MessageStatus = MessageStatus.ACCEPTED
    tapped_at: float | None = None


@dataclass(slots=True)
class Recent:
    """A client_msg_id that was used, and what it was answered."""

    msgid: int
    at: float


@dataclass(slots=True)
class Settings:
    """What the real platform has fixed or never published, and tests need to vary."""

    token_ttl: int = 7200
    legacy_overlap: int = 300
    client_msg_id_window: int = 600
    duplicate_answer: str = "same_msgid"
    """Unknown of the real one: same_msgid (errcode 0), or error (see duplicate_errcode)."""
    duplicate_errcode: int = 45065
    big_msgid: bool = True
    processing_ms: int = 3
    """How long a send takes inside WeChat; two that overlap for one openid are 43108."""
    popup_event_when_kept: bool = True
    refuse_escapes: bool = False
    """40033 for bodies with \\uXXXX."""
    callback_timeout_ms: int = 5000
    callback_tries: int = 3
    callback_pause_ms: int = 0
    resign_retries: bool = True
    event_delay_ms: int = 0
    sensitive_words: list[str] = field(default_factory=lambda: ["赌博"])
    marketing_words: list[str] = field(default_factory=lambda: ["清仓特价"])


@dataclass(slots=True)
class State:
    """All of it."""

    seed: int = 1
    boots: int = 0
    settings: Settings = field(default_factory=Settings)
    accounts: dict[str, Account] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    ties: dict[str, Tie] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    forced: dict[str, list[float]] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    user_tokens: dict[str, UserToken] = field(default_factory=dict)
    qrcodes: dict[str, QrCode] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    """The newest ones."""
    recent: dict[str, Recent] = field(default_factory=dict)
    """openid and client_msg_id, oldest first; apart from the messages, which are dropped sooner."""
    counters: dict[str, int] = field(default_factory=dict)
    """Calls per period: quotas."""
    message_number: int = 0
