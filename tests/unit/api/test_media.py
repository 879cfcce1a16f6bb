"""Files: uploaded as streams, shown by messages, read by those who can read the messages and by nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.core.media import MediaId
from tests.unit.api.harness import World, open_world, sqlite_url

PNG = b"\x89PNG\r\n\x1a\n" + bytes(2_000)
IMAGE = {"Content-Type": "image/png"}


async def uploaded(
    world: World, token: str | None = None, *, path: str = "/v1/media?name=照片.png"
) -> dict[str, Any]:
    answer = await world.call("POST", path, token, content=PNG, headers=IMAGE)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def shown_in(world: World, room: str, media: object, sender: str, **more: Any) -> Any:
    body = {"kind": "image", "body": {"media": media, **more}, "sender": sender}
    return await world.call("POST", f"/v1/conversations/{room}/messages", json=body)


async def test_an_upload_is_described_and_served_again(world: World) -> None:
    await world.users("u_1")
    token = await world.token("u_1")
    made = await uploaded(world, token)
    assert (made["name"], made["mime"], made["size"], made["state"]) == (
        "照片.png",
        "image/png",
        len(PNG),
        "ready",
    )
    answer = await world.call("GET", f"/v1/media/{made['id']}", token)
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("inline; filename=")
    assert await world.get(f"/v1/media/{made['id']}/about", token) == made


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-9", 206, PNG[:10]),
        ("bytes=2000-", 206, PNG[2000:]),
        ("bytes=-5", 206, PNG[-5:]),
        ("bytes=5-999999", 206, PNG[5:]),
        ("bytes=999999-", 416, None),
        ("bytes=-0", 416, None),
        ("lines=1-2", 200, PNG),
        ("bytes=1-2,4-5", 200, PNG),
    ],
)
async def test_a_stretch_is_served(world: World, asked: str, status: int, content: bytes | None) -> None:
    made = await uploaded(world)
    answer = await world.call("GET", f"/v1/media/{made['id']}", headers={"Range": asked})
    assert answer.status_code == status
    if content is not None:
        assert answer.content == content
        assert answer.headers["content-length"] == str(len(content))
    else:
        assert answer.headers["content-range"] == f"bytes */{len(PNG)}"


async def test_a_form_is_an_upload_too(world: World) -> None:
    files = {"file": ("合影.png", PNG, "image/png")}
    answer = await world.call("POST", "/v1/media", files=files, data={"formId": "7"})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["name"], answer.json()["size"]) == ("合影.png", len(PNG))


@pytest.mark.parametrize(
    ("data", "mime", "code"),
    [
        (b"<html><script>alert(1)</script>", "image/png", "media_type_mismatch"),
        (PNG, "video/mp4", "media_type_mismatch"),
        (b"", "image/png", "media_empty"),
        (PNG, "not a type", "media_type_invalid"),
    ],
)
async def test_what_is_not_what_it_is_called_is_refused(
    world: World, data: bytes, mime: str, code: str
) -> None:
    answer = await world.call("POST", "/v1/media", content=data, headers={"Content-Type": mime})
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_pages_and_programs_are_only_ever_saved(world: World) -> None:
    for mime in ("text/html", "image/svg+xml", "application/javascript", "application/pdf"):
        text = {"Content-Type": mime}
        made = (await world.call("POST", "/v1/media", content=b"<svg onload=alert(1)>", headers=text)).json()
        answer = await world.call("GET", f"/v1/media/{made['id']}")
        assert answer.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in answer.headers["content-security-policy"]


async def test_a_file_is_read_by_those_who_can_read_a_message_that_shows_it(world: World) -> None:
    await world.users("u_1", "u_2", "u_3")
    room = await world.group("u_1", "u_2")
    mine, other, stranger = [await world.token(f"u_{n}") for n in (1, 2, 3)]
    made = await uploaded(world, mine)
    path = f"/v1/media/{made['id']}"
    assert (await world.call("GET", path, other)).status_code == 404
    assert (await shown_in(world, room, made["id"], "u_1")).status_code < 300
    assert (await world.call("GET", path, other)).content == PNG
    assert (await world.call("GET", path, stranger)).status_code == 404
    assert (await world.call("GET", path, world.their_key)).status_code == 404
    await world.call("DELETE", f"/v1/conversations/{room}/members/u_2")
    assert (await world.call("GET", path, other)).status_code == 404, "not after leaving"


async def test_who_joined_later_does_not_read_what_was_shown_before(world: World) -> None:
    await world.users("u_1", "u_2", "u_3")
    room = await world.group("u_1", "u_2")
    made = await uploaded(world, await world.token("u_1"))
    await shown_in(world, room, made["id"], "u_1")
    await world.post(f"/v1/conversations/{room}/members", {"members": [{"user_id": "u_3"}]})
    late = await world.token("u_3")
    assert (await world.call("GET", f"/v1/media/{made['id']}", late)).status_code == 404


async def test_nobody_shows_what_they_cannot_read(world: World) -> None:
    await world.users("u_1", "u_2", "u_3")
    room = await world.group("u_1", "u_2")
    secret = await uploaded(world, await world.token("u_3"))
    theirs = await uploaded(world, world.their_key)
    for media in (secret["id"], theirs["id"], "med_" + "0" * 32, [secret["id"]]):
        answer = await shown_in(world, room, media, "u_1")
        assert (answer.status_code, answer.json()["code"]) == (422, "media_unknown")
    for media in ("../etc/passwd", 7, {"id": secret["id"]}, [secret["id"]] * 10):
        answer = await shown_in(world, room, media, "u_1")
        assert answer.status_code == 422
        assert answer.json()["code"] != "media_unknown"
    assert (await world.call("GET", f"/v1/media/{secret['id']}", await world.token("u_2"))).status_code == 404


async def test_what_one_can_read_one_can_show_elsewhere(world: World) -> None:
    await world.users("u_1", "u_2", "u_3")
    first, second = await world.group("u_1", "u_2"), await world.group("u_2", "u_3")
    made = await uploaded(world, await world.token("u_1"))
    await shown_in(world, first, made["id"], "u_1")
    assert (await shown_in(world, second, made["id"], "u_2")).status_code < 300
    third = await world.token("u_3")
    assert (await world.call("GET", f"/v1/media/{made['id']}", third)).content == PNG


async def test_a_link_works_without_a_token_for_its_file_and_its_time(world: World) -> None:
    made, other = await uploaded(world), await uploaded(world)
    url = (await world.get(f"/v1/media/{made['id']}/link"))["url"]
    answer = await world.call("GET", url, "")
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    for forged in (
        url.replace(made["id"], other["id"]),
        url.replace("expires=", "expires=9"),
        url[:-2] + "00",
    ):
        refused = await world.call("GET", forged, "")
        assert (refused.status_code, refused.json()["code"]) == (403, "media_link_invalid")
    world.clock.shift = timedelta(minutes=11)
    assert (await world.call("GET", url, "")).status_code == 403


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(sqlite_url(tmp_path), media_max_bytes=1_000) as world:
        yield world


async def test_the_hubs_bound_and_the_apps_bound_both_hold(small: World) -> None:
    answer = await small.call("POST", "/v1/media", content=PNG, headers=IMAGE)
    assert (answer.status_code, answer.json()["code"]) == (413, "media_too_large")
    settings = {"settings": {"media_max_bytes": 100}}
    assert (await small.call("PATCH", "/v1/apps/shop", small.admin, json=settings)).status_code == 200
    answer = await small.call("POST", "/v1/media", content=PNG[:500], headers=IMAGE)
    assert (answer.status_code, answer.json()["code"]) == (413, "media_too_large")
    answer = await small.call("POST", "/v1/media", content=PNG[:100], headers=IMAGE)
    assert answer.status_code == 201


async def test_a_file_that_nothing_shows_goes_after_its_time(world: World) -> None:
    await world.users("u_1", "u_2")
    room = await world.group("u_1", "u_2")
    lonely, used = await uploaded(world), await uploaded(world, path="/v1/media?user=u_1")
    await shown_in(world, room, used["id"], "u_1")
    desk = world.hub.keeping.media
    assert await desk.sweep() == 0
    world.clock.shift = timedelta(hours=25)
    assert await desk.sweep() == 1
    assert await desk.store.size(MediaId(lonely["id"])) is None
    assert (await world.call("GET", f"/v1/media/{lonely['id']}")).status_code == 404
    assert (await world.call("GET", f"/v1/media/{used['id']}")).content == PNG


async def test_a_reference_whose_message_never_came_holds_nothing(world: World) -> None:
    await world.users("u_1", "u_2")
    room = await world.group("u_1", "u_2")
    made = await uploaded(world, await world.token("u_1"))
    refused = await shown_in(world, room, made["id"], "nobody")
    assert refused.status_code >= 400
    body = {"kind": "image", "body": {"media": made["id"]}, "sender": "u_1", "client_msg_id": "c-1"}
    first = await world.post(f"/v1/conversations/{room}/messages", body)
    again = await world.post(f"/v1/conversations/{room}/messages", body)
    assert again["id"] == first["id"]
    world.clock.shift = timedelta(hours=2)
    await world.hub.keeping.media.sweep()
    found = await world.hub.keeping.media.book.references([MediaId(made["id"])], limit=9)
    assert list(found[MediaId(made["id"])]) == [first["id"]]


async def test_a_file_goes_with_the_last_message_that_shows_it(world: World) -> None:
    await world.users("u_1", "u_2")
    room = await world.group("u_1", "u_2")
    made = await uploaded(world, await world.token("u_1"))
    await shown_in(world, room, made["id"], "u_1")
    await world.post(f"/v1/conversations/{room}/messages", {"body": {"text": "后来"}, "sender": "u_1"})
    settings = {"settings": {"retention": "PT1H"}}
    await world.call("PATCH", "/v1/apps/shop", world.admin, json=settings)
    world.clock.shift = timedelta(hours=26)
    await world.hub.keeping.retention.expire(world.clock())
    assert await world.hub.keeping.media.sweep() == 1
    assert await world.hub.keeping.media.store.size(MediaId(made["id"])) is None


async def test_uploads_past_the_hub_are_refused_where_a_folder_keeps_files(world: World) -> None:
    body = {"name": "film.mp4", "mime": "video/mp4", "size": 10}
    answer = await world.call("POST", "/v1/media/uploads", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "media_not_direct")
