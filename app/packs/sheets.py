"""A table as a file, CSV or XLSX, read into a heading and rows that know their number in the spreadsheet.

Rows are read as they are asked for: a matrix of 400,000 grants is never held twice. A row with too many or too few cells is a problem and
left out; blank rows are passed over but counted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from app.engine.codes import normalize_text
from app.packs.cells import NumberedCells, is_blank
from app.packs.problems import Problems, SheetError
from app.packs.texts import encoding_of, shown
from app.packs.zips import is_workbook

MAX_ROWS = 1_048_576
"""Rows of a table: as many as a spreadsheet has."""

MAX_LINE_CHARS = 1024 * 1024
"""Of a CSV. Of commas alone, one of 64 MiB would become cells of half a GiB."""


class Sheet:
    """A table before its columns are understood. `heading_row` is the heading's row number. `expected` is how many rows there will be
    about, for showing progress; 0 where it cannot be told. `whole`: no row was left out so far."""

    def __init__(self, file: str, rows: Iterator[NumberedCells], expected: int, problems: Problems, *, padded: bool) -> None:
        """`padded`: a row may lack the cells at its end, as in a workbook, where empty ones are not stored.

        Raises:
            SheetError: there is no heading, or a column without one.
        """
        self.file = file
        self.expected = expected
        self.whole = True
        self._padded = padded
        self._rest = _not_blank(rows)
        self._problems = problems
        self.heading_row, cells = next(self._rest, (1, ()))
        self._full_width = len(cells)
        self.heading = _heading(self.heading_row, cells)

    def rows(self) -> Iterator[NumberedCells]:
        """The rows below the heading that are not blank, each with as many cells as the heading. They can be gone through once."""
        try:
            for number, cells in self._rest:
                if fitting := self._fitting(number, cells):
                    yield number, fitting
        except SheetError as error:
            self._lose(error.row, *error.texts)

    def _fitting(self, number: int, cells: Sequence[object]) -> Sequence[object] | None:
        """The cells under the heading's words; None, with a problem, where there are more or fewer than it has columns."""
        found, wanted, width = len(cells), self._full_width, len(self.heading)
        if found != wanted and not self._padded:
            zh = f"该行有 {found} 个单元格，标题行有 {wanted} 个。请检查多余或缺少的逗号。"
            self._lose(number, zh, f"The row has {found} cells, the heading {wanted}. Look for a comma too many or too few.")
            return None
        for stray in cells[width:]:
            if not is_blank(stray):
                self._lose(number, f"“{shown(stray)}”所在的列没有标题。", f'"{shown(stray)}" stands in a column without a heading.')
                return None
        return cells[:width] if found >= width else (*cells, *(None,) * (width - found))

    def _lose(self, row: int | None, zh: str, en: str) -> None:
        self.whole = False
        self._problems.add(self.file, zh, en, row=row)


def open_sheet(file: str, data: bytes, problems: Problems) -> Sheet | None:
    """The table in a file of that name, its kind told by its content. None, with a problem, where it cannot be read at all."""
    try:
        if is_workbook(data):
            from app.packs.workbook import open_workbook  # see `zips`

            rows, expected = open_workbook(file, data, problems)
            return Sheet(file, rows, expected, problems, padded=True)
        if file.lower().endswith(".xlsx"):
            raise SheetError("文件不是 Excel 工作簿（.xlsx）。", "The file is no Excel workbook (.xlsx).")
        encoding = encoding_of(file, data, problems)
        if encoding is None:
            return None
        return Sheet(file, _csv_rows(data, encoding), data.count(b"\n"), problems, padded=False)
    except SheetError as error:
        problems.add(file, *error.texts, row=error.row)
        return None


def _not_blank(rows: Iterator[NumberedCells]) -> Iterator[NumberedCells]:
    for number, cells in rows:
        if number > MAX_ROWS:
            raise SheetError(f"超过 {MAX_ROWS} 行。", f"There are more than {MAX_ROWS} rows.", number)
        if not all(map(is_blank, cells)):
            yield number, cells


def _csv_rows(data: bytes, encoding: str) -> Iterator[NumberedCells]:
    """A quoted cell may hold line breaks, so records are counted, as a spreadsheet does, and not lines."""
    number = 0
    try:
        # Decoded piece by piece: as one text, 40 MiB of grants with Chinese in them would take 160.
        text = io.TextIOWrapper(io.BytesIO(data), encoding, newline="")
        for number, cells in enumerate(csv.reader(_lines(text), strict=True), start=1):
            yield number, cells
    except csv.Error as error:
        zh = "引号不配对或单元格过长，从这一行起无法读取。"
        raise SheetError(
            zh, f"A quote is not closed or a cell is too long; nothing can be read from here on ({error}).", number + 1
        ) from error


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(MAX_LINE_CHARS + 1):
        if len(line) > MAX_LINE_CHARS:
            raise csv.Error(f"a line of more than {MAX_LINE_CHARS} characters")
        yield line


def _heading(number: int, cells: Sequence[object]) -> tuple[str, ...]:
    """The heading without the empty columns that a spreadsheet leaves at its end."""
    words = ["" if is_blank(cell) else normalize_text(str(cell)) for cell in cells]
    while words and not words[-1]:
        words.pop()
    if not words:
        raise SheetError("文件是空的，没有标题行。", "The file is empty: there is no heading.")
    if "" in words:
        place = words.index("") + 1
        raise SheetError(f"第{place}列没有标题。", f"Column {place} has no heading.", number)
    return tuple(words)
