"""What the console serves: its own files, nothing inline, every word in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

import hub
from hub.console import page, router

EVENTS = (
    *("created", "joined", "left", "removed", "role", "owner", "silenced", "group_silenced", "announcement"),
    *("changed", "settings", "dissolved", "fanout_read", "fanout_write"),
)
STATIC = Path(page.__file__).parent / "static"


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.include_router(router)
    return TestClient(app)


def words() -> dict[str, tuple[str, str]]:
    text = (STATIC / "words.js").read_text()
    found = re.findall(
        r'^  (\w+): \[\s*"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)",?\s*\]', text, re.MULTILINE
    )
    return {key: (english, chinese) for key, english, chinese in found}


def test_the_page_allows_only_its_own_scripts_and_styles(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "unsafe" not in policy
    assert hub.__version__ in answer.text
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", answer.text)
    assert not re.search(r"https?://", answer.text)


def test_every_file_of_the_page_is_served_and_nothing_else(client: TestClient) -> None:
    names = {file.name for file in STATIC.iterdir()} - {"index.html"}
    for name in names:
        answer = client.get(f"/console/static/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].split(";")[0] == page._MEDIA[Path(name).suffix]
    for name in ("index.html", "page.py", "..%2fpage.py", "%2e%2e%2fpage.py"):
        assert client.get(f"/console/static/{name}").status_code == 404, name


def test_scripts_neither_write_markup_nor_reach_out() -> None:
    for file in STATIC.glob("*.js"):
        text = file.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), (
            file.name
        )
        assert not re.search(r"from \"(?!\./)", text), file.name
        assert len(text.splitlines()) < 400, file.name


def test_every_word_that_is_used_is_there_in_both_languages() -> None:
    known = words()
    page_text = (STATIC / "index.html").read_text()
    used = set(re.findall(r'data-(?:t|t-label|t-hint|key)="(\w+)"', page_text))
    for file in STATIC.glob("*.js"):
        used |= set(
            re.findall(r"""(?<![\w.])t\("(\w+)"|"data-t(?:-label|-hint)?": "(\w+)\"""", file.read_text())
        )
        chosen = re.findall(r"""(?<![\w.])t\([\w.?]+ \? "(\w+)" : "(\w+)\"""", file.read_text())
        used |= {word for pair in chosen for word in pair}
    used |= {f"notice_{event}" for event in EVENTS}
    flat = {word for found in used for word in ((found,) if isinstance(found, str) else found) if word}
    assert flat - known.keys() == set()
    for english, chinese in known.values():
        assert english
        assert chinese
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", chinese))
    same = {key for key, (english, chinese) in known.items() if not re.search(r"[\u4e00-\u9fff]", chinese)}
    assert same <= {"dep_redis", "list_comma", "quote"}
