"""Control API: accounts, templates, callbacks, settings, clock, chaos, ledger, reset."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import msgspec
from fastapi.responses import StreamingResponse

from hub.sandbox import crypto, views
from hub.sandbox.chaos import ChaosPlan, EventTrouble, Rule
from hub.sandbox.control import Asked, Row, patch, read, refuse_unknown
from hub.sandbox.demo import demo_state
from hub.sandbox.errors import ControlError
from hub.sandbox.state import Account, AccountKind, Callback, CallbackFormat, CallbackMode, State, Template
from hub.sandbox.templates import new_template_id

_CONFLICT: Final = 409


async def state(asked: Asked) -> Any:
    """Everything but the messages."""
    return views.world_view(asked.world)


async def reset(asked: Asked) -> Any:
    """A new world: the demo one, or with {"demo": false} an empty one."""
    seed = asked.body.get("seed", asked.world.state.seed)
    if not isinstance(seed, int):
        raise ControlError("seed must be a whole number", status=422)
    await asked.world.become(demo_state(seed) if asked.body.get("demo", True) else State(seed=seed))
    return views.world_view(asked.world)


async def set_settings(asked: Asked) -> Any:
    """Changes the settings that are named. Pushes under way keep theirs."""
    fresh = patch(asked.world.state.settings, asked.body)
    asked.world.state.settings = fresh
    asked.world.callbacks.settings = fresh
    asked.world.changed("settings")
    return msgspec.to_builtins(fresh)


async def set_clock(asked: Asked) -> Any:
    """{"advance_seconds": 600}, {"freeze": true}, {"freeze": false}."""
    clock = asked.world.clock
    match asked.body.get("freeze"):
        case True:
            clock.freeze()
        case False:
            clock.thaw()
        case _:
            pass
    advance = asked.body.get("advance_seconds", 0)
    if not isinstance(advance, int | float):
        raise ControlError("advance_seconds must be a number", status=422)
    clock.advance(timedelta(seconds=advance))
    return {"now": clock.now()}


async def create_account(asked: Asked) -> Any:
    """{"kind": "official" or "miniprogram", "name": ...}; what is left out is made up."""
    chance = asked.world.chance
    made_up = {
        "appid": "wx" + chance.hexadecimal(16),
        "secret": chance.hexadecimal(32),
        "original_id": "gh_" + chance.hexadecimal(12),
        "kind": str(AccountKind.OFFICIAL),
        "name": "测试账号",
    }
    account = read(made_up | asked.body, Account)
    if account.appid in asked.world.state.accounts:
        raise ControlError(f"there is an account {account.appid} already", status=_CONFLICT)
    asked.world.state.accounts[account.appid] = account
    asked.world.changed("accounts")
    return views.account_view(account)


async def change_account(asked: Asked) -> Any:
    """Changes what is named; templates and the callback have their own paths."""
    account = asked.world.account(asked.path["appid"])
    fixed = {"appid", "templates", "callback"} & set(asked.body)
    if fixed:
        raise ControlError(f"{min(fixed)} cannot be changed here", status=422)
    changed = patch(account, asked.body)
    asked.world.state.accounts[account.appid] = changed
    asked.world.changed("accounts")
    return views.account_view(changed)


async def set_callback(asked: Asked) -> Any:
    """Sets where events go, after the URL has answered echostr. {"verify": false} leaves the check out."""
    account = asked.world.account(asked.path["appid"])
    body = dict(asked.body)
    verify = body.pop("verify", True)
    callback = read(body, Callback)
    if callback.format is CallbackFormat.JSON and account.kind is AccountKind.OFFICIAL:
        raise ControlError("official accounts get XML only", status=422)
    if callback.mode is not CallbackMode.PLAIN:
        try:
            crypto.key_of(callback.encoding_aes_key)
        except crypto.CryptoError as error:
            raise ControlError(str(error), status=422) from error
    if verify and (reason := await asked.world.callbacks.check(callback)):
        raise ControlError(reason, status=_CONFLICT)
    account.callback = callback
    asked.world.changed("accounts")
    return views.account_view(account)


async def drop_callback(asked: Asked) -> Any:
    """No events any more."""
    asked.world.account(asked.path["appid"]).callback = None
    asked.world.changed("accounts")
    return {}


async def create_template(asked: Asked) -> Any:
    """{"title", "content"}, kind 0 (template message), 2 (one-time) or 3 (long-term)."""
    account = asked.world.account(asked.path["appid"])
    template = read({"template_id": new_template_id(asked.world)} | asked.body, Template)
    if template.template_id in account.templates:
        raise ControlError(f"there is a template {template.template_id} already", status=_CONFLICT)
    account.templates[template.template_id] = template
    asked.world.changed("templates")
    return views.template_view(template)


async def change_template(asked: Asked) -> Any:
    """Changes what is named: {"restricted": true}, {"banned": true}, a new content."""
    account = asked.world.account(asked.path["appid"])
    template_id = asked.path["template_id"]
    if template_id not in account.templates:
        raise ControlError(f"no template {template_id} in {account.appid}", status=404)
    if "template_id" in asked.body:
        raise ControlError("template_id cannot be changed", status=422)
    account.templates[template_id] = patch(account.templates[template_id], asked.body)
    asked.world.changed("templates")
    return views.template_view(account.templates[template_id])


async def get_chaos(asked: Asked) -> Any:
    """The plan in force, with how often each rule matched and hit."""
    return msgspec.to_builtins(asked.world.chaos.plan)


async def set_chaos(asked: Asked) -> Any:
    """{"seed", "rules": [...], "events": {...}} instead of the plan before."""
    for rule in asked.body.get("rules", []):
        refuse_unknown(rule if isinstance(rule, dict) else {}, Rule)
    events = asked.body.get("events", {})
    refuse_unknown(events if isinstance(events, dict) else {}, EventTrouble)
    asked.world.chaos.use(read(asked.body, ChaosPlan))
    return msgspec.to_builtins(asked.world.chaos.plan)


async def clear_chaos(asked: Asked) -> Any:
    """No troubles."""
    asked.world.chaos.use(ChaosPlan())
    return {}


async def kill_tokens(asked: Asked) -> Any:
    """All tokens of the account die now, as when somebody else fetched one or the secret was changed."""
    account = asked.world.account(asked.path["appid"])
    now = asked.world.clock.now()
    for token in asked.world.state.tokens.values():
        if token.appid == account.appid:
            token.revoked_at = now
    return {}


async def get_ledger(asked: Asked) -> Any:
    """What really happened."""
    return asked.world.ledger.report()


async def get_callbacks(asked: Asked) -> Any:
    """The last pushes with each try."""
    return {"pushes": [msgspec.to_builtins(push) for push in asked.world.callbacks.pushes]}


async def settle(asked: Asked) -> Any:
    """Answers when no push is under way any more."""
    await asked.world.callbacks.settled()
    return {}


async def get_messages(asked: Asked) -> Any:
    """Messages, also those that reached nobody; ?appid=, ?openid=, ?person_id= narrow them."""
    wanted = [(name, asked.query[name]) for name in ("appid", "openid", "person_id") if name in asked.query]
    found = [
        views.message_view(message)
        for message in asked.world.state.messages
        if all(getattr(message, name) == value for name, value in wanted)
    ]
    return {"messages": found}


async def stream(asked: Asked) -> Any:
    """Server-sent events: something changed."""
    return StreamingResponse(
        asked.world.feed.stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


ROWS: Final[tuple[Row, ...]] = (
    ("GET", "/sandbox/state", state),
    ("POST", "/sandbox/reset", reset),
    ("PATCH", "/sandbox/settings", set_settings),
    ("POST", "/sandbox/clock", set_clock),
    ("POST", "/sandbox/accounts", create_account),
    ("PATCH", "/sandbox/accounts/{appid}", change_account),
    ("PUT", "/sandbox/accounts/{appid}/callback", set_callback),
    ("DELETE", "/sandbox/accounts/{appid}/callback", drop_callback),
    ("POST", "/sandbox/accounts/{appid}/templates", create_template),
    ("PATCH", "/sandbox/accounts/{appid}/templates/{template_id}", change_template),
    ("POST", "/sandbox/accounts/{appid}/kill_tokens", kill_tokens),
    ("GET", "/sandbox/chaos", get_chaos),
    ("POST", "/sandbox/chaos", set_chaos),
    ("DELETE", "/sandbox/chaos", clear_chaos),
    ("GET", "/sandbox/ledger", get_ledger),
    ("GET", "/sandbox/callbacks", get_callbacks),
    ("POST", "/sandbox/callbacks/settle", settle),
    ("GET", "/sandbox/messages", get_messages),
    ("GET", "/sandbox/stream", stream),
)
