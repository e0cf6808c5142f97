"""Rows as the cells of a table's columns: what `app.packs` reads back as the same values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from enum import Enum
from typing import Any

from app.imports.current import Held
from app.packs.tables import NAME_OF_STAFF, TABLES, Column

NATURAL_ORDER = ("catalog",)
"""Kinds whose order means something to people; the others are exported in order of their identity."""


def rows_of(kind: str, held: Iterable[Held], names: Mapping[str, str]) -> Iterator[list[str]]:
    """The heading, then a row per value. `names`: of people, by staff number."""
    table = TABLES[kind]
    yield [column.name for column in table.columns]
    rows = ([_cell(column, one, names) for column in table.columns] for one in held if not one.retired)
    yield from rows if kind in NATURAL_ORDER else sorted(rows)


def _cell(column: Column, held: Held, names: Mapping[str, str]) -> str:
    if column is NAME_OF_STAFF:
        return names.get(held.value.staff, "")
    if column.read is None:
        return str(held.notes.get(column.name, ""))
    if isinstance(held.value, tuple):
        return str(held.value[0 if column.name == "code" else 1])
    return _written(getattr(held.value, column.field or column.name))


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, frozenset):
        return ";".join(sorted(value))
    if isinstance(value, tuple):
        return ";".join(value)
    return str(value)
