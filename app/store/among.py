"""Rows whose columns are among some values, as one statement however many there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, Text, false, func, literal, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection


def among(connection: AsyncConnection, columns: Sequence[Column[Any]], values: Collection[Sequence[str]]) -> ColumnElement[bool]:
    """The condition that the texts in these columns are one of the values. They are sent as one array (as one for each column to PostgreSQL), so
    that one statement is prepared for any number of values, and its indexes are used."""
    if not values:
        return false()
    if connection.dialect.name == "sqlite":
        each = func.json_each(literal(msgspec.json.encode(list(values)).decode(), Text)).table_valued("value")
        rows = select(*(func.json_extract(each.c.value, literal_column(f"'$[{place}]'")) for place in range(len(columns))))
    else:
        rows = select(*(func.unnest(literal(list(texts), ARRAY(Text))) for texts in zip(*values, strict=True)))
    return tuple_(*columns).in_(rows)
