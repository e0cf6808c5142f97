"""Tables as files: encodings, CSV and XLSX, rows that do not fit, what a spreadsheet does to codes."""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from datetime import date
from pathlib import Path

import openpyxl
import pytest

from app.packs import sheets, texts, workbook
from app.packs.load import load_pack
from app.packs.problems import Problem, Problems

from .conftest import PackFolder

GRANTS = ["staff", "scope_type", "scope", "valid_from"]


def write_workbook(path: Path, *rows: list[object], merged: str | None = None) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    if merged:
        sheet.merge_cells(merged)
    book.save(path)


def grants_workbook(pack: PackFolder, *rows: list[object], merged: str | None = None) -> None:
    pack.remove("grants.csv")
    write_workbook(pack.path / "grants.xlsx", list(GRANTS), *rows, merged=merged)


def edit_part(path: Path, part: str, old: str, new: str) -> None:
    """Replaces a pattern in one part of a workbook, as other programs or damage would have it."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    changed, count = re.subn(old, new, parts[part].decode())
    assert count
    parts[part] = changed.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_a_workbook_with_chinese_headings_and_words_gives_the_same_pack(pack: PackFolder) -> None:
    pack.write(
        "catalog.csv",
        "code,name,level,department,item,flags,includes\n"
        "35.71001,房间隔缺损修补术,3,胸心外科;小儿外科,WKJDXX3.2,bypass;major,88.45001\n"
        "88.45001,肾动脉造影,2,心内科,XN-GM2,,\n",
    )
    pack.write(
        "staff.csv",
        "staff,name,department,kind,title,license_valid_to,practice_scope,status,requalification\n"
        "100234,张三,胸心外科,multi_site,主任医师,2027-12-31,外科专业;儿科专业,active,done\n"
        "100377,王五,心内科,resident,住院医师,,,left,\n",
    )
    pack.write(
        "grants.csv",
        "staff,scope_type,scope,department,role,valid_from,valid_to,state\n"
        "100234,item,WKJDXX3.2,胸心外科,operator,2026-01-01,2028-12-31,active\n"
        "100234,level,2,,requester,2026-01-01,,suspended\n"
        "100234,asa,3,,,2026-01-01,,revoked\n",
    )
    pack.write("credentials.csv", "staff,technology,kind,issued_on\n100234,T1,exemption,2025-03-01\n")
    expected = pack.load()

    for name in ("catalog", "staff", "grants", "credentials"):
        pack.remove(f"{name}.csv")
    write_workbook(
        pack.path / "catalog.xlsx",
        ["手术编码", "手术名称", "手术级别", "科室", "授权项目", "标志", "包含"],
        ["35.71001", "房间隔缺损修补术", "三级", "胸心外科；小儿外科", "WKJDXX3.2", "体外循环、重大", "88.45001"],
        ["88.45001", "肾动脉造影", 2, "心内科", "XN-GM2", None, None],
    )
    write_workbook(
        pack.path / "staff.xlsx",
        ["工号", "姓名", "科室", "人员类别", "职称", "执业证书有效期", "执业范围", "状态", "再评价"],
        [100234, "张三", "胸心外科", "多点执业", "主任医师", date(2027, 12, 31), "外科专业、儿科专业", "在职", "已评价"],
        [100377, "王五", "心内科", "住院医师（规培）", "住院医师", None, None, "离职", None],
    )
    write_workbook(
        pack.path / "grants.xlsx",
        ["工号", "授权类型", "授权范围", "科室", "授权角色", "授权起始", "授权截止", "状态"],
        [100234, "授权项目", "WKJDXX3.2", "胸心外科", "术者", "2026/1/1", datetime.datetime(2028, 12, 31), "启用"],
        [],
        [100234, "级别", 2, None, "开单权", "2026年1月1日", None, "暂停"],
        [100234, "ASA分级", "Ⅲ级", None, None, date(2026, 1, 1), None, "撤销"],
    )
    write_workbook(pack.path / "credentials.xlsx", ["工号", "技术", "证明类别", "发证日期"], [100234, "T1", "免于培训", date(2025, 3, 1)])
    loaded = pack.load()

    assert loaded.hospital == expected.hospital
    assert loaded.people == expected.people


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_encodings_that_spreadsheets_write(pack: PackFolder, encoding: str) -> None:
    pack.write("staff.csv", "工号,姓名,科室,人员类别\r\n100234,张三,胸心外科,医师\r\n", encoding)
    pack.write("grants.csv", "工号,授权类型,授权范围,授权起始\r\n100234,编码,35.71001,2026年1月1日\r\n", encoding)

    assert pack.load().people[0].staff.name == "张三"


def test_damaged_utf8_is_not_read_as_garbled_chinese(pack: PackFolder) -> None:
    broken = "staff,name,department,kind\n100234,张三,胸心外科,physician\n".encode().replace("三".encode(), b"\xe4\xb8")
    (pack.path / "staff.csv").write_bytes(broken)

    assert (pack.problem().file, pack.problem().row) == ("staff.csv", 2)


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 64])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_file_is_told_piece_by_piece(monkeypatch: pytest.MonkeyPatch, encoding: str, piece: int) -> None:
    monkeypatch.setattr(texts, "PIECE_BYTES", piece)
    text = "工号,姓名\n100234,张三丰𠮷\n"
    whole = text.encode(encoding)
    problems = Problems()

    assert texts.encoding_of("staff.csv", whole, problems) == ("gb18030" if encoding == "gb18030" else "utf-8-sig")
    for place in range(len(whole)):
        broken = whole[:place] + b"\xff" + whole[place:]
        assert texts._broken_at(broken, encoding.removesuffix("-sig")) == _first_error(broken, encoding.removesuffix("-sig"))


def _first_error(data: bytes, encoding: str) -> int | None:
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        return error.start
    return None


def test_a_line_without_end(pack: PackFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MAX_LINE_CHARS", 1000)
    pack.write("grants.csv", "staff,scope_type,scope,valid_from\n" + "," * 2000 + "\n")

    assert "nothing can be read from here" in pack.problem().message_en
    assert pack.problem().row == 2


def test_utf16_is_said_by_name(pack: PackFolder) -> None:
    pack.write("staff.csv", "staff,name\n", "utf-16")

    assert "UTF-16" in pack.problem().message_en


def test_rows_are_counted_as_a_spreadsheet_shows_them(pack: PackFolder) -> None:
    pack.write("catalog.csv", '\ncode,name,level\n\n35.71001,"两行的\n名称",3\n,,\n88.45001,x,7\n')
    pack.write("grants.csv", "staff,scope_type,scope,valid_from\n")
    pack.remove("aliases.csv")

    assert pack.problem().row == 6


def test_blank_rows_are_passed_over(pack: PackFolder) -> None:
    pack.append("grants.csv", "\n,,,\n　, ,,\n")

    assert len(pack.load().people[0].grants) == 1


@pytest.mark.parametrize("row", ["100234,code,88.45001", "100234,code,88.45001,2026-01-01,", "100234,code,88.45001,2026-01-01,x"])
def test_a_row_with_too_many_or_too_few_cells(pack: PackFolder, row: str) -> None:
    pack.append("grants.csv", row + "\n")

    assert "cells, the heading 4" in pack.problem().message_en
    assert pack.problem().row == 3


def test_empty_columns_at_the_end_are_left_by_spreadsheets(pack: PackFolder) -> None:
    pack.write("grants.csv", "staff,scope_type,scope,valid_from,,\n100234,code,35.71001,2026-01-01,,\n")
    assert len(pack.load().people[0].grants) == 1

    pack.append("grants.csv", "100234,code,88.45001,2026-01-01,,note\n")
    assert "a column without a heading" in pack.problem().message_en


def test_a_column_without_a_heading(pack: PackFolder) -> None:
    pack.write("grants.csv", "staff,,scope_type,scope,valid_from\n")

    assert pack.problem().message_en == "Column 2 has no heading."


def test_a_quote_that_is_never_closed(pack: PackFolder) -> None:
    pack.append("grants.csv", '100234,"code,88.45001,2026-01-01\n')

    assert (pack.problem().row, pack.problem().message_zh) == (3, "引号不配对或单元格过长，从这一行起无法读取。")


@pytest.mark.parametrize("cell", [35.1, 35.71001, 35, datetime.datetime(2035, 10, 1)])
def test_a_code_that_the_spreadsheet_made_a_number_or_date_of(pack: PackFolder, cell: object) -> None:
    grants_workbook(pack, ["100234", "code", cell, "2026-01-01"])

    problem = pack.problem()

    assert (problem.row, problem.column) == (2, "scope")
    assert "Format the column as text" in problem.message_en
    assert "设为“文本”格式" in problem.message_zh


@pytest.mark.parametrize("cell", ["35", "3.571E+01", "2035/10/1", "Oct-35", "35.71.1"])
def test_what_is_left_of_such_a_code_in_a_csv(pack: PackFolder, cell: str) -> None:
    pack.append("grants.csv", f"100234,code,{cell},2026-01-01\n")

    assert ("Format the column as text" in pack.problem().message_en) is (cell != "35.71.1")


def test_a_number_is_fine_for_a_staff_number_and_a_level(pack: PackFolder) -> None:
    grants_workbook(pack, [100234, "level", 2, "2026-01-01"], [100234.0, "asa", 3.0, "2026-01-01"])

    assert [grant.scope for grant in pack.load().people[0].grants] == ["2", "3"]


def test_a_grade_that_is_a_number_may_have_lost_a_zero(pack: PackFolder) -> None:
    pack.remove("catalog.csv")
    rows: list[list[object]] = [["code", "name", "level", "hospital_grade"], ["35.71001", "x", 3, 4.1], ["88.45001", "y", 2, "4.10"]]
    write_workbook(pack.path / "catalog.xlsx", *rows)

    assert (pack.problem().row, pack.problem().column) == (2, "hospital_grade")


def test_a_long_number_has_lost_its_last_digits(pack: PackFolder) -> None:
    pack.write("staff.csv", "staff,name,department,kind,license_no\n100234,张三,胸心外科,physician,1.10420E+14\n")
    assert "lost digits" in pack.problem().message_en

    pack.write("staff.csv", "staff,name,department,kind,license_no\n100234,张三,胸心外科,physician,110420000012345\n")
    assert pack.load().people[0].staff.license_no == "110420000012345"


def test_a_formula_is_refused_and_its_value_is_not(pack: PackFolder) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "=TODAY()"], ["100234", "code", "88.45001", date(2026, 1, 1)])

    assert (pack.problem().row, pack.problem().column) == (2, "valid_from")
    assert "formula" in pack.problem().message_en


@pytest.mark.parametrize(
    "formula", ['<f t="array" ref="D2">B2</f>', '<f t="shared" ref="D2:D3" si="0">B2</f>', '<f t="dataTable" ref="D2"/>']
)
def test_formulas_of_every_kind_are(pack: PackFolder, formula: str) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "=B2"])
    edit_part(pack.path / "grants.xlsx", "xl/worksheets/sheet1.xml", "<f>B2</f>", formula)

    assert "formula" in pack.problem().message_en


def test_a_number_that_is_no_day(pack: PackFolder) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", date(2026, 1, 1)])
    edit_part(pack.path / "grants.xlsx", "xl/worksheets/sheet1.xml", "<v>46023</v>", "<v>99999999</v>")

    assert (pack.problem().row, pack.problem().column) == (2, "valid_from")


def test_a_formula_in_a_column_that_is_not_read_does_not_matter(pack: PackFolder) -> None:
    pack.remove("grants.csv")
    write_workbook(pack.path / "grants.xlsx", [*GRANTS, "备注"], ["100234", "code", "35.71001", "2026-01-01", "=A2"])

    assert len(pack.load().people[0].grants) == 1


def test_merged_cells_are_refused_because_the_others_read_as_blank(pack: PackFolder) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01"], ["100234", "code", "88.45001", "2026-01-01"], merged="A2:A3")

    assert any("A2:A3 are merged cells" in problem.message_en for problem in pack.problems())


def test_merged_cells_in_the_heading_alone_do_no_harm(pack: PackFolder) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01"], merged="E1:F1")

    assert len(pack.load().people[0].grants) == 1


def test_merged_cells_of_another_sheet_do_no_harm(pack: PackFolder) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01"])
    book = openpyxl.load_workbook(pack.path / "grants.xlsx")
    book.create_sheet("说明", index=0).merge_cells("A2:A3")
    book.save(pack.path / "grants.xlsx")
    # Moved behind the grants: its file in the zip is still the first.
    edit_part(pack.path / "grants.xlsx", "xl/workbook.xml", r"(<sheet [^>]*/>)(<sheet [^>]*/>)", r"\2\1")

    assert len(pack.load().people[0].grants) == 1


def test_a_second_sheet_with_content_is_warned_of(pack: PackFolder) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01"])
    book = openpyxl.load_workbook(pack.path / "grants.xlsx")
    book.create_sheet("空表")
    book.create_sheet("更多").append(["100234"])
    book.save(pack.path / "grants.xlsx")

    (warning,) = pack.load().warnings

    assert "更多" in warning.message_zh


def test_sparse_rows_and_namespace_prefixes_of_other_programs(pack: PackFolder) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01"], ["100234", "code", "88.45001", "2026-02-30"])
    path = pack.path / "grants.xlsx"
    edit_part(path, "xl/worksheets/sheet1.xml", r'<row r="3"', '<row r="9"')
    edit_part(path, "xl/worksheets/sheet1.xml", r'r="([A-D])3"', r'r="\g<1>9"')
    edit_part(path, "xl/worksheets/sheet1.xml", r"<(/?)(row|c|v|is|t)\b", r"<\1x:\2")
    edit_part(
        path, "xl/worksheets/sheet1.xml", r"<worksheet ", '<worksheet xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    )

    assert (pack.problem().row, pack.problem().column) == (9, "valid_from")


def test_what_a_sheet_says_of_its_size_is_not_believed(pack: PackFolder) -> None:
    """A `valid_to` beyond it that went unseen would make a grant without an end."""
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01"], ["100234", "code", "88.45001", "2026-02-30"])
    edit_part(pack.path / "grants.xlsx", "xl/worksheets/sheet1.xml", r'<dimension ref="[^"]*"', '<dimension ref="A1:B2"')

    assert (pack.problem().row, pack.problem().column) == (3, "valid_from")


@pytest.mark.parametrize("row", [1, 3])
def test_rows_beyond_those_of_a_spreadsheet(pack: PackFolder, row: int) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01"], ["100234", "code", "88.45001", "2026-01-01"])
    edit_part(pack.path / "grants.xlsx", "xl/worksheets/sheet1.xml", f'<row r="{row}"', '<row r="2000000000"')

    assert "more than 1048576 rows" in pack.problem().message_en


SHARED_TEXTS = """<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>100234</t></si>
<si><r><t>35.</t></r><r><t>71001</t></r></si></sst>"""


def test_shared_texts_as_excel_writes_them(pack: PackFolder) -> None:
    grants_workbook(pack, ["A", "code", "B", date(2026, 1, 1)])
    path = pack.path / "grants.xlsx"
    edit_part(path, "xl/worksheets/sheet1.xml", 't="inlineStr"><is><t>A</t></is>', 't="s"><v>0</v>')
    edit_part(path, "xl/worksheets/sheet1.xml", 't="inlineStr"><is><t>B</t></is>', 't="s"><v>1</v>')
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    edit_part(path, "[Content_Types].xml", "</Types>", f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>')
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("xl/sharedStrings.xml", SHARED_TEXTS)

    (grant,) = pack.load().people[0].grants

    assert (grant.staff, grant.scope, grant.valid_from) == ("100234", "35.71001", date(2026, 1, 1))


def test_how_a_text_is_pronounced_is_not_part_of_it(pack: PackFolder) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01"])
    phonetic = '<t>100234</t><rPh sb="0" eb="1"><t>yi</t></rPh>'
    edit_part(pack.path / "grants.xlsx", "xl/worksheets/sheet1.xml", "<t>100234</t>", phonetic)

    assert len(pack.load().people[0].grants) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xd0\xcf\x11\xe0old", "old Excel file"),
        (b"PK\x03\x04damaged", "damaged"),
        (b"staff,scope_type", "no Excel workbook"),
    ],
)
def test_a_file_that_is_no_workbook(pack: PackFolder, content: bytes, said: str) -> None:
    pack.remove("grants.csv")
    (pack.path / "grants.xlsx").write_bytes(content)

    assert said in pack.problem().message_en


def test_a_workbook_that_breaks_off(pack: PackFolder) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01"])
    edit_part(pack.path / "grants.xlsx", "xl/worksheets/sheet1.xml", r"</sheetData>.*", "")

    assert "damaged" in pack.problem().message_en


def test_a_workbook_with_entities_that_unfold_without_end(pack: PackFolder) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01"])
    path = pack.path / "grants.xlsx"
    folds = "".join(f'<!ENTITY e{depth} "{f"&e{depth - 1};" * 10}">' for depth in range(1, 10))
    edit_part(path, "xl/worksheets/sheet1.xml", r"<worksheet ", f'<!DOCTYPE x [<!ENTITY e0 "100234">{folds}]><worksheet ')
    edit_part(path, "xl/worksheets/sheet1.xml", "<t>100234</t>", "<t>&e9;</t>")

    assert "document type" in pack.problem().message_en


def test_a_workbook_that_unpacks_without_end(pack: PackFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01"])
    monkeypatch.setattr(workbook, "MAX_UNPACKED_BYTES", 1 << 10)

    assert "unpacks to more" in pack.problem().message_en


def test_more_columns_than_any_table_has(pack: PackFolder) -> None:
    grants_workbook(pack, ["100234", "code", "35.71001", "2026-01-01", *[None] * 70, "x"])

    assert "more than 64 columns" in pack.problem().message_en


def test_a_workbook_is_told_by_its_content_not_its_name(tmp_path: Path) -> None:
    pack = PackFolder(tmp_path / "named")
    buffer = io.BytesIO()
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(GRANTS)
    sheet.append(["100234", "code", "35.71001", "2026-01-01"])
    book.save(buffer)
    (pack.path / "grants.csv").write_bytes(buffer.getvalue())

    assert len(load_pack(pack.path).people[0].grants) == 1


def test_str_of_a_problem_without_a_place_names_the_file() -> None:
    assert str(Problem("grants.csv", None, None, "空", "Empty.")) == "grants.csv：空 / grants.csv: Empty."
