"""Rows whose columns are among some values, asked for by one statement however many there are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, CursorResult, Select, Text, bindparam, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

_SENT = "among"


class Among:
    """A query about rows whose texts in some columns are one of several values. It is built once, which takes longer than to ask it.

    The values are sent as one array (to PostgreSQL as one for each column), so that the database prepares one statement for any number of them, and
    uses its indexes.
    """

    def __init__(self, columns: Sequence[Column[Any]], query: Callable[[ColumnElement[bool]], Select[Any]]) -> None:
        """`query` is given the condition that the columns are among the values."""
        self._columns = columns
        self._query = query
        self._built: dict[str, Select[Any]] = {}

    async def ask(self, connection: AsyncConnection, values: Collection[Sequence[str]]) -> CursorResult[Any]:
        """The rows. Each value has a text for each column."""
        dialect = connection.dialect.name
        query = self._built.get(dialect)
        if query is None:
            rows = _rows_of_json(len(self._columns)) if dialect == "sqlite" else _rows_of_arrays(len(self._columns))
            query = self._built[dialect] = self._query(tuple_(*self._columns).in_(rows))
        sent: dict[str, Any] = {_SENT: msgspec.json.encode(list(values)).decode()}
        if dialect != "sqlite":
            sent = {f"{_SENT}{place}": [value[place] for value in values] for place in range(len(self._columns))}
        found: CursorResult[Any] = await connection.execute(query, sent)
        return found


def _rows_of_json(width: int) -> Select[Any]:
    each = func.json_each(bindparam(_SENT, type_=Text)).table_valued("value")
    return select(*(func.json_extract(each.c.value, literal_column(f"'$[{place}]'")) for place in range(width)))


def _rows_of_arrays(width: int) -> Select[Any]:
    return select(*(func.unnest(bindparam(f"{_SENT}{place}", type_=ARRAY(Text))) for place in range(width)))
