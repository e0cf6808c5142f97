"""The rows of a table as values by field: headings are matched with the declared columns, cells are read, every mistake is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from app.engine.model import Value
from app.packs.cells import as_note, is_blank
from app.packs.problems import CellError, Problems
from app.packs.sheets import Sheet
from app.packs.tables import NAME_OF_STAFF, Column, Table
from app.packs.texts import Nearest, folded

Progress = Callable[[str, int, int], None]
"""Called with the file's name, the rows done, and the rows there are about (0 where unknown)."""

ROWS_PER_REPORT = 5_000
"""Between two calls of a `Progress`: several a second."""


class Row(NamedTuple):
    """One row. `values` holds what could be read, by field, blank cells left out; `whole` is False where a cell was refused. `notes`: what
    people wrote into the columns that are not read, by the columns' names."""

    number: int
    values: dict[str, Any]
    whole: bool
    notes: Mapping[str, str]


class Kept(Value, frozen=True):
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


class _Placed(NamedTuple):
    """A column, where in this file's rows it is, and what the file calls it."""

    column: Column
    position: int
    heading: str


class Source:
    """A table that is read once: its rows, what becomes of them, and where complaints of them go. `departments`: the hospital's aliases.

    Without a sheet it has no rows: the pack does not have the table or, where not `readable`, it could not be read.
    """

    def __init__(
        self,
        table: Table,
        sheet: Sheet | None,
        departments: Mapping[str, str],
        problems: Problems,
        progress: Progress | None = None,
        *,
        readable: bool = True,
    ) -> None:
        before = problems.count
        self.file = sheet.file if sheet else table.kind
        self._table = table
        self._sheet = sheet
        self._departments = departments
        self._problems = problems
        self._progress = progress
        self._placed = _match_heading(table, sheet, problems) if sheet else {}
        self._readable = readable and problems.count == before
        self._kept: list[Kept] = []

    @property
    def whole(self) -> bool:
        """Whether no row was left out, as far as the rows have been gone through."""
        return self._readable and (self._sheet is None or self._sheet.whole)

    def rows(self) -> Iterator[Row]:
        """The rows; none where the heading does not fit. One with refused cells is there too, so that what names it is not complained of as
        well; its `whole` is False and it must not become a value."""
        if self._sheet is None or not self._readable:
            return
        done = 0
        for number, cells in self._sheet.rows():
            yield self._row(number, cells)
            done += 1
            if self._progress is not None and done % ROWS_PER_REPORT == 0:
                self._progress(self.file, done, max(done, self._sheet.expected))
        if self._progress is not None:
            self._progress(self.file, done, done)

    def keep(self, row: Row, value: Any) -> None:
        """Notes which value a row became."""
        self._kept.append(Kept(row.number, value, row.notes))

    def kept(self) -> TableRows:
        """The rows that became values so far."""
        columns = [placed.column for placed in self._placed.values() if placed.column is not NAME_OF_STAFF]
        return TableRows(
            kind=self._table.kind,
            file=self.file,
            fields=frozenset(column.field or column.name for column in columns if column.read is not None),
            notes=frozenset(column.name for column in columns if column.read is None),
            rows=self._kept,
        )

    def problem(self, row: int, column: str, zh: str, en: str) -> None:
        """Notes a mistake. `column` is the English name; the message has what the file calls it."""
        self._problems.add(self.file, zh, en, row=row, column=self._heading_of(column))

    def warn(self, column: str, zh: str, en: str, row: int | None = None) -> None:
        """Notes something odd about a whole column, or about one row of it."""
        self._problems.warn(self.file, zh, en, row=row, column=self._heading_of(column))

    def department(self, name: str) -> str:
        """The hospital's own name of a department."""
        return self._departments.get(name, name)

    def _heading_of(self, column: str) -> str:
        return self._placed[column].heading if column in self._placed else column

    def _row(self, number: int, cells: Sequence[object]) -> Row:
        values: dict[str, Any] = {}
        notes: dict[str, str] = {}
        whole = True
        for column, position, heading in self._placed.values():
            cell = cells[position]
            try:
                if not is_blank(cell):
                    if column.read is not None:
                        values[column.field or column.name] = column.read(cell)
                    elif note := as_note(cell):
                        notes[column.name] = note
                elif column.required:
                    raise CellError("必填，不能为空。", "Required: it must not be blank.")
            except CellError as error:
                whole = False
                self._problems.add(self.file, *error.texts, row=number, column=heading)
        return Row(number, values, whole, notes)


def _match_heading(table: Table, sheet: Sheet, problems: Problems) -> dict[str, _Placed]:
    """Where the table's columns are in the file, by name. A heading that is unknown or there twice is a problem, a missing one too."""

    def problem(column: str, zh: str, en: str) -> None:
        problems.add(sheet.file, zh, en, row=sheet.heading_row, column=column)

    words = {word: column for column in table.columns for word in (column.name, *column.chinese)}
    columns = {folded(word): column for word, column in words.items()}
    nearest = Nearest(words)
    placed: dict[str, _Placed] = {}
    for position, heading in enumerate(sheet.heading):
        column = columns.get(folded(heading))
        if column is None:
            zh, en = nearest.hint(heading)
            problem(heading, f"“{table.chinese}”表没有“{heading}”这一列。{zh}", f'The table {table.kind} has no column "{heading}".{en}')
        elif column.name in placed:
            first = placed[column.name].heading
            problem(heading, f"“{heading}”与“{first}”是同一列，请删除一列。", f'"{heading}" and "{first}" are the same column. Delete one.')
        else:
            placed[column.name] = _Placed(column, position, heading)
    for column in table.columns:
        if column.required and column.name not in placed:
            zh = f"缺少必需的列“{column.chinese[0]}”（{column.name}）。"
            problem(column.name, zh, f'The required column "{column.name}" is missing.')
    return placed
