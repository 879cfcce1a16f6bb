"""Every frame of a real session fits the published protocol document, which is whole."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
from websockets.frames import Frame, Opcode

from hub.channels.ws.asyncapi import document, schema_of
from hub.core.message import ConversationId
from tests.integration.gateway_of_test import ROOM, hear_to_the_end, hello, say, send, served
from tests.unit.ws.test_wire import masked


async def test_every_frame_of_a_session_fits_its_published_schema() -> None:
    published = document()
    async with served(drain_timeout=timedelta(seconds=0.5)) as here:
        here.hub.rooms[ROOM] = [here.hub.key("ann"), here.hub.key("bob")]
        large = ConversationId("cnv_large")
        here.hub.rooms[large] = [here.hub.key("ann")]
        here.hub.diffused.add(large)
        here.hub.queues[here.hub.key("ann")].append(None)
        said: list[dict[str, Any]] = [
            hello("ann", id="h", cursor=0),
            send("hi", "m1", mentions=["bob"]),
            send("hi", "m1"),
            send("hi", "m2", to={"conversation": large}),
            {"type": "ack", "seq": 1},
            {"type": "ack", "seq": 999},
            {"type": "sync", "id": 1, "after": 0, "limit": 10},
            {"type": "sync", "id": 2, "after": 99},
            {"type": "history", "id": 3, "conversation": ROOM},
            {"type": "read", "conversation": ROOM, "seq": 1},
            {"type": "watch", "id": 5, "users": ["bob", "eve"]},
            {"type": "ping", "id": "p"},
        ]
        async with here.client("bob") as bob, here.open() as ann:
            for frame in said:
                check(published, frame, from_client=True)
                await say(ann, frame)
            await asyncio.sleep(0.2)
            await say(bob, {"type": "typing", "conversation": ROOM})
            await asyncio.sleep(0.2)
            here.node.presence_changed(here.hub.key("bob"), True, here.hub.clock())
            here.node.catch_up()
            await asyncio.sleep(0.1)
            stopping = asyncio.create_task(here.stop())
            frames, _ = await hear_to_the_end(ann)
            await stopping
    kinds = set()
    for frame in frames:
        check(published, frame, from_client=False)
        kinds.add(schema_of(frame, from_client=False))
    assert kinds == {
        "Welcome", "MessageFrame", "Ok", "Error", "SyncBatch", "HistoryBatch", "Rebase", "ReadUpTo", "Watching",
        "Pong", "TypingNow", "PresenceNow", "Grew", "Farewell",
    }  # fmt: skip


def check(published: dict[str, Any], frame: dict[str, Any], *, from_client: bool) -> None:
    """The frame fits its schema, which is strict about what it does not name."""
    name = schema_of(frame, from_client=from_client)
    schema = published["components"]["schemas"][name]
    jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": published["components"]},
        format_checker=jsonschema.FormatChecker(),
    ).validate(frame)
    assert set(frame) <= set(schema["properties"]), f"{name} does not name all of {sorted(frame)}"


def test_the_document_names_every_frame_once_and_every_reference_leads_somewhere() -> None:
    published = document(version="7", server="hub.example")
    assert published["asyncapi"] == "3.0.0"
    assert published["info"]["version"] == "7"
    text = json.dumps(published)
    for part in text.split('"$ref": "#/')[1:]:
        at: Any = published
        for step in part.split('"')[0].split("/"):
            at = at[step]
    assert "\\\\Z" not in text
    for name, schema in published["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("title") == name
    with pytest.raises(LookupError):
        schema_of({"type": "nonsense"}, from_client=True)


def test_frames_of_the_library_are_what_the_wire_tests_make() -> None:
    assert masked(1, b"hi")[:2] == Frame(Opcode.TEXT, b"hi").serialize(mask=True)[:2]
