"""Every frame of a real session fits the published protocol document, which is whole."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from websockets.frames import Frame, Opcode

from hub.channels.ws.asyncapi import document, schema_of
from hub.core.approvals import ActedOn, TaskDecided
from hub.core.errors import NotFound
from hub.core.message import AppId, ConversationId, MessageId
from hub.core.task import (
    Content,
    Effect,
    Instance,
    Intent,
    IntentId,
    IntentState,
    Person,
    SignMode,
    Task,
    TaskId,
    TaskState,
)
from hub.core.task_flow import AlreadyDecided
from tests.integration.gateway_of_test import ROOM, hear_to_the_end, hello, say, send, served
from tests.unit.ws.test_wire import masked

NOW = datetime(2026, 3, 1, 9, 12, tzinfo=UTC)


@dataclass
class Cards:
    """One card, which the first who presses decides."""

    decided: Intent | None = None

    async def act_on_message(
        self,
        app: AppId,
        message: MessageId,
        person: Person,
        action: str,
        *,
        comment: str = "",
        client_action_id: str | None = None,
        acted_from: str = "",
    ) -> ActedOn:
        """What core.approvals.Approvals would answer."""
        if message != "msg_card":
            raise NotFound("task_not_found", "This message is not the card of a task of yours.")
        state, content = TaskState.PENDING, Content(Instance("i"))
        task = Task(TaskId("tsk_1"), app, "t", content, SignMode.ANY, state, 1, (), NOW, NOW)
        if self.decided is not None and self.decided.client_action_id != client_action_id:
            raise TaskDecided(task, AlreadyDecided(TaskState.APPROVED, "ann", "approve", NOW))
        repeated = self.decided is not None
        self.decided = Intent(
            IntentId("act_1"),
            person,
            action,
            Effect.APPROVE,
            NOW,
            1,
            comment,
            client_action_id,
            IntentState.PENDING,
            acted_from=acted_from,
        )
        return ActedOn(task, self.decided, repeated)


async def test_every_frame_of_a_session_fits_its_published_schema() -> None:
    published = document()
    pressed = {"comment": "好 👍", "client_action_id": "c-1"}
    async with served(actions=Cards(), drain_timeout=timedelta(seconds=0.5)) as here:
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
            {"type": "action", "id": 6, "message": "msg_card", "action": "approve", "data": pressed},
            {"type": "action", "id": 7, "message": "msg_card", "action": "approve", "data": pressed},
            {"type": "action", "id": 8, "message": "msg_card", "action": "reject"},
            {"type": "action", "id": "9", "message": "msg_other", "action": "approve"},
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
    told = {frame["id"]: frame for frame in frames if frame.get("id") in (6, 7, 8, "9")}
    assert [told[id_].get("duplicate") for id_ in (6, 7)] == [False, True]
    assert [told[id_]["code"] for id_ in (8, "9")] == ["task_already_decided", "task_not_found"]
    assert kinds == {
        "Welcome", "MessageFrame", "Ok", "Error", "SyncBatch", "HistoryBatch", "Rebase", "ReadUpTo", "Watching",
        "Pong", "TypingNow", "PresenceNow", "Grew", "Stale", "Farewell", "Acted",
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
