"""What a media store promises, over a folder and over a store that speaks S3."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from hub.core.errors import NotFound, Refused, Unavailable
from hub.core.media import MediaId, MediaStore
from hub.media.folder import FolderStore
from hub.media.opening import open_media_store
from hub.media.s3 import Bucket
from tests.fakes.s3 import FakeS3, fake_s3

KEY = MediaId("med_" + "0123456789abcdef" * 2)
OTHER = MediaId("med_" + "f" * 32)
BYTES = bytes(range(256)) * 5_000


def now() -> datetime:
    return datetime.now(UTC)


async def chunks(data: bytes, size: int = 70_001) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.fixture
async def far() -> AsyncIterator[FakeS3]:
    async with fake_s3() as store:
        yield store


@pytest.fixture(params=["folder", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, far: FakeS3) -> AsyncIterator[MediaStore]:
    where = far.url if request.param == "s3" else str(tmp_path / "files")
    async with open_media_store(where, data_dir=tmp_path, clock=now) as opened:
        yield opened


async def kept(store: MediaStore, data: bytes = BYTES, key: MediaId = KEY) -> None:
    received = await store.receive(chunks(data), most=len(data))
    assert (received.size, received.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert received.beginning == data[:512]
    await store.keep(received, key, mime="application/octet-stream")
    await store.discard(received)


async def read(store: MediaStore, start: int, length: int, key: MediaId = KEY) -> bytes:
    return b"".join([part async for part in store.read(key, start=start, length=length)])


async def test_what_is_kept_is_read_again_whole_and_in_part(store: MediaStore) -> None:
    await kept(store)
    assert await store.size(KEY) == len(BYTES)
    assert await read(store, 0, len(BYTES)) == BYTES
    assert await read(store, 300_000, 1_000) == BYTES[300_000:301_000]


async def test_what_is_removed_is_gone_and_may_be_removed_again(store: MediaStore) -> None:
    await kept(store)
    await store.remove(KEY)
    await store.remove(KEY)
    assert await store.size(KEY) is None
    with pytest.raises(NotFound):
        await read(store, 0, 10)


async def test_too_much_and_nothing_are_refused_and_leave_nothing(store: MediaStore, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        await store.receive(chunks(BYTES), most=len(BYTES) - 1)
    assert refused.value.code == "media_too_large"
    with pytest.raises(Refused) as refused:
        await store.receive(chunks(b""), most=10)
    assert refused.value.code == "media_empty"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_what_was_received_and_never_kept_is_tidied_away(store: MediaStore, tmp_path: Path) -> None:
    received = await store.receive(chunks(b"left behind"), most=100)
    await store.tidy(now() - timedelta(hours=1))
    assert Path(received.place).exists()
    await store.tidy(now() + timedelta(seconds=1))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("key", ["med_../../../../etc/passwd", "med_" + "/" * 32, "..", "MED_" + "0" * 32])
async def test_nothing_but_an_id_becomes_a_place(store: MediaStore, key: str) -> None:
    with pytest.raises(NotFound):
        await read(store, 0, 1, MediaId(key))
    with pytest.raises(NotFound):
        await store.remove(MediaId(key))


async def test_files_in_a_folder_are_for_the_hub_alone(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "files")
    await kept(store)
    (path,) = [path for path in tmp_path.rglob("med_*") if path.is_file()]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "files").stat().st_mode) == 0o700
    assert path.relative_to(tmp_path / "files").parts == ("ef", "cd", KEY)


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("not a folder")
    with pytest.raises(Unavailable):
        await FolderStore(tmp_path / "files").receive(chunks(b"x"), most=10)


async def test_a_folder_gives_no_links_of_its_own(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    assert not store.direct
    assert store.link(KEY, mime="a/b", disposition="inline", ttl=timedelta(1), now=now()) is None
    assert store.upload_link(KEY, mime="a/b", size=1, ttl=timedelta(1), now=now()) is None


async def test_a_client_puts_and_gets_past_the_hub_by_signed_urls(far: FakeS3, tmp_path: Path) -> None:
    minute = timedelta(minutes=1)
    async with (
        open_media_store(far.url, data_dir=tmp_path, clock=now) as store,
        aiohttp.ClientSession() as client,
    ):
        link = store.upload_link(KEY, mime="video/mp4", size=5, ttl=minute, now=now())
        assert link is not None
        async with client.put(link.url, data=b"12345", headers=dict(link.headers)) as answer:
            assert answer.status == 200
        async with client.put(link.url, data=b"123456", headers={"Content-Type": "video/mp4"}) as answer:
            assert answer.status == 403, "another length is not what was signed"
        async with client.put(link.url, data=b"12345", headers={"Content-Type": "text/html"}) as answer:
            assert answer.status == 403, "another type is not what was signed"
        shown = store.link(
            KEY, mime="video/mp4", disposition='inline; filename="课 1"', ttl=minute, now=now()
        )
        assert shown is not None
        async with client.get(shown) as answer:
            assert (answer.status, await answer.read()) == (200, b"12345")
        async with client.get(shown.replace(KEY, OTHER)) as answer:
            assert answer.status == 403
        old = store.link(KEY, mime="a/b", disposition="inline", ttl=minute, now=now() - 2 * minute)
        assert old is not None
        async with client.get(old) as answer:
            assert answer.status == 403, "its time is over"


async def test_a_store_that_fails_is_unavailable_and_says_no_secret(far: FakeS3, tmp_path: Path) -> None:
    async with open_media_store(far.url, data_dir=tmp_path, clock=now) as store:
        far.broken = True
        with pytest.raises(Unavailable) as failed:
            await kept(store)
        assert "se/cret" not in str(failed.value)
        assert far.origin not in str(failed.value)


async def test_a_store_with_the_wrong_secret_is_unavailable(far: FakeS3, tmp_path: Path) -> None:
    wrong = far.url.replace("hubkey:", "hubkey:x")
    async with open_media_store(wrong, data_dir=tmp_path, clock=now) as store:
        with pytest.raises(Unavailable):
            await kept(store)
    assert not far.objects


async def test_without_direct_the_hub_serves_what_the_store_keeps(tmp_path: Path) -> None:
    async with (
        fake_s3({"direct": "false"}) as far,
        open_media_store(far.url, data_dir=tmp_path, clock=now) as store,
    ):
        assert not store.direct
        assert store.link(KEY, mime="a/b", disposition="inline", ttl=timedelta(1), now=now()) is None


@pytest.mark.parametrize(
    "url",
    [
        "s3+https://host/bucket",
        "s3+https://k:s@host/",
        "s3+https://k:s@host/bucket?regoin=x",
        "s3+ftp://k:s@host/bucket",
        "ftp://host/x",
    ],
)
async def test_a_wrong_url_is_refused_at_the_start(url: str, tmp_path: Path) -> None:
    opening = open_media_store(url, data_dir=tmp_path, clock=now)
    with pytest.raises(ValueError, match=r"expected|needs|no option"):
        await opening.__aenter__()


def test_the_port_is_part_of_the_host() -> None:
    bucket = Bucket.of("s3+https://k:s@[::1]:9000/bucket/a/?region=cn-1")
    assert (bucket.origin, bucket.host, bucket.path) == ("https://[::1]:9000", "[::1]:9000", "/bucket/a")
