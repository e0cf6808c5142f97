"""Many rows at once: by COPY on PostgreSQL, which takes them several times as fast as it takes INSERT, and by INSERT of many rows in one step on SQLite,
past what SQLAlchemy does for each row's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from asyncpg import PostgresError
from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

MAX_ROWS = 256
"""Rows of one statement on SQLite, which takes 32,766 values. Fewer go by powers of two, so that few statements are prepared."""

_SQLITE = sqlite.dialect(paramstyle="qmark")


async def insert(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, in this order. All have the same columns; the others get their defaults. The transaction must be one that writes.
    Raises `SQLAlchemyError`."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        await _insert_in_steps(connection, table, rows)
        return
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    assert raw.is_in_transaction(), "what is copied outside of a transaction would stay"
    names = tuple(rows[0])
    try:
        await raw.copy_records_to_table(table.name, columns=names, records=[tuple([row[name] for name in names]) for row in rows])
    except PostgresError as error:
        # Past SQLAlchemy, which makes its own of what the driver raises everywhere else.
        raise DBAPIError(f"COPY {table.name}", None, error, hide_parameters=True) from error


async def _insert_in_steps(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """With each step the thread gives the interpreter away and waits to get it again: a step for each row would be mostly that."""
    names, begin = tuple(rows[0]), 0
    while begin < len(rows):
        count = min(MAX_ROWS, 1 << (len(rows) - begin).bit_length() - 1)
        statement, places = _insert_into(table, names, count)
        part = rows[begin : begin + count]
        await connection.exec_driver_sql(statement, tuple(chain.from_iterable([row[name] for name in places] for row in part)))
        begin += count


@lru_cache(maxsize=256)
def _insert_into(table: Table, names: Sequence[str], rows: int) -> tuple[str, tuple[str, ...]]:
    """The statement by which SQLite takes so many rows with these columns, and their order in it. They must be of types that the driver takes as they
    are."""
    compiled = table.insert().compile(dialect=_SQLITE, column_keys=names)
    head, values, row = str(compiled).partition(" VALUES ")
    return f"{head}{values}{', '.join([row] * rows)}", tuple(compiled.positiontup or ())
