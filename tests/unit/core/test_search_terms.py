"""Text into terms and back into places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.search_terms import (
    places,
    query_of,
    snippet,
    terms,
    text_of,
    tokens,
    wanted_terms,
)


def _found(text: str, query: str) -> list[str] | None:
    spots = places(text, query_of(query))
    return None if spots is None else [text[start:end] for start, end in spots]


@pytest.mark.parametrize(
    ("text", "query", "found"),
    [
        ("差旅报销批了", "报销", ["报销"]),
        ("差旅报销批了", "销", ["销"]),
        ("报告已销毁", "报销", None),
        ("请用Redis集群", "redis 集群", ["Redis", "集群"]),
        ("ＡＢＣ　１２３", "abc 123", ["ＡＢＣ", "１２３"]),
        ("Café crème", "cafe", ["Café"]),
        ("cafe\u0301 noir", "café", ["cafe"]),
        ("发布 🎉 成功", "🎉", ["🎉"]),
        ("👨‍👩‍👧 来了", "👩", ["👩"]),
        ("notification", "notify", None),
        ("한국어 검색", "국어", ["국어"]),
        ("ｶﾀｶﾅ", "カタ", ["ｶﾀ"]),
        ("Straße", "strasse", ["Straße"]),
        ("订单 A-1024", "1024", ["1024"]),
    ],
)
def test_what_is_looked_for_is_found_where_it_stands(text: str, query: str, found: list[str] | None) -> None:
    assert _found(text, query) == found
    if found is not None:
        assert set(wanted_terms(query_of(query))) <= set(terms(text))


@given(st.text(max_size=200))
def test_a_term_is_letters_and_digits_only_and_no_longer_than_an_index_takes(text: str) -> None:
    for term in terms(text):
        assert term.isascii()
        assert term.isalnum()
        assert 3 <= len(term) <= 80


@given(st.text(max_size=80), st.data())
def test_every_piece_of_a_run_and_every_word_finds_its_text(text: str, data: st.DataObject) -> None:
    said = tokens(text)
    if not said:
        assert places(text, query_of(text)) == []
        return
    token = data.draw(st.sampled_from(said))
    if token.run:
        first = data.draw(st.integers(0, len(token.text) - 1))
        piece = token.text[first : data.draw(st.integers(first + 1, len(token.text)))]
    else:
        piece = token.text
    wanted = query_of(piece)
    assert set(wanted_terms(wanted)) <= set(terms(text))
    assert places(text, wanted) is not None


def test_only_what_people_read_is_searched() -> None:
    body = {
        "text": "正文",
        "media": "med_1",
        "url": "https://example.com/正文之外",
        "card": {"title": "标题", "id": "x_1"},
        "files": [{"name": "合同.pdf", "size": 3}],
        "location": {"name": "外滩", "address": "中山东一路", "lat": 31.2},
    }
    assert text_of(body).split("\n") == ["正文", "标题", "合同.pdf", "外滩", "中山东一路"]
    assert text_of("一句话") == "一句话"
    assert text_of(None) == text_of(["a"]) == ""


def test_a_snippet_keeps_its_places() -> None:
    text = "前" * 100 + "报销" + "后" * 100
    piece = snippet(text, places(text, query_of("报销")) or [])
    assert [piece.text[start:end] for start, end in piece.places] == ["报销"]
    assert piece.before
    assert piece.after
    assert len(piece.text) < 100


def test_a_query_of_signs_alone_looks_for_nothing() -> None:
    assert query_of("\"'*() -- ; % _ + ~ < >") == []
