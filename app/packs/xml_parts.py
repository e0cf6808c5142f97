"""The parts of a workbook, looked through before anything is built of them.

A workbook is a zip of XML. A megabyte of zip can hold a gigabyte of XML, and that becomes ten of memory: the library that reads it holds small
parts as a whole, of a sheet a row, of shared texts one at a time. Here each part streams through the parser with nothing kept, and what would become
too much is refused. So is a document type: no spreadsheet writes one, and entities unfold out of it.
"""

from __future__ import annotations

from typing import IO, NamedTuple
from xml.parsers import expat

from openpyxl.xml.constants import SHEET_MAIN_NS

from app.packs.problems import SheetError

MAX_ELEMENTS = 300_000
"""Of a part that is read as a whole, or within a row or a shared text: about 100 MiB in memory. Styles that have grown over the years have tens
of thousands, a row of 16,384 cells 50,000."""

MAX_RECORDS = 4_000_000
"""Rows or shared texts of a part: a sheet has at most 1,048,576 rows."""

MAX_BYTES_OF_ONE = 2 * 1024 * 1024
"""From the beginning of an element to that of the next. A cell has at most 32,767 characters."""

CHUNK_BYTES = 64 * 1024

_ROW, _SHARED_TEXT, _MERGED = (f"{SHEET_MAIN_NS} {name}" for name in ("row", "si", "mergeCell"))


class Part(NamedTuple):
    """What is in a part. `long`: more than may be held as a whole. `merged`: the ranges of merged cells that it names."""

    long: bool
    merged: tuple[str, ...]


class _Seen:
    """What has been seen of a part."""

    def __init__(self) -> None:
        self.elements = 0
        self.records = 0
        self.since_record = 0
        self.merged: list[str] = []

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        self.since_record += 1
        if name in (_ROW, _SHARED_TEXT):
            self.records += 1
            self.since_record = 0
        elif name == _MERGED:
            self.merged.append(attributes.get("ref", ""))
        if self.since_record > MAX_ELEMENTS or self.records > MAX_RECORDS:
            raise too_much()


def look_through(part: IO[bytes]) -> Part:
    """Reads a part to its end, or to where it is no XML (a picture; damage, which is found again when it is read).

    Raises:
        SheetError: it would take too much memory, or has a document type.
    """
    seen = _Seen()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = seen.begin
    parser.StartDoctypeDeclHandler = _refuse_document_type
    _feed(part, parser, seen)
    return Part(seen.elements > MAX_ELEMENTS, tuple(seen.merged))


def _feed(part: IO[bytes], parser: expat.XMLParserType, seen: _Seen) -> None:
    without_element = 0
    while chunk := part.read(CHUNK_BYTES):
        before = seen.elements
        try:
            parser.Parse(chunk)
        except expat.ExpatError:
            return
        without_element = 0 if seen.elements > before else without_element + len(chunk)
        if without_element > MAX_BYTES_OF_ONE:
            raise too_much()


def _refuse_document_type(*_: object) -> None:
    raise SheetError(
        "Excel 文件中含有文档类型声明（DTD），请重新另存为 .xlsx。", "The workbook has a document type (DTD). Save it again as .xlsx."
    )


def too_much() -> SheetError:
    """What to raise for a workbook that would take too much memory."""
    return SheetError(
        "Excel 文件解开后过大或结构异常，请只保留数据，重新另存为 .xlsx。",
        "The workbook unfolds to more than can be read. Keep the data alone and save it again as .xlsx.",
    )
