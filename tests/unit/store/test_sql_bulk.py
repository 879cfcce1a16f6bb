"""The statements that bulk inserts become."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table
from sqlalchemy.dialects import mysql

from hub.store import sql_bulk
from hub.store.sql_bulk import Clash, Insertion, Listing
from hub.store.sql_engine import Dialect

TABLE = Table("user", MetaData(), Column("key", String(8), primary_key=True), Column("n", Integer))


def mysql_text(insertion: Insertion, *, mariadb: bool) -> str:
    dialect = cast("Any", mysql.dialect())
    dialect.is_mariadb = mariadb
    return sql_bulk._mysql_text(insertion, dialect)


def test_names_are_quoted_and_clashes_named() -> None:
    columns = ("key", "n")
    assert mysql_text(Insertion(TABLE, columns), mariadb=True) == (
        "INSERT INTO user (`key`,n) VALUES (%s,%s)"
    )
    assert mysql_text(Insertion(TABLE, columns, Clash.IGNORE), mariadb=True).endswith(
        "VALUES (%s,%s) ON DUPLICATE KEY UPDATE `key` = `key`"
    )
    update = Insertion(TABLE, columns, Clash.UPDATE, ("n",))
    assert mysql_text(update, mariadb=True).endswith("ON DUPLICATE KEY UPDATE n = VALUES(n)")
    assert mysql_text(update, mariadb=False).endswith(
        "VALUES (%s,%s) AS fresh ON DUPLICATE KEY UPDATE n = fresh.n"
    )


def test_sqlite_takes_a_hundred_rows_a_statement_in_order() -> None:
    rows = [(str(n), n) for n in range(250)]
    statements = list(sql_bulk.sqlite_statements([(Insertion(TABLE, ("key", "n")), rows)]))
    assert [len(values) for _, values in statements] == [200, 200, 100]
    assert [value for _, values in statements for value in values] == [v for row in rows for v in row]


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_list_is_one_statement_whatever_its_length(dialect: Dialect) -> None:
    listing = Listing(dialect, id=str, n=int)
    assert listing.of([]).keys() == listing.of([("a", 1), ("b", 2)]).keys()
    if dialect is Dialect.POSTGRESQL:
        assert listing.of([("a", 1), ("b", 2)]) == {"listing_id": ["a", "b"], "listing_n": [1, 2]}
    else:
        assert listing.of([("a", 1), ("中", 2)]) == {"listing": '[["a",1],["中",2]]'}
