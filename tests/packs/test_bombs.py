"""Workbooks of some hundred kilobytes that would take gigabytes of memory are refused, within a process that has little of it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import openpyxl
import pytest

from app.packs import workbook
from app.packs.problems import Problems, SheetError
from app.packs.workbook import open_workbook

ROOT = Path(__file__).parents[2]
MEMORY_BYTES = 1 << 30
PIECE, PIECES = 100_000, 80
"""So many elements make several GiB where they are held as a whole."""

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
SHEET, STYLES, STRINGS, TYPES = "xl/worksheets/sheet1.xml", "xl/styles.xml", "xl/sharedStrings.xml", "[Content_Types].xml"
WORKBOOK_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
STRINGS_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"

Bomb = Mapping[str, tuple[str, str, str]]
"""By part: its beginning, what is repeated, its end."""

BOMBS: Mapping[str, Bomb] = {
    "styles": {STYLES: (f"<styleSheet {MAIN}>", '<x a=""/>', "</styleSheet>")},
    "a row": {SHEET: (f'<worksheet {MAIN}><sheetData><row r="1">', "<c/>", "</row></sheetData></worksheet>")},
    "beside the rows": {SHEET: (f"<worksheet {MAIN}><sheetData>", "<x/>", "</sheetData></worksheet>")},
    "a text of pieces": {STRINGS: (f"<sst {MAIN}><si>", "<r><t>1</t></r>", "</si></sst>")},
    "texts without number": {STRINGS: (f"<sst {MAIN}>", "<si/>", "</sst>")},
    "one text": {SHEET: (f'<worksheet {MAIN}><sheetData><row r="1"><c t="inlineStr"><is><t>', "1234567", "</t></is></c></row>")},
    "an attribute": {SHEET: (f'<worksheet {MAIN} a="', "1234567", '"/>')},
    "merged cells": {SHEET: (f"<worksheet {MAIN}><sheetData/><mergeCells>", '<mergeCell ref="A2:A3"/>', "</mergeCells></worksheet>")},
    "what is read of types": {TYPES: ("<Types>", '<Default Extension="x"/>', "</Types>")},
}

UNFOLD = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
from pathlib import Path
from app.packs.problems import Problems, SheetError
from app.packs.workbook import open_workbook
for path in sys.argv[2:]:
    try:
        rows, _ = open_workbook("x.xlsx", Path(path).read_bytes(), Problems())
        said = f"{sum(1 for _ in rows)} rows"
    except SheetError as error:
        said = error.texts[1]
    print(json.dumps([path, said]), flush=True)
"""


def _parts() -> dict[str, bytes]:
    """Those of a plain workbook."""
    made = io.BytesIO()
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["code", "national_code"])
    book.save(made)
    with zipfile.ZipFile(made) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    strings = f'<Override PartName="/{STRINGS}" ContentType="{STRINGS_TYPE}"/></Types>'
    return parts | {TYPES: parts[TYPES].replace(b"</Types>", strings.encode()), STRINGS: f"<sst {MAIN}/>".encode()}


def _write(path: Path, parts: Mapping[str, bytes], bomb: Bomb) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name, content in parts.items():
            if name not in bomb:
                packed.writestr(name, content)
        for name, (begin, repeated, end) in bomb.items():
            with packed.open(name, "w") as part:
                part.write(begin.encode())
                for _ in range(PIECES):
                    part.write(repeated.encode() * PIECE)
                part.write(end.encode())


def test_what_would_take_more_memory_than_there_is(tmp_path: Path) -> None:
    parts = _parts()
    # The part that is read as a whole is one that looks like a sheet.
    disguised = parts | {TYPES: parts[TYPES].replace(b"/xl/workbook.xml", b"/xl/worksheets/sheet2.xml")}
    rows: Bomb = {"xl/worksheets/sheet2.xml": (f"<worksheet {MAIN}><sheetData>", '<row r="1"><c/></row>', "</sheetData></worksheet>")}
    paths = {name: tmp_path / f"{number}.xlsx" for number, name in enumerate([*BOMBS, "a workbook that is a sheet"])}
    for name, bomb in BOMBS.items():
        _write(paths[name], parts, bomb)
    _write(paths["a workbook that is a sheet"], disguised, rows)
    assert all(path.stat().st_size < 8 << 20 for path in paths.values())

    said = _unfolded(list(paths.values()))

    assert {name: said[str(path)] for name, path in paths.items()} == dict.fromkeys(
        paths, "The workbook unfolds to more than can be read. Keep the data alone and save it again as .xlsx."
    )


def _unfolded(paths: list[Path]) -> dict[str, str]:
    """What is said of each, by a process that has little memory."""
    command = [sys.executable, "-c", UNFOLD, str(MEMORY_BYTES), *map(str, paths)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(line) for line in ran.stdout.splitlines())


def test_a_large_sheet_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than there may be elements in a part that is read as a whole."""
    path = tmp_path / "large.xlsx"
    monkeypatch.setattr("app.packs.xml_parts.MAX_ELEMENTS", 1_000)
    row = '<row><c t="inlineStr"><is><t>1</t></is></c></row>'
    _write_rows(path, row, 2_000)

    rows, _ = open_workbook("x.xlsx", path.read_bytes(), Problems())

    assert sum(1 for _ in rows) == 2_000


def _write_rows(path: Path, row: str, count: int) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in (_parts() | {SHEET: f"<worksheet {MAIN}><sheetData>{row * count}</sheetData></worksheet>".encode()}).items():
            packed.writestr(name, content)


def test_a_workbook_that_is_packed_in_an_unusual_way(tmp_path: Path) -> None:
    """Other ways unpack more at once than is asked for."""
    path = tmp_path / "packed.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as packed:
        for name, content in _parts().items():
            packed.writestr(name, content)

    with pytest.raises(SheetError, match="unusual compression"):
        open_workbook("x.xlsx", path.read_bytes(), Problems())


def test_a_zip_of_more_parts_than_a_workbook_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MAX_PARTS", 5)
    path = tmp_path / "many.xlsx"
    _write_rows(path, "<row/>", 1)

    with pytest.raises(SheetError, match="unfolds"):
        open_workbook("x.xlsx", path.read_bytes(), Problems())
