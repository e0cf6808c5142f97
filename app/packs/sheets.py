"""A table as a file, CSV or XLSX, read into a heading and rows that know their number in the spreadsheet.

Rows are read as they are asked for: a matrix of 400,000 grants is never held twice. A row with too many or too few cells is a problem and
left out; blank rows are passed over but counted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

import msgspec

from app.engine.codes import normalize_text
from app.packs.problems import Problems
from app.packs.texts import decode, shown
from app.packs.workbook import is_workbook, open_workbook

MAX_ROWS = 1_048_576
"""Rows of a table: as many as a spreadsheet has."""


class Sheet(msgspec.Struct, frozen=True):
    """A table before its columns are understood. `rows` can be gone through once: row number and as many cells as `heading` has.

    `expected` is how many rows there will be about, for showing progress; 0 where it cannot be told beforehand.
    """

    file: str
    heading: tuple[str, ...]
    heading_row: int
    rows: Iterator[tuple[int, Sequence[object]]]
    expected: int


def open_sheet(file: str, data: bytes, problems: Problems) -> Sheet | None:
    """The table in a file of that name, its kind told by its content. None, with a problem, where it cannot be read at all."""
    if is_workbook(data):
        opened = open_workbook(file, data, problems)
        return _sheet(file, opened.rows, opened.expected, problems, padded=True) if opened else None
    if file.lower().endswith(".xlsx"):
        problems.add(file, "文件不是 Excel 工作簿（.xlsx）。", "The file is no Excel workbook (.xlsx).")
        return None
    text = decode(file, data, problems)
    return None if text is None else _sheet(file, _csv_rows(file, text, problems), max(text.count("\n") - 1, 0), problems, padded=False)


def is_blank(cell: object) -> bool:
    """Whether a cell is empty or holds nothing but blanks."""
    return cell is None or cell == "" or (isinstance(cell, str) and not cell.strip())


def _csv_rows(file: str, text: str, problems: Problems) -> Iterator[tuple[int, Sequence[object]]]:
    """A quoted cell may hold line breaks, so records are counted, as a spreadsheet does, and not lines."""
    number = 0
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), start=1):
            yield number, cells
    except csv.Error as error:
        problems.add(
            file,
            "引号不配对或单元格过长，从这一行起无法读取。",
            f"A quote is not closed or a cell is too long; nothing can be read from here on ({error}).",
            row=number + 1,
        )


def _sheet(file: str, rows: Iterator[tuple[int, Sequence[object]]], expected: int, problems: Problems, *, padded: bool) -> Sheet | None:
    before = problems.count
    for number, cells in rows:
        if not all(map(is_blank, cells)):
            heading = _heading(file, number, cells, problems)
            return heading and Sheet(file, heading, number, _rows(file, rows, (len(heading), len(cells)), problems, padded), expected)
    if problems.count == before:
        problems.add(file, "文件是空的，没有标题行。", "The file is empty: there is no heading.")
    return None


def _heading(file: str, number: int, cells: Sequence[object], problems: Problems) -> tuple[str, ...] | None:
    """The heading without the empty columns that a spreadsheet leaves at its end."""
    words = ["" if is_blank(cell) else normalize_text(str(cell)) for cell in cells]
    while not words[-1]:
        words.pop()
    for place, word in enumerate(words, start=1):
        if not word:
            problems.add(file, f"第{place}列没有标题。", f"Column {place} has no heading.", row=number)
            return None
    return tuple(words)


def _rows(
    file: str, rows: Iterator[tuple[int, Sequence[object]]], widths: tuple[int, int], problems: Problems, padded: bool
) -> Iterator[tuple[int, Sequence[object]]]:
    """The rows below the heading that are not blank. `widths`: of the heading without and with its empty end. `padded`: a row may lack the
    cells at its end, as in a workbook, where empty ones are not stored."""
    width, full_width = widths
    for number, cells in rows:
        if number > MAX_ROWS:
            problems.add(file, f"超过 {MAX_ROWS} 行，其余未读取。", f"There are more than {MAX_ROWS} rows; the rest was not read.", row=number)
            return
        if all(map(is_blank, cells)):
            continue
        found = len(cells)
        if found < full_width and padded:
            cells = (*cells, *(None,) * (full_width - found))
        elif found != full_width and not (padded and all(map(is_blank, cells[full_width:]))):
            problems.add(
                file,
                f"该行有 {found} 个单元格，标题行有 {full_width} 个。请检查多余或缺少的逗号。",
                f"The row has {found} cells, the heading {full_width}. Look for a comma too many or too few.",
                row=number,
            )
            continue
        if stray := next((cell for cell in cells[width:] if not is_blank(cell)), None):
            problems.add(file, f"“{shown(stray)}”所在的列没有标题。", f'"{shown(stray)}" stands in a column without a heading.', row=number)
            continue
        yield number, cells[:width]
