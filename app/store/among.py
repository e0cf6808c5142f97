"""Rows whose columns are among some values, as one statement however many there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Text, false, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection


def among(connection: AsyncConnection, columns: Sequence[Column[Any]], values: Collection[Sequence[str]]) -> ColumnElement[bool]:
    """The condition that the texts in these columns are one of the values. PostgreSQL gets arrays, so that it prepares one statement for any
    number of values."""
    if connection.dialect.name == "sqlite":
        return tuple_(*columns).in_(values)
    if not values:
        return false()
    arrays = (literal(list(texts), ARRAY(Text)) for texts in zip(*values, strict=True))
    return tuple_(*columns).in_(select(*(func.unnest(array) for array in arrays)))
