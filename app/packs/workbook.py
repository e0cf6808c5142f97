"""An Excel workbook's first sheet as rows of cells.

openpyxl reads what lies around the sheet (its place in the zip, styles, shared texts); the sheet's own XML is read by `worksheet`, because
400,000 grants take openpyxl more than a minute.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
from openpyxl.reader.excel import ExcelReader
from openpyxl.styles.stylesheet import apply_stylesheet

from app.packs.problems import Problems, SheetError
from app.packs.worksheet import Surroundings, read_worksheet

MAX_UNPACKED_BYTES = 512 * 1024 * 1024
"""A workbook is a zip: 400,000 grants unpack to about 200 MiB, and a few kilobytes can be made to unpack to terabytes."""

LOOKED_INTO_BYTES = 64 * 1024
"""Of a sheet's beginning, for its size and whether it holds anything."""

_ZIP, _OLD_OFFICE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_SIZE = re.compile(rb'<(?:\w+:)?dimension [^>]*?ref="[A-Z]+\d+:[A-Z]+(\d{1,7})"')
_CONTENT = re.compile(rb"<(?:\w+:)?(?:v|t)[ >]")

NumberedCells: TypeAlias = tuple[int, Sequence[object]]
"""A row's number as the spreadsheet shows it, and the row's cells."""


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
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        if sum(part.file_size for part in packed.infolist()) > MAX_UNPACKED_BYTES:
            mebibytes = MAX_UNPACKED_BYTES >> 20
            raise SheetError(f"工作簿解压后超过 {mebibytes} MiB。", f"The workbook unpacks to more than {mebibytes} MiB.")
    archive, surroundings, sheets = _read_surroundings(data)
    if not sheets:
        raise SheetError("工作簿中没有工作表。", "The workbook has no sheet.")
    for title, path in sheets[1:]:
        if _CONTENT.search(_beginning(archive, path)):
            problems.warn(file, f"只读取第一个工作表，未读取“{title}”。", f'Only the first sheet is read; "{title}" was left out.')
    _, path = sheets[0]
    size = _SIZE.search(_beginning(archive, path))
    return Opened(_rows(archive, path, surroundings), max(int(size[1]) - 1, 0) if size else 0)


def _read_surroundings(data: bytes) -> tuple[zipfile.ZipFile, Surroundings, list[tuple[str, str]]]:
    """The zip, what cells refer to, and each sheet's title and place in the zip."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and validations that openpyxl drops: none of them is content
        reader = ExcelReader(io.BytesIO(data), read_only=True)
        reader.read_manifest()
        reader.read_strings()
        reader.read_workbook()
        book: Any = reader.wb
        apply_stylesheet(reader.archive, book)
        linked = [(sheet.name, link) for sheet, link in reader.parser.find_sheets()]
    sheets = [(str(title), str(link.target)) for title, link in linked if "chartsheet" not in str(link.Type)]
    surroundings = Surroundings(
        shared_texts=reader.shared_strings,
        epoch=book.epoch,
        date_styles=frozenset(book._date_formats),
        duration_styles=frozenset(book._timedelta_formats),
    )
    return reader.archive, surroundings, sheets


def _beginning(archive: zipfile.ZipFile, path: str) -> bytes:
    with archive.open(path) as part:
        return part.read(LOOKED_INTO_BYTES)


def _rows(archive: zipfile.ZipFile, path: str, surroundings: Surroundings) -> Iterator[NumberedCells]:
    try:
        with archive.open(path) as part:
            yield from read_worksheet(part, surroundings)
    except SheetError:
        raise
    except Exception as error:  # as in open_workbook: of the zip, the XML, and what cells claim to be
        raise _damaged(error) from error


def _damaged(error: Exception) -> SheetError:
    reason = f"{type(error).__name__}: {error}"[:200]
    return SheetError("Excel 文件已损坏，无法读取，请重新另存为 .xlsx。", f"The workbook is damaged ({reason}). Save it again as .xlsx.")
