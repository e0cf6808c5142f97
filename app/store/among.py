"""Rows whose columns are among some values, asked for by one statement however many there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Column, CursorResult, Select, Text, bindparam, func, literal_column, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

_SENT = "among"


class Among:
    """A query about rows whose texts in some columns are one of several values. It is built once, which takes longer than to ask it.

    The values are sent as one array (to PostgreSQL as one for each column), so that the database prepares one statement for any number of them, and
    uses its indexes.
    """

    def __init__(self, columns: Sequence[Column[Any]], query: Select[Any], order: Column[Any] | None = None) -> None:
        """`query`: what is asked of the rows; `order`: the column that they come in the order of, one of those asked."""
        self._columns = columns
        self._query = query
        self._order = order
        self._built: dict[str, Select[Any]] = {}

    async def ask(self, connection: AsyncConnection, values: Collection[Sequence[str]]) -> CursorResult[Any]:
        """The rows. Each value has a text for each column, and is there once."""
        dialect = connection.dialect.name
        query = self._built.get(dialect)
        if query is None:
            query = self._built[dialect] = self._of_json() if dialect == "sqlite" else self._of_arrays()
        sent: dict[str, Any]
        if dialect == "sqlite":
            sent = {_SENT: msgspec.json.encode(list(values)).decode()}
        else:
            sent = {f"{_SENT}{place}": [value[place] for value in values] for place in range(len(self._columns))}
        found: CursorResult[Any] = await connection.execute(query, sent)
        return found

    def _of_json(self) -> Select[Any]:
        each = func.json_each(bindparam(_SENT, type_=Text)).table_valued("value")
        rows = select(*(func.json_extract(each.c.value, literal_column(f"'$[{place}]'")) for place in range(len(self._columns))))
        query = self._query.where(tuple_(*self._columns).in_(rows))
        return query if self._order is None else query.order_by(self._order)

    def _of_arrays(self) -> Select[Any]:
        """Each value is looked up by itself: of a month's table that was never analysed the planner knows so little that it would join all of it with
        the values. OFFSET keeps the look-up from being taken apart."""
        names = [f"{_SENT}{place}" for place in range(len(self._columns))]
        asked = select(*(func.unnest(bindparam(name, type_=ARRAY(Text))).label(name) for name in names)).subquery("asked")
        same = (column == asked.c[name] for column, name in zip(self._columns, names, strict=True))
        found = self._query.where(*same).offset(literal_column("0")).lateral("found")
        query = select(*found.c).select_from(asked.join(found, true()))
        return query if self._order is None else query.order_by(found.c[self._order.name])
