"""An Excel workbook's first sheet as rows of cells. What would lose or invent content without a word is refused: merged cells (all but the
first read as blank, and a blank department means any), and, cell by cell in `cells`, formulas.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import msgspec
from openpyxl import load_workbook
from openpyxl.utils.cell import range_boundaries

from app.packs.problems import Problems, SheetError

T = TypeVar("T")

MAX_UNPACKED_BYTES = 512 * 1024 * 1024
"""A workbook is a zip: 400,000 grants unpack to about 200 MiB, and a few kilobytes can be made to unpack to terabytes."""

MAX_COLUMNS = 64
"""Columns that are looked at: no table has half as many, and every heading must be known anyhow."""

ROWS_AT_ONCE = 2_000
"""Rows read in one go, with openpyxl's warnings held back."""

MAX_MERGED_SHOWN = 10
"""Merged ranges that a message names."""

_ZIP, _OLD_OFFICE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell [^>]*?ref="([A-Z0-9:]{3,30})"')
_CHUNK_BYTES = 1 << 20
_LONGEST_MERGED = 128


NumberedCells: TypeAlias = tuple[int, Sequence[object]]
"""A row number, counted from 1 with blank rows, and the row's cells."""


class Opened(msgspec.Struct, frozen=True):
    """The rows of a sheet, and how many it says it has below the heading (0 where it does not say)."""

    rows: Iterator[NumberedCells]
    expected: int


def is_workbook(data: bytes) -> bool:
    """Whether the content is a workbook's, new or old, whatever the file is called."""
    return data.startswith((_ZIP, _OLD_OFFICE))


def open_workbook(file: str, data: bytes, problems: Problems) -> Opened:
    """The first sheet of a workbook; further ones that hold something are warned of.

    Raises:
        SheetError: it cannot be read; from `rows` too, where the damage lies further down.
    """
    if data.startswith(_OLD_OFFICE):
        raise SheetError(
            "这是旧版 Excel（.xls）或加密的文件，请去掉密码并另存为 .xlsx。",
            "This is an old Excel file (.xls) or an encrypted one. Remove the password and save it as .xlsx.",
        )
    try:
        return _open(file, data, problems)
    except SheetError:
        raise
    except Exception as error:  # openpyxl has no error of its own: a damaged workbook ends in any of a dozen types
        raise _damaged(error) from error


def _open(file: str, data: bytes, problems: Problems) -> Opened:
    archive = zipfile.ZipFile(io.BytesIO(data))
    if sum(part.file_size for part in archive.infolist()) > MAX_UNPACKED_BYTES:
        mebibytes = MAX_UNPACKED_BYTES >> 20
        raise SheetError(f"工作簿解压后超过 {mebibytes} MiB。", f"The workbook unpacks to more than {mebibytes} MiB.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and validations that openpyxl drops: none of them is content
        sheets: list[Any] = load_workbook(io.BytesIO(data), read_only=True).worksheets
    if not sheets:
        raise SheetError("工作簿中没有工作表。", "The workbook has no sheet.")
    for other in sheets[1:]:
        if (other.max_row or 0) > 1:
            problems.warn(
                file, f"只读取第一个工作表，未读取“{other.title}”。", f'Only the first sheet is read; "{other.title}" was left out.'
            )
    _refuse_merged(archive, sheets[0])
    expected = sheets[0].max_row or 0
    sheets[0].reset_dimensions()  # some programs write a wrong size, and rows beyond it would be dropped
    return Opened(_numbered(sheets[0].iter_rows(values_only=True, max_col=MAX_COLUMNS)), max(expected - 1, 0))


def _numbered(rows: Iterator[Sequence[object]]) -> Iterator[NumberedCells]:
    try:
        for number, cells in enumerate(_quietly(rows), start=1):
            yield number, _without_empty_end(cells)
    except Exception as error:  # as in open_workbook: the sheet itself is parsed only now
        raise _damaged(error) from error


def _without_empty_end(cells: Sequence[object]) -> Sequence[object]:
    last = len(cells)
    while last and cells[last - 1] is None:
        last -= 1
    return cells[:last]


def _quietly(rows: Iterator[T]) -> Iterator[T]:
    """The rows without the warnings that reading them makes. The filter is set aside before anything is handed out: it is the process's."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chunk = list(islice(rows, ROWS_AT_ONCE))
        if not chunk:
            return
        yield from chunk


def _refuse_merged(archive: zipfile.ZipFile, sheet: Any) -> None:
    # In read-only mode openpyxl passes merged cells over; where the sheet lies in the zip is all that it can tell.
    merged = {cells: range_boundaries(cells) for cells in _merged_cells(archive, sheet._worksheet_path)}
    below = sorted((first_row or 1, cells) for cells, (_, first_row, _, last_row) in merged.items() if last_row and last_row > 1)
    if below:
        names = ", ".join(cells for _, cells in below[:MAX_MERGED_SHOWN]) + ("…" if len(below) > MAX_MERGED_SHOWN else "")
        raise SheetError(
            f"{names} 是合并单元格，请取消合并并逐行填写。", f"{names} are merged cells. Unmerge them and fill in every row.", below[0][0]
        )


def _merged_cells(archive: zipfile.ZipFile, part: str) -> set[str]:
    found: set[str] = set()
    with archive.open(part) as stream:
        end = b""
        while chunk := stream.read(_CHUNK_BYTES):
            found.update(match.decode() for match in _MERGED.findall(end + chunk))
            end = chunk[-_LONGEST_MERGED:]
    return found


def _damaged(error: Exception) -> SheetError:
    reason = f"{type(error).__name__}: {error}"[:200]
    return SheetError("Excel 文件已损坏，无法读取，请重新另存为 .xlsx。", f"The workbook is damaged ({reason}). Save it again as .xlsx.")
