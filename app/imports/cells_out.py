"""Rows as the cells of a table's columns: what `app.packs` reads back as the same values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from enum import Enum
from heapq import merge
from itertools import islice
from typing import Any, TypeAlias

from app.imports.current import Held
from app.packs.tables import NAME_OF_STAFF, TABLES, Column

Cells: TypeAlias = tuple[str, ...]
"""A row. As a list it would be the garbage collector's business, 400,000 times over."""

NATURAL_ORDER = ("catalog",)
"""Kinds whose order means something to people; the others are exported in order of their identity."""

SORTED_AT_ONCE = 2_000
"""Rows: a few milliseconds."""


def rows_of(kind: str, held: Iterable[Held], names: Mapping[str, str]) -> Iterator[Cells]:
    """The heading, then a row per value. `names`: of people, by staff number."""
    table = TABLES[kind]
    yield tuple([column.name for column in table.columns])
    rows = (tuple([_cell(column, one, names) for column in table.columns]) for one in held if not one.retired)
    yield from rows if kind in NATURAL_ORDER else _sorted(rows)


def _sorted(rows: Iterator[Cells]) -> Iterator[Cells]:
    """In order. Sorting 400,000 rows at once takes a second, in which no other thread of the process gets on."""
    pieces = []
    while piece := sorted(islice(rows, SORTED_AT_ONCE)):
        pieces.append(piece)
    return merge(*pieces)


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
