"""Search over the full-text index: SQLite's FTS5, PostgreSQL's tsvector, MySQL's FULLTEXT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, case, column, not_, or_, select, table, text

from hub.core.conversation import inbox_id
from hub.core.errors import Refused
from hub.core.message import RECALLED, AppId, UserKey
from hub.core.ports import Clock
from hub.core.records import PageRequest, Slice
from hub.core.search import Hit, Search
from hub.core.search_terms import Token, places, query_of, scope_term, snippet, text_of, wanted_terms
from hub.store.directory_base import MEMBER, MESSAGE, QUEUE_ENTRY, BigInt, place, values_of
from hub.store.schema import metadata
from hub.store.search_index import SearchIndex
from hub.store.sql_engine import Database, Dialect
from hub.store.sql_rows import MESSAGE_COLUMNS, message_of

HIDDEN = metadata.tables["hidden"]
TERMS = metadata.tables["message_terms"]
_T = TERMS.c
_FTS = table("message_fts", column("rowid"))
_PORTIONS: Final = 5
_PORTION: Final = 100
"""Candidates looked at in one go, and how often: bounds a page where terms meet that do not stand together."""
_columns = [MESSAGE.c[name] for name in MESSAGE_COLUMNS]


class SqlSearch:
    """`core.search.MessageSearch`."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._index = SearchIndex(database)

    async def index(self, *, limit: int) -> int:
        """See the port."""
        return await self._index.index(limit=limit)

    async def search(self, app: AppId, wanted: Search, page: PageRequest) -> Slice[Hit]:
        """See the port."""
        looked_for = query_of(wanted.query)
        if not looked_for:
            raise Refused("search_empty", "There is no letter, digit, ideograph or emoji in `q`.")
        after = None if page.after is None else values_of(page.after, tuple[BigInt])[0]
        hits: list[tuple[int, Hit]] = []
        for _ in range(_PORTIONS):
            rows = await self._database.rows(self._query(app, wanted, looked_for, after))
            hits += [(row.place, hit) for row in rows if (hit := _hit(row, looked_for)) is not None]
            after = rows[-1].place if len(rows) == _PORTION else None
            if len(hits) > page.limit or after is None:
                break
        shown = hits[: page.limit]
        if len(hits) > page.limit:
            after = shown[-1][0]
        return Slice([hit for _, hit in shown], None if after is None else place(after))

    def _query(
        self, app: AppId, wanted: Search, looked_for: Sequence[Token], after: int | None
    ) -> Select[Any]:
        needed = wanted_terms(looked_for)
        if wanted.conversation is not None:
            needed.append(scope_term("c", wanted.conversation))
        elif self._database.dialect is not Dialect.MYSQL:
            # MySQL would read everything that the app has ever said; the others step from hit to hit.
            needed.append(scope_term("a", app))
        query = (
            select(*_columns, _T.id.label("place"))
            .join_from(TERMS, MESSAGE, MESSAGE.c.id == _T.message_id)
            .where(self._has(needed), _T.app_id == app, MESSAGE.c.app_id == app)
            .where(MESSAGE.c.kind != RECALLED, MESSAGE.c.control.is_(False))
            .where(or_(MESSAGE.c.expires_at.is_(None), MESSAGE.c.expires_at > self._clock()))
        )
        narrowed = {
            _T.conversation_id: wanted.conversation,
            _T.sender_id: wanted.sender,
            _T.kind: wanted.kind,
        }
        query = query.where(*(column == value for column, value in narrowed.items() if value is not None))
        if wanted.since is not None:
            query = query.where(_T.created_at >= wanted.since)
        if wanted.until is not None:
            query = query.where(_T.created_at < wanted.until)
        if wanted.viewer is not None:
            query = query.where(_seen(app, wanted.viewer))
        if after is not None:
            query = query.where(_T.id < after)
            if self._database.dialect is Dialect.SQLITE:
                query = query.where(_FTS.c.rowid < after)
        sqlite = self._database.dialect is Dialect.SQLITE
        return query.order_by(_FTS.c.rowid.desc() if sqlite else _T.id.desc()).limit(_PORTION)

    def _has(self, needed: Sequence[str]) -> ColumnElement[bool]:
        """All of these terms. They are ours: letters and digits only, whatever was typed."""
        assert all(term.isalnum() and term.isascii() for term in needed)  # noqa: S101
        match self._database.dialect:
            case Dialect.SQLITE:
                said = " AND ".join(f'"{term}"' for term in needed)
                return and_(_FTS.c.rowid == _T.id, _bound("message_fts MATCH :said", said))
            case Dialect.POSTGRESQL:
                said = " & ".join(needed)
                vector = "to_tsvector('simple'::regconfig, message_terms.terms)"
                return _bound(f"{vector} @@ to_tsquery('simple'::regconfig, :said)", said)
            case Dialect.MYSQL:
                said = " ".join(f"+{term}" for term in needed)
                return _bound("MATCH (message_terms.terms) AGAINST (:said IN BOOLEAN MODE)", said)


class NoSearch:
    """`core.search.MessageSearch` where messages are not in the database."""

    async def index(self, *, limit: int) -> int:  # noqa: ARG002
        """There is nothing to index."""
        return 0

    async def search(self, app: AppId, wanted: Search, page: PageRequest) -> Slice[Hit]:  # noqa: ARG002
        """Raises Refused not_searchable."""
        raise Refused("not_searchable", "Messages are kept outside the database, which cannot search them.")


def _bound(statement: str, said: str) -> ColumnElement[bool]:
    return cast("ColumnElement[bool]", text(statement).bindparams(said=said))


def _seen(app: AppId, viewer: UserKey) -> ColumnElement[bool]:
    """Whether this user may see the message of the row: as a member since joining, or by a reference in the inbox."""
    inbox = inbox_id(app)
    floor = case(
        (MEMBER.c.cleared_seq > MEMBER.c.joined_seq, MEMBER.c.cleared_seq), else_=MEMBER.c.joined_seq
    )
    own = (MEMBER.c.conversation_id == _T.conversation_id, MEMBER.c.user_id == viewer)
    belongs = select(MEMBER.c.user_id).where(*own, floor < _T.seq).correlate(TERMS).exists()
    cleared = select(MEMBER.c.user_id).where(*own, MEMBER.c.cleared_seq >= _T.seq).correlate(TERMS).exists()
    sent = (
        select(QUEUE_ENTRY.c.user_id)
        .where(
            QUEUE_ENTRY.c.user_id == viewer,
            QUEUE_ENTRY.c.inbox_seq == _T.seq,
            QUEUE_ENTRY.c.message_id == _T.message_id,
        )
        .correlate(TERMS)
        .exists()
    )
    hidden = (
        select(HIDDEN.c.seq)
        .where(
            HIDDEN.c.user_id == viewer,
            HIDDEN.c.conversation_id == _T.conversation_id,
            HIDDEN.c.seq == _T.seq,
        )
        .correlate(TERMS)
        .exists()
    )
    here = _T.conversation_id == inbox
    return and_(or_(and_(not_(here), belongs), and_(here, sent, not_(cleared))), not_(hidden))


def _hit(row: Row[Any], looked_for: Sequence[Token]) -> Hit | None:
    """Terms may lie: pairs of a run may stand apart, and a message may have changed since it was indexed."""
    message = message_of(row)
    said = text_of(msgspec.json.decode(message.body))
    spots = places(said, looked_for)
    return None if spots is None else Hit(message, snippet(said, spots))
