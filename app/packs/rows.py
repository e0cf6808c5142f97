"""The rows of a table as values by field: headings are matched with the declared columns, cells are read, every mistake is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from app.packs.cells import as_note
from app.packs.problems import CellError, Problems
from app.packs.sheets import Sheet, is_blank
from app.packs.tables import Column, Table
from app.packs.texts import Nearest, folded, hint

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


class Placed(NamedTuple):
    """A column, where in this file's rows it is, and what the file calls it."""

    position: int
    column: Column
    heading: str


def read_rows(table: Table, sheet: Sheet, problems: Problems, progress: Progress | None) -> Iterator[Row] | None:
    """The rows of a sheet; None, with problems, where its heading does not fit the table. A row with refused cells is handed on too, so
    that what names it is not complained of as well; its `whole` is False and it must not become a value."""
    placed = _match_heading(table, sheet, problems)
    return None if placed is None else _rows(sheet, placed, problems, progress)


def headings_of(table: Table, sheet: Sheet) -> dict[str, str]:
    """What the file calls its columns, by their English names."""
    names = _names(table)
    return {column.name: heading for heading in sheet.heading if (column := names.get(folded(heading)))}


def _names(table: Table) -> dict[str, Column]:
    return {folded(word): column for column in table.columns for word in (column.name, *column.chinese)}


def _match_heading(table: Table, sheet: Sheet, problems: Problems) -> list[Placed] | None:
    names = _names(table)
    nearest = Nearest(word for column in table.columns for word in (column.name, *column.chinese))
    before = problems.count
    placed: dict[str, Placed] = {}
    for position, heading in enumerate(sheet.heading):
        column = names.get(folded(heading))
        if column is None:
            zh, en = hint(nearest.to(heading))
            problems.add(
                sheet.file,
                f"“{table.chinese}”表没有“{heading}”这一列。{zh}",
                f'The table {table.kind} has no column "{heading}".{en}',
                row=sheet.heading_row,
                column=heading,
            )
        elif column.name in placed:
            first = placed[column.name].heading
            problems.add(
                sheet.file,
                f"“{heading}”与“{first}”是同一列，请删除一列。",
                f'"{heading}" and "{first}" are the same column. Delete one.',
                row=sheet.heading_row,
                column=heading,
            )
        else:
            placed[column.name] = Placed(position, column, heading)
    _note_missing(table, sheet, set(placed), problems)
    return None if problems.count > before else list(placed.values())


def _note_missing(table: Table, sheet: Sheet, present: set[str], problems: Problems) -> None:
    for column in table.columns:
        if column.required and column.name not in present:
            problems.add(
                sheet.file,
                f"缺少必需的列“{column.chinese[0]}”（{column.name}）。",
                f'The required column "{column.name}" is missing.',
                row=sheet.heading_row,
                column=column.name,
            )


def _rows(sheet: Sheet, placed: list[Placed], problems: Problems, progress: Progress | None) -> Iterator[Row]:
    read = [
        (position, column.field or column.name, column.read, column.required, heading)
        for position, column, heading in placed
        if column.read is not None
    ]
    unread = [(position, column.name) for position, column, _ in placed if column.read is None]
    done = 0
    for number, cells in sheet.rows():
        values: dict[str, Any] = {}
        whole = True
        for position, field, reader, required, heading in read:
            cell = cells[position]
            if is_blank(cell):
                if required:
                    whole = False
                    problems.add(sheet.file, "必填，不能为空。", "Required: it must not be blank.", row=number, column=heading)
                continue
            try:
                values[field] = reader(cell)
            except CellError as error:
                whole = False
                problems.add(sheet.file, error.message.zh, error.message.en, row=number, column=heading)
        yield Row(number, values, whole, {name: note for position, name in unread if (note := as_note(cells[position]))})
        done += 1
        if progress is not None and done % ROWS_PER_REPORT == 0:
            progress(sheet.file, done, max(done, sheet.expected))
    if progress is not None:
        progress(sheet.file, done, done)
