"""The XML of one worksheet (ECMA-376 part 1, 18.3) as rows of cells, read as it streams by.

What would lose or invent content without a word is refused or shown: merged cells (all but the first read as blank, and a blank department
means any) end the reading with an error, a formula reads as the text `=…`, which no column takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO
from xml.parsers import expat

import msgspec
from openpyxl.utils.cell import column_index_from_string
from openpyxl.utils.datetime import from_excel

from app.packs.problems import SheetError

MAX_COLUMNS = 64
"""No table has half as many."""

MAX_MERGED_SHOWN = 10
"""Merged ranges that a message names."""

CHUNK_BYTES = 256 * 1024

_DIGITS = "0123456789"


class Surroundings(msgspec.Struct, frozen=True):
    """What cells refer to: texts by number, the day that date numbers count from, styles that make a number a date or a duration."""

    shared_texts: Sequence[str]
    epoch: datetime
    date_styles: frozenset[int]
    duration_styles: frozenset[int]


def read_worksheet(part: IO[bytes], surroundings: Surroundings) -> Iterator[tuple[int, list[object]]]:
    """The rows that hold anything: number, and cells up to the last that is not empty.

    Raises:
        SheetError: cells below the heading are merged (at the end, where the file says so), there are too many columns, or a DOCTYPE.
        ExpatError, ValueError, LookupError: the file is damaged.
    """
    reader = _Reader(surroundings)
    while chunk := part.read(CHUNK_BYTES):
        yield from reader.feed(chunk)
    yield from reader.feed(b"", last=True)
    reader.refuse_merged()


class _Reader:
    """Follows the parser through rows and cells. Elements are told by their local names: outside a cell only `row`, `c` and `mergeCell`
    matter, inside one `v` (value), `f` (formula), `is` with `t` (text that is not shared)."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._columns: dict[str, int] = {}
        self._finished: list[tuple[int, list[object]]] = []
        self._merged: list[str] = []
        self._row = 0
        self._cells: list[object] = []
        self._column = 0
        self._cell: dict[str, str] | None = None
        self._texts: list[str] = []
        self._formula = False
        self._phonetic = False
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = _refuse_doctype

    def feed(self, chunk: bytes, *, last: bool = False) -> list[tuple[int, list[object]]]:
        """The rows that ended in this piece of the file."""
        self._parser.Parse(chunk, last)
        finished, self._finished = self._finished, []
        return finished

    def refuse_merged(self) -> None:
        if self._merged:
            names = ", ".join(self._merged[:MAX_MERGED_SHOWN]) + ("…" if len(self._merged) > MAX_MERGED_SHOWN else "")
            raise SheetError(
                f"{names} 是合并单元格，请取消合并并逐行填写。", f"{names} are merged cells. Unmerge them and fill in every row."
            )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if self._cell is not None:
            self._start_in_cell(local)
        elif local == "c":
            self._cell = attributes
            self._texts = []
            self._formula = False
            place = attributes.get("r")
            self._column = self._column + 1 if place is None else self._column_of(place)
        elif local == "row":
            self._row = int(attributes.get("r", self._row + 1))
            self._cells = []
            self._column = 0
        elif local == "mergeCell":
            last = attributes["ref"].rpartition(":")[2]
            if last.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ$") != "1":
                self._merged.append(attributes["ref"])

    def _start_in_cell(self, local: str) -> None:
        if local == "f":
            self._formula = True
        elif local == "rPh":
            self._phonetic = True  # how a text is pronounced, not part of it
        elif local in ("v", "t") and not self._phonetic:
            self._parser.CharacterDataHandler = self._texts.append

    def _end(self, name: str) -> None:
        local = name.rpartition(" ")[2]
        if local in ("v", "t"):
            self._parser.CharacterDataHandler = None
        elif local == "rPh":
            self._phonetic = False
        elif local == "c" and self._cell is not None:
            self._add(self._value(self._cell, "".join(self._texts)))
            self._cell = None
        elif local == "row" and self._cells:
            self._finished.append((self._row, self._cells))

    def _add(self, value: object) -> None:
        if value is None:
            return
        if self._column > MAX_COLUMNS:
            raise SheetError(f"超过 {MAX_COLUMNS} 列。", f"There are more than {MAX_COLUMNS} columns.", self._row)
        missing = self._column - len(self._cells)
        if missing <= 0:
            raise ValueError(f"row {self._row} holds column {self._column} twice")
        self._cells.extend([None] * (missing - 1))
        self._cells.append(value)

    def _value(self, cell: dict[str, str], text: str) -> object:
        if self._formula:
            return "="
        kind = cell.get("t", "n")
        if kind == "inlineStr" or kind == "str":
            return text or None
        if not text:
            return None
        if kind == "s":
            return self._around.shared_texts[int(text)]
        if kind == "n":
            return self._number(text, int(cell.get("s", 0)))
        if kind == "b":
            return bool(int(text))
        return _instant(text) if kind == "d" else text

    def _number(self, text: str, style: int) -> object:
        number = int(text) if text.isdigit() else float(text)
        if style not in self._around.date_styles:
            return number
        try:
            return from_excel(number, self._around.epoch, timedelta=style in self._around.duration_styles)
        except (OverflowError, ValueError):
            return "#VALUE!"  # as the spreadsheet shows a number that is no day

    def _column_of(self, place: str) -> int:
        letters = place.rstrip(_DIGITS)
        column = self._columns.get(letters)
        if column is None:
            column = self._columns[letters] = column_index_from_string(letters)
        return column


def _instant(text: str) -> object:
    """The rare date that is stored as ISO 8601; a time of day alone stays text, which no date column takes."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _refuse_doctype(*_: object) -> None:
    # A worksheet has none; what it could declare are entities that unfold without end.
    raise SheetError("Excel 文件含有不允许的 DOCTYPE。", "The workbook holds a DOCTYPE, which no spreadsheet program writes.")
