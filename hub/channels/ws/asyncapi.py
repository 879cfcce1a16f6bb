"""The AsyncAPI 3.0 document of `/v1/ws`, made from the very structs that decode and encode its frames."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from hub.channels.ws import chat_requests, frames, frames_own, requests
from hub.channels.ws.codes import PARTINGS, ErrorCode
from hub.channels.ws.routes import PATH, SUBPROTOCOL

_CLIENT: Final[dict[str, type[msgspec.Struct]]] = {
    "hello": requests.Hello,
    "send": requests.Send,
    "ack": requests.Ack,
    "sync": requests.Sync,
    "history": requests.History,
    "conversations": requests.Conversations,
    "readUpTo": requests.Read,
    "typing": requests.Typing,
    "watch": requests.Watch,
    "action": requests.Action,
    "recall": chat_requests.Recall,
    "edit": chat_requests.Edit,
    "react": chat_requests.React,
    "pin": chat_requests.PinFrame,
    "hide": chat_requests.Hide,
    "forward": chat_requests.Forward,
    "ping": requests.Ping,
    "leave": requests.Bye,
}
_SERVER: Final[dict[str, type[msgspec.Struct]]] = {
    "welcome": frames.Welcome,
    "ok": frames.Ok,
    "watching": frames.Watching,
    "acted": frames.Acted,
    "forwarded": frames.Forwarded,
    "error": frames.Error,
    "syncBatch": frames.SyncBatch,
    "historyBatch": frames.HistoryBatch,
    "listBatch": frames_own.ListBatch,
    "message": frames.MessageFrame,
    "grew": frames.Grew,
    "readBy": frames.ReadUpTo,
    "conversation": frames_own.ConversationState,
    "contact": frames_own.ContactChanged,
    "stale": frames_own.Stale,
    "presence": frames.PresenceNow,
    "typingNow": frames.TypingNow,
    "pong": frames.Pong,
    "behind": frames.Behind,
    "news": frames.News,
    "rebase": frames.Rebase,
    "bye": frames.Farewell,
}
_REF: Final = "#/components/schemas/{name}"


def document(*, version: str = "1", server: str | None = None) -> dict[str, Any]:
    """The whole document, as JSON values. `server` is the host that clients connect to."""
    schemas = _schemas()
    messages = {
        name: {
            "name": name,
            "title": struct.__name__,
            "summary": (struct.__doc__ or "").strip(),
            "contentType": "application/json",
            "payload": {"$ref": _REF.format(name=struct.__name__)},
        }
        for name, struct in (_CLIENT | _SERVER).items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Notification hub: sockets",
            "version": version,
            "description": _description(),
        },
        "defaultContentType": "application/json",
        "servers": {"hub": {"host": server or "localhost:8080", "protocol": "wss"}},
        "channels": {
            "socket": {
                "address": PATH,
                "title": "One connection of one device",
                "description": f"Subprotocol `{SUBPROTOCOL}`, JSON text frames, the first one is `hello`.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "clientSays": _operation("receive", _CLIENT, "What a client may say; the hub receives it."),
            "hubSays": _operation("send", _SERVER, "What the hub says."),
        },
        "components": {"messages": messages, "schemas": schemas},
        "x-close-codes": [
            {"code": parting.code, "reason": parting.reason, "reconnect": parting.reconnect}
            for parting in PARTINGS
        ],
        "x-error-codes": [code.value for code in ErrorCode],
    }


def schema_of(frame: dict[str, Any], *, from_client: bool) -> str:
    """The name of the schema that a frame must fit, by its type and, where two share one, by its fields."""
    kind = frame["type"]
    if not from_client and kind == "ok" and "presence" in frame:
        return frames.Watching.__name__
    if not from_client and kind == "ok" and "intent" in frame:
        return frames.Acted.__name__
    if not from_client and kind == "ok" and "forwarded" in frame:
        return frames.Forwarded.__name__
    if not from_client and kind == "batch" and "conversations" in frame:
        return frames_own.ListBatch.__name__
    if not from_client and kind == "batch":
        return (frames.SyncBatch if "next" in frame else frames.HistoryBatch).__name__
    for struct in (_CLIENT if from_client else _SERVER).values():
        if struct.__struct_config__.tag == kind:
            return struct.__name__
    message = f"no such frame: {kind!r}"
    raise LookupError(message)


def _schemas() -> dict[str, Any]:
    structs = [*_CLIENT.values(), *_SERVER.values(), frames.MessageBody, chat_requests.Destination]
    _, schemas = msgspec.json.schema_components(structs, ref_template=_REF)
    # The generator does not know bodies that are passed on as they are, nor rules over several fields.
    body = {"description": "Any JSON object or string, as it was sent.", "type": ["object", "string"]}
    schemas["Send"]["properties"]["body"] = schemas["Edit"]["properties"]["body"] = body
    for name in ("MessageFrame", "MessageBody"):
        schemas[name]["properties"]["body"] = {"description": "As it was sent; null in a tombstone."}
    queued = {"allOf": [{"$ref": _REF.format(name="MessageBody")}, _NUMBERED]}
    schemas["SyncBatch"]["properties"]["entries"] = {"type": "array", "items": queued}
    history = {"type": "array", "items": {"$ref": _REF.format(name="MessageBody")}}
    schemas["HistoryBatch"]["properties"]["entries"] = schemas["HistoryBatch"]["properties"]["quoted"] = (
        history
    )
    listed = {"type": "object", "description": "As in `GET /v1/conversations`.", "required": ["id", "mine"]}
    schemas["ListBatch"]["properties"]["conversations"] = {"type": "array", "items": listed}
    schemas["Conversations"]["not"] = {"required": ["conversation", "after"]}
    schemas["Watching"]["properties"]["presence"]["additionalProperties"] = _ONLINE
    schemas["Destination"] |= {"minProperties": 1, "maxProperties": 1}
    schemas["History"]["not"] = {"required": ["before", "after"]}
    return _portable(schemas)


_ONLINE: Final = {
    "type": "object",
    "required": ["online"],
    "properties": {
        "online": {"type": "boolean"},
        "platforms": {"type": "array", "items": {"type": "string"}},
    },
}
_NUMBERED: Final = {"type": "object", "required": ["q"], "properties": {"q": {"type": "integer"}}}


def _portable(schemas: dict[str, Any]) -> dict[str, Any]:
    r"""Python ends a pattern with \Z, everybody else with $ (which matches before a final newline in Python only)."""
    loaded: dict[str, Any] = json.loads(json.dumps(schemas).replace("\\\\Z", "$"))
    return loaded


def _operation(action: str, structs: dict[str, type[msgspec.Struct]], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/socket"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/socket/messages/{name}"} for name in structs],
    }


def _description() -> str:
    lines = [
        f"* {p.code} `{p.reason}`: {'come back' if p.reconnect else 'do not come back'}" for p in PARTINGS
    ]
    return "Close codes, each after a `bye`:\n\n" + "\n".join(lines)
