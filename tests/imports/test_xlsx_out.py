"""Workbooks as they are exported, read by the library that everybody reads them with."""

from __future__ import annotations

import io

import openpyxl
import pytest

from app.imports import xlsx_out
from app.imports.xlsx_out import workbook_of

HEADING = ("code", "name", "remark")


def _read(data: bytes) -> list[tuple[object, ...]]:
    book = openpyxl.load_workbook(io.BytesIO(data))
    assert book.sheetnames == ["catalog"]
    cells = [cell for row in book["catalog"].iter_rows() for cell in row if cell.value is not None]
    assert {(cell.data_type, cell.number_format) for cell in cells} == {("s", "@")}
    return [tuple("" if value is None else value for value in row) for row in book["catalog"].iter_rows(values_only=True)]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 50])
def test_rows_come_back_as_they_were(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_out, "ROWS_AT_ONCE", 8)
    rows = [HEADING, *((f"35.{number:04}", "名称" * (number % 3), "" if number % 2 else "x") for number in range(count))]

    assert _read(workbook_of("catalog", iter(rows))) == rows


@pytest.mark.parametrize(
    "text", ["=1+1", "35.10", "2026-11-22", "a < b & c > d", "</t>", '"', "𠮷", "_x0041_", "TRUE", "1E5", "]]>", "两 行"]
)
def test_a_text_stays_what_it_is(text: str) -> None:
    assert _read(workbook_of("catalog", iter([HEADING, (text, "x", text)])))[1] == (text, "x", text)


@pytest.mark.parametrize("char", ["\x00", "\x0b", "\x1f", "\ufffe", "\ud800"])
def test_what_xml_cannot_hold_is_replaced(char: str) -> None:
    assert _read(workbook_of("catalog", iter([HEADING, (f"a{char}b", "x", "x")])))[1][0] == "a\ufffdb"
