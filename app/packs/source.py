"""A table that is about to be read: its rows, what becomes of them, and where complaints of them go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from app.packs.problems import Problems
from app.packs.rows import Progress, Row, headings_of, read_rows
from app.packs.sheets import Sheet
from app.packs.tables import Table


class Kept(NamedTuple):
    """A row of a file, the value that it became (an alias: code and national code), and what people noted beside it."""

    number: int
    value: Any
    notes: Mapping[str, str]


class TableRows(NamedTuple):
    """A table's rows as values. `fields`: the values' fields that the file has a column for; `notes`: its columns for people."""

    kind: str
    file: str
    fields: frozenset[str]
    notes: frozenset[str]
    rows: Sequence[Kept]


class Source:
    """A table that is about to be read: its rows, and where complaints of them go. `departments`: the hospital's aliases."""

    def __init__(self, table: Table, sheet: Sheet, departments: Mapping[str, str], problems: Problems, progress: Progress | None) -> None:
        self.file = sheet.file
        self._sheet = sheet
        self._table = table
        self._headings = headings_of(table, sheet)
        self._kept: list[Kept] = []
        self._departments = departments
        self._problems = problems
        rows = read_rows(table, sheet, problems, progress)
        self._readable = rows is not None
        self.rows: Iterator[Row] = rows or iter(())

    @property
    def whole(self) -> bool:
        """Whether no row was left out, as far as the rows have been gone through."""
        return self._readable and self._sheet.whole

    def keep(self, row: Row, value: Any) -> None:
        """Note which value a row became."""
        self._kept.append(Kept(row.number, value, row.notes))

    def kept(self) -> TableRows:
        """The rows that became values so far."""
        present = [column for column in self._table.columns if column.name in self._headings]
        return TableRows(
            kind=self._table.kind,
            file=self.file,
            fields=frozenset(column.field or column.name for column in present if column.read is not None),
            notes=frozenset(column.name for column in present if column.read is None),
            rows=self._kept,
        )

    def problem(self, row: int, column: str, zh: str, en: str) -> None:
        self._problems.add(self.file, zh, en, row=row, column=self._headings.get(column, column))

    def warning(self, row: int | None, column: str, zh: str, en: str) -> None:
        self._problems.warn(self.file, zh, en, row=row, column=self._headings.get(column, column))

    def department(self, name: str) -> str:
        """The hospital's own name of a department."""
        return self._departments.get(name, name)
