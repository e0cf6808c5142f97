"""An Excel workbook's first sheet as rows of cells, read by openpyxl.

Reading row by row, openpyxl passes over merged cells: all but the first are blank then, and a blank department means any. So they are looked
for beforehand, when every part is looked through for what would unfold without end.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any

from openpyxl.reader.excel import ExcelReader
from openpyxl.worksheet.cell_range import CellRange

from app.packs.cells import NumberedCells
from app.packs.problems import Problems, SheetError
from app.packs.texts import shown
from app.packs.xml_parts import Part, look_through, too_much
from app.packs.zips import ENTRY_IN_ZIP, OLD_OFFICE, USUAL_COMPRESSIONS

MAX_UNPACKED_BYTES = 512 * 1024 * 1024
"""A workbook is a zip: 400,000 grants unpack to about 200 MiB, and a few kilobytes can be made to unpack to terabytes."""

MAX_PARTS = 5_000
"""Of a workbook; usual are a dozen."""

MAX_COLUMNS = 64
"""No table has half as many."""

LOOKED_INTO_ROWS = 100
"""Of a further sheet, to tell whether it holds anything."""

BATCH_ROWS = 1_000
"""Rows that are taken from openpyxl at once, with its warnings off."""


def open_workbook(file: str, data: bytes, problems: Problems) -> tuple[Iterator[NumberedCells], int]:
    """The rows of the first sheet, and how many it says it has (0 where it does not say). Further sheets that hold something are warned of.

    Raises:
        SheetError: it cannot be read, or cells below the heading are merged; from the rows too, where the damage lies further down.
    """
    if data.startswith(OLD_OFFICE):
        raise SheetError(
            "这是旧版 Excel（.xls）或加密的文件，请去掉密码并另存为 .xlsx。",
            "This is an old Excel file (.xls) or an encrypted one. Remove the password and save it as .xlsx.",
        )
    with _openpyxl():
        _refuse_huge(data)
        # What load_workbook() is made of; the workbook alone would not tell where in the zip its sheets are.
        reader = _Reader(io.BytesIO(data), read_only=True, keep_links=False)
        reader.archive = archive = _Archive(io.BytesIO(data))
        reader.read()
        sheets: Sequence[Any] = reader.wb.worksheets
        if not sheets:
            raise SheetError("工作簿中没有工作表。", "The workbook has no sheet.")
        _refuse_merged(reader, archive)
        expected = sheets[0].max_row or 0
        for sheet in sheets:
            sheet.reset_dimensions()  # where what a sheet says of its size is wrong, the cells beyond would be left out
        for sheet in sheets[1:]:
            if any(value is not None for row in sheet.iter_rows(max_row=LOOKED_INTO_ROWS, values_only=True) for value in row):
                zh, en = f"只读取第一个工作表，未读取“{sheet.title}”。", f'Only the first sheet is read; "{sheet.title}" was left out.'
                problems.warn(file, zh, en)
    return _rows(sheets[0]), expected


@contextmanager
def _openpyxl() -> Iterator[None]:
    """openpyxl warns of what it leaves out (styles, validations: none of it is content) and has no error of its own: a damaged workbook
    ends in any of a dozen types."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SheetError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise SheetError(
            "Excel 文件已损坏，无法读取，请重新另存为 .xlsx。", f"The workbook is damaged ({reason}). Save it again as .xlsx."
        ) from error


class _Archive(zipfile.ZipFile):
    """A workbook's zip, every part of which was looked through. One that is long is streamed and never read as a whole."""

    def __init__(self, data: IO[bytes]) -> None:
        super().__init__(data)
        self.parts: dict[str, Part] = {}
        for name in self.namelist():
            with self.open(name) as part:
                self.parts[name] = look_through(part)

    def read(self, name: str | zipfile.ZipInfo, pwd: bytes | None = None) -> bytes:
        if self.parts[name if isinstance(name, str) else name.filename].long:
            raise too_much()
        return super().read(name, pwd)


class _Reader(ExcelReader):
    def read_chartsheet(self, sheet: Any, rel: Any) -> None:
        """It has no rows, and would be read as a whole."""


def _refuse_huge(data: bytes) -> None:
    """By what the zip says of itself: no more than it says is ever unpacked of a part."""
    if data.count(ENTRY_IN_ZIP) > MAX_PARTS:
        raise too_much()
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        parts = packed.infolist()
    if not {part.compress_type for part in parts} <= USUAL_COMPRESSIONS:
        raise NotImplementedError("an unusual compression")
    unpacked = sum(part.file_size for part in parts)
    if unpacked > MAX_UNPACKED_BYTES:
        mebibytes = MAX_UNPACKED_BYTES >> 20
        raise SheetError(f"工作簿解压后超过 {mebibytes} MiB。", f"The workbook unpacks to more than {mebibytes} MiB.")


def _refuse_merged(reader: ExcelReader, archive: _Archive) -> None:
    """Looks for merged cells below the heading of the first sheet."""
    links = (link for _, link in reader.parser.find_sheets() if "chartsheet" not in str(link.Type))
    path = next(str(link.target) for link in links if link.target in reader.valid_files)
    merged = [ref for ref in archive.parts[path].merged if CellRange(ref).max_row > 1]
    if merged:
        names = shown(", ".join(merged))
        raise SheetError(f"{names} 是合并单元格，请取消合并并逐行填写。", f"{names} are merged cells. Unmerge them and fill in every row.")


def _rows(sheet: Any) -> Iterator[NumberedCells]:
    rows = enumerate(sheet.iter_rows(), start=1)
    while True:
        with _openpyxl():
            batch = [(number, _values(number, cells)) for number, cells in islice(rows, BATCH_ROWS)]
        if not batch:
            return
        yield from batch


def _values(row: int, cells: Sequence[Any]) -> list[object]:
    """The cells up to the last that is not empty, a formula as the text `=`, which no column takes."""
    values = ["=" if cell.data_type == "f" else cell.value for cell in cells]
    while values and values[-1] is None:
        values.pop()
    if len(values) > MAX_COLUMNS:
        raise SheetError(f"超过 {MAX_COLUMNS} 列。", f"There are more than {MAX_COLUMNS} columns.", row)
    return values
