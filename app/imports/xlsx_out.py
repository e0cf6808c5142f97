"""A table as an Excel workbook of one sheet. Every cell is text, so that no spreadsheet makes a number of a code.

The library makes a workbook of one cell, and the rows are written into its sheet here: cell by cell through the library, 400,000 grants take two
minutes of a core.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from itertools import islice

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.utils import get_column_letter

from app.imports.cells_out import Cells

ROWS_AT_ONCE = 500
"""Written as one piece."""

_TEXT_FORMAT = "@"
_SHEET = "xl/worksheets/sheet1.xml"
_SHEET_DATA = re.compile("(?<=<sheetData>).*(?=</sheetData>)", re.DOTALL)
_STYLE = re.compile(r' s="\d+"')

_ESCAPES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"} | dict.fromkeys(
    [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF], "\ufffd"
)
"""What a text must not hold as it stands; what XML cannot hold at all is replaced."""


def workbook_of(title: str, rows: Iterator[Cells]) -> bytes:
    """The workbook; `title` is the sheet's, the first row its heading."""
    made = io.BytesIO()
    with zipfile.ZipFile(_template(title)) as template, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in template.namelist():
            content = template.read(name)
            if name != _SHEET:
                packed.writestr(name, content)
                continue
            sheet = content.decode()
            (style,) = _STYLE.findall(sheet)
            before, after = _SHEET_DATA.split(sheet)
            with packed.open(name, "w") as part:
                part.write(before.encode())
                for piece in _pieces(rows, style):
                    part.write(piece.encode())
                part.write(after.encode())
    return made.getvalue()


def _template(title: str) -> io.BytesIO:
    """A workbook of one cell, which is formatted as text."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet(title)
    cell = WriteOnlyCell(sheet, "text")
    cell.number_format = _TEXT_FORMAT
    sheet.append([cell])
    made = io.BytesIO()
    book.save(made)
    return made


def _pieces(rows: Iterator[Cells], style: str) -> Iterator[str]:
    numbered = enumerate(rows, start=1)
    while piece := list(islice(numbered, ROWS_AT_ONCE)):
        yield "".join([_row(number, cells, style) for number, cells in piece])


def _row(number: int, cells: Iterable[str], style: str) -> str:
    written = [
        f'<c r="{get_column_letter(column)}{number}"{style} t="inlineStr"><is><t>{cell.translate(_ESCAPES)}</t></is></c>'
        for column, cell in enumerate(cells, start=1)
        if cell
    ]
    return f'<row r="{number}">{"".join(written)}</row>'
