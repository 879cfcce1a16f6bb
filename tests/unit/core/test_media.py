"""Which files a body names, and what the first bytes of a file say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.errors import Refused
from hub.core.media import media_of
from hub.core.media_types import checked_mime, clean_name, disposition, sniffed

ONE, TWO = "med_" + "1" * 32, "med_" + "2" * 32


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('{"text":"hi"}', ()),
        (f'{{"media":"{ONE}"}}', (ONE,)),
        (f'{{"media":["{ONE}","{TWO}","{ONE}"]}}', (ONE, TWO)),
        (f'{{"nested":{{"media":"{ONE}"}}}}', ()),
        ('["media"]', ()),
        ('{"text":"\\"media\\""}', ()),
    ],
)
def test_a_body_names_files_in_one_place_only(body: str, named: tuple[str, ...]) -> None:
    assert media_of(body) == named


@pytest.mark.parametrize("media", ["7", "null", '"med_short"', '{"id":1}', '["x"]', f'["{ONE}",7]'])
def test_what_is_no_id_is_refused(media: str) -> None:
    with pytest.raises(Refused) as refused:
        media_of(f'{{"media":{media}}}')
    assert refused.value.code == "media_invalid"


@pytest.mark.parametrize(
    ("beginning", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0....", "image/jpeg"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (b"RIFF....WAVEfmt ", "audio/wav"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"\0\0\0\x20ftypavif", "image/avif"),
        (b"#!AMR\n", "audio/amr"),
        (b"%PDF-1.7", "application/pdf"),
        (b"  <!DOCTYPE html>", "text/html"),
        (b"\n<svg onload=x>", "text/html"),
        (b"plain words", None),
    ],
)
def test_the_first_bytes_tell_the_type(beginning: bytes, mime: str | None) -> None:
    assert sniffed(beginning) == mime


@pytest.mark.parametrize(
    ("declared", "beginning"),
    [("audio/mp4", b"\0\0\0\x20ftypM4A "), ("video/webm", b"\x1a\x45\xdf\xa3"), ("image/tiff", b"II*\0")],
)
def test_one_container_has_several_names(declared: str, beginning: bytes) -> None:
    assert checked_mime(declared, beginning) == declared


def test_without_a_type_the_bytes_decide_and_pages_are_saved() -> None:
    assert checked_mime("", b"\x89PNG\r\n\x1a\n") == "image/png"
    assert checked_mime("application/octet-stream", b"???") == "application/octet-stream"
    page = checked_mime("", b"<html>")
    assert disposition(page, "a.html").startswith("attachment")


@given(st.text())
def test_a_name_never_breaks_out_of_its_header(name: str) -> None:
    cleaned = clean_name(name)
    header = disposition("image/png", cleaned)
    assert "\r" not in header
    assert "\n" not in header
    assert header.isascii()
    assert header.count('"') in (0, 2)
    assert "/" not in cleaned
    assert "\\" not in cleaned
